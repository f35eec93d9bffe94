"""What a request says about how long its caller waits."""

import time

import pytest

from predictions.serving.limits.deadlines import (
    ARRIVED_AT,
    Deadline,
    InvalidTimeout,
    arrival,
    latest,
    read_timeout,
)
from predictions.serving.questions import Caller

OURS, ENVOYS = "HTTP_X_REQUEST_TIMEOUT_MS", "HTTP_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS"


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({OURS: "1"}, 0.001),
        ({OURS: "2500"}, 2.5),
        ({ENVOYS: "15000"}, 15),
        ({OURS: "2500", ENVOYS: "15000"}, 2.5),
        ({OURS: "2500", ENVOYS: "100"}, 0.1),
    ],
)
def test_the_shortest_header_applies(environ: dict[str, str], seconds: float | None) -> None:
    assert read_timeout(environ) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "2s", "nan", "٣", "86400001", "9" * 30])
@pytest.mark.parametrize("key", [OURS, ENVOYS])
def test_a_header_that_is_no_number_of_milliseconds_is_invalid(key: str, text: str) -> None:
    with pytest.raises(InvalidTimeout, match="Timeout-Ms: Must be a whole number of milliseconds"):
        read_timeout({key: text})


def test_the_arrival_is_what_the_server_noted() -> None:
    before = time.monotonic()

    assert arrival({ARRIVED_AT: 17.5}) == 17.5
    assert before <= arrival({}) <= time.monotonic()


@pytest.mark.parametrize(
    ("caller", "seconds"),
    [(Caller(arrived_at=10.0), 30), (Caller(arrived_at=10.0, timeout_seconds=2), 2)],
)
def test_a_deadline_counts_from_the_arrival(caller: Caller, seconds: float) -> None:
    assert caller.deadline(30) == Deadline(10 + seconds, seconds)


def test_a_caller_may_only_shorten_the_limit() -> None:
    assert Caller(arrived_at=0.0, timeout_seconds=60).deadline(5) == Deadline(5, 5)
    caller = Caller(arrived_at=0.0, timeout_seconds=2)
    caller.shorten(4)
    assert caller.timeout_seconds == 2


def test_a_command_has_no_deadline() -> None:
    assert Caller().deadline(30) is None


def test_the_latest_deadline_is_the_one_of_the_most_patient_caller() -> None:
    assert latest([Deadline(3, 1), Deadline(5, 1), Deadline(4, 1)]) == Deadline(5, 1)
    assert latest([Deadline(3, 1), None]) is None
