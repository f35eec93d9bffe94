import pytest

from benchmarks.chaos.catalogue import ALONE, FAULTS, random_pairs
from benchmarks.chaos.phases import count_statuses, is_allowed
from benchmarks.traffic.clients import UNANSWERED, Event


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
