"""The circuit breaker, with a fake clock."""

import pytest

from registry.runtimes.base import InferenceError, RuntimeUnavailable
from registry.runtimes.open_inference.breaker import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(limit=3, open_seconds=5, clock=clock)


def fail(breaker: CircuitBreaker, error: Exception | None = None) -> None:
    error = error or RuntimeUnavailable("down", retry_after=1)
    with pytest.raises(type(error)), breaker.call():
        raise error


def succeed(breaker: CircuitBreaker) -> None:
    with breaker.call():
        pass


def retry_after_refusal(breaker: CircuitBreaker) -> int:
    """The `retry_after` of a call that the breaker must refuse."""
    with pytest.raises(RuntimeUnavailable, match="failed repeatedly") as caught, breaker.call():
        pytest.fail("the breaker let the call through")
    return caught.value.retry_after


def test_it_opens_after_consecutive_failures(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(3):
        fail(breaker)

    assert retry_after_refusal(breaker) == 5
    clock.now += 3.5
    assert retry_after_refusal(breaker) == 2


def test_a_success_between_failures_keeps_it_closed(breaker: CircuitBreaker) -> None:
    for _ in range(5):
        fail(breaker)
        fail(breaker)
        succeed(breaker)


def test_an_inference_error_is_not_a_failure(breaker: CircuitBreaker) -> None:
    for _ in range(5):
        fail(breaker, InferenceError("bad input"))

    succeed(breaker)


def test_an_unexpected_exception_is_a_failure(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        fail(breaker, KeyError("bug"))

    assert retry_after_refusal(breaker) == 5


def test_a_successful_trial_closes_it(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(3):
        fail(breaker)
    clock.now += 5

    succeed(breaker)

    fail(breaker)
    fail(breaker)
    succeed(breaker)


def test_a_failed_trial_opens_it_again(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(3):
        fail(breaker)
    clock.now += 5

    fail(breaker)

    assert retry_after_refusal(breaker) == 5


def test_only_one_trial_runs_at_a_time(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(3):
        fail(breaker)
    clock.now += 6

    with breaker.call():
        assert retry_after_refusal(breaker) == 1

    succeed(breaker)
