"""The circuit breaker, with a clock of its own."""

from typing import Any

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


def fail(breaker: CircuitBreaker, error: Any = None) -> None:
    error = error or RuntimeUnavailable("down", retry_after=1)
    with pytest.raises(type(error)), breaker.call():
        raise error


def succeed(breaker: CircuitBreaker) -> None:
    with breaker.call():
        pass


def refused(breaker: CircuitBreaker) -> int:
    """How long it says to wait, of a call that it does not let through."""
    with pytest.raises(RuntimeUnavailable, match="left alone") as caught, breaker.call():
        pytest.fail("the call went through")
    return caught.value.retry_after


def test_it_opens_after_so_many_failures_in_a_row(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(3):
        fail(breaker)

    assert refused(breaker) == 5
    clock.now += 3.5
    assert refused(breaker) == 2


def test_a_success_between_failures_keeps_it_closed(breaker: CircuitBreaker) -> None:
    for _ in range(5):
        fail(breaker)
        fail(breaker)
        succeed(breaker)


def test_an_answer_that_is_an_error_is_no_failure(breaker: CircuitBreaker) -> None:
    for _ in range(5):
        fail(breaker, InferenceError("bad input"))

    succeed(breaker)


def test_anything_unexpected_is_a_failure(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        fail(breaker, KeyError("bug"))

    assert refused(breaker) == 5


def test_one_successful_trial_closes_it(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(3):
        fail(breaker)
    clock.now += 5

    succeed(breaker)

    fail(breaker)
    fail(breaker)
    succeed(breaker)


def test_a_failed_trial_opens_it_anew(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(3):
        fail(breaker)
    clock.now += 5

    fail(breaker)

    assert refused(breaker) == 5


def test_only_one_trial_is_made_at_a_time(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(3):
        fail(breaker)
    clock.now += 6

    with breaker.call():
        assert refused(breaker) == 1

    succeed(breaker)
