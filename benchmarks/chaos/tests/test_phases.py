import pytest

from benchmarks.chaos.catalogue import ALONE, FAULTS, random_pairs
from benchmarks.chaos.phases import Outcome, count_statuses, health_delays, is_allowed
from benchmarks.chaos.summary import line, render
from benchmarks.traffic.clients import UNANSWERED, Event
from benchmarks.traffic.health import Health


def event(status: int, *, has_retry_after: bool = False) -> Event:
    return Event("predict", 0.0, 0.1, status, has_retry_after)


@pytest.mark.parametrize("status", [200, 201, 504, 507])
def test_answers_and_refusals_are_allowed(status: int) -> None:
    assert is_allowed(event(status), cuts=False)


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500, 502])
def test_other_statuses_are_not_allowed(status: int) -> None:
    assert not is_allowed(event(status), cuts=True)


def test_503_needs_a_retry_after() -> None:
    assert is_allowed(event(503, has_retry_after=True), cuts=False)
    assert not is_allowed(event(503), cuts=False)


def test_only_a_fault_that_cuts_requests_excuses_a_missing_response() -> None:
    assert is_allowed(event(UNANSWERED), cuts=True)
    assert not is_allowed(event(UNANSWERED), cuts=False)


def health(*, p99_ms: float = 10, refused: int = 0, silent_seconds: float = 0.1) -> Health:
    return Health(100, p99_ms, p99_ms, 0, refused, silent_seconds)


def test_health_that_answers_is_good() -> None:
    assert health_delays(health(), restarts=False) == []


@pytest.mark.parametrize(
    "found", [health(p99_ms=101), health(refused=1), health(silent_seconds=2.1)]
)
def test_the_health_port_must_answer_always_and_soon(found: Health) -> None:
    assert health_delays(found, restarts=False)


def test_a_restart_of_the_whole_service_has_seconds_and_no_more() -> None:
    assert health_delays(health(refused=90, silent_seconds=19), restarts=True) == []
    assert health_delays(health(silent_seconds=21), restarts=True)


def test_what_is_refused_at_registration_is_told_from_what_is_skipped() -> None:
    refused, skipped = Outcome("poison", refused="damaged"), Outcome("disk", skipped="no root")

    assert line(refused) == "poison: refused at registration, damaged"
    text = render([refused, skipped], "sqlite", 1)
    assert "Refused at registration, so it cannot happen:\n\n- poison: damaged" in text
    assert "Skipped:\n\n- disk: no root" in text


def test_statuses_are_counted_in_order() -> None:
    assert count_statuses([event(503), event(0), event(201), event(201)]) == {
        "none": 1,
        "201": 2,
        "503": 1,
    }


def test_pairs_are_of_different_groups_and_repeat_with_the_seed() -> None:
    names = list(FAULTS)
    pairs = [pair for pair, _ in zip(random_pairs(names, 1), range(200), strict=False)]

    assert pairs == [pair for pair, _ in zip(random_pairs(names, 1), range(200), strict=False)]
    assert all(FAULTS[first].group != FAULTS[second].group for first, second in pairs)
    assert not ALONE & {name for pair in pairs for name in pair}


def test_one_group_has_no_pairs() -> None:
    assert list(random_pairs(["worker-killed", "parent-killed"], 1)) == []
