"""Rate limits: shared by processes, never exceeded, and at next to no cost."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from registry.access import limits
from registry.access.limits import Limiter, RateLimited
from registry.database import statements
from registry.models import RateUsage

KEY, MODEL = RateUsage.Kind.KEY, RateUsage.Kind.MODEL


@pytest.fixture(autouse=True)
def one_minute(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Stop the database's clock; the returned function sets it, in seconds."""

    def set_clock(seconds: int) -> None:
        monkeypatch.setitem(limits.EPOCH, connection.vendor, f"{seconds}.0")
        limits._lease_statement.cache_clear()

    set_clock(6000)
    yield set_clock
    limits._lease_statement.cache_clear()


def served(limiter: Limiter, attempts: int, limit: int, subject: int = 1) -> int:
    """How many of so many requests are let through."""
    n_served = 0
    for _ in range(attempts):
        try:
            limiter.take(KEY, subject, limit)
            n_served += 1
        except RateLimited:
            pass
    return n_served


@pytest.mark.django_db
@pytest.mark.parametrize("limit", [1, 7, 100, 1000, 1050])
def test_no_process_alone_exceeds_the_limit_or_refuses_early(limit: int) -> None:
    assert served(Limiter(), limit + 50, limit) == limit


@pytest.mark.django_db
def test_processes_together_stay_below_the_limit_by_the_stated_bound() -> None:
    limit, processes = 1000, [Limiter() for _ in range(4)]

    # In turn, so that each holds a lease that the others may lack at the end.
    total = sum(served(process, 1, limit) for _ in range(limit) for process in processes)

    assert limit - (len(processes) - 1) * limit // 100 <= total <= limit


@pytest.mark.django_db
def test_a_lease_serves_many_requests_and_a_refusal_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leases: list[str] = []
    fetch = statements.fetch

    def counting_fetch(statement: str, parameters: statements.Parameters) -> list[statements.Row]:
        leases.append(statement)
        return fetch(statement, parameters)

    monkeypatch.setattr(statements, "fetch", counting_fetch)
    limiter = Limiter()

    served(limiter, 1000, 10_000)
    assert len(leases) == 10
    served(limiter, 11_000, 10_000)
    assert len(leases) == 101


@pytest.mark.django_db
def test_the_next_minute_starts_at_zero(
    one_minute: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter, now = Limiter(), time.monotonic()
    assert served(limiter, 9, 5) == 5
    with pytest.raises(RateLimited) as refused:
        limiter.take(KEY, 1, 5)
    assert 1 <= refused.value.retry_after <= 60

    one_minute(6060)
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)

    assert served(limiter, 9, 5) == 5


@pytest.mark.django_db
def test_a_lease_of_a_minute_that_is_over_is_not_counted_again(
    one_minute: Callable[[int], None],
) -> None:
    one_minute(6060)
    assert served(Limiter(), 9, 5) == 5

    # A statement that began in the minute before, and waited.
    one_minute(6059)

    assert served(Limiter(), 9, 5) == 0


@pytest.mark.django_db
def test_a_clock_that_is_set_back_does_not_refuse_for_long(
    one_minute: Callable[[int], None],
) -> None:
    one_minute(60_000)
    assert served(Limiter(), 9, 5) == 5

    one_minute(6000)

    assert served(Limiter(), 9, 5) == 5


@pytest.mark.django_db
def test_a_new_limit_holds_from_the_next_request() -> None:
    limiter = Limiter()
    assert served(limiter, 20, 10) == 10

    assert served(limiter, 20, 15) == 5
    assert served(limiter, 20, 12) == 0
    assert served(limiter, 20, 16) == 1


@pytest.mark.django_db
def test_each_key_and_each_model_has_its_own_limit() -> None:
    limiter = Limiter()

    assert served(limiter, 9, 5, subject=1) == served(limiter, 9, 5, subject=2) == 5
    limiter.take(MODEL, 1, 5)


@pytest.mark.django_db(transaction=True)
def test_threads_of_several_processes_together_stay_within_the_limit() -> None:
    limit, processes, results = 300, [Limiter() for _ in range(3)], []

    def run(limiter: Limiter) -> None:
        try:
            results.append(served(limiter, 100, limit))
        finally:
            connection.close()

    threads = [
        threading.Thread(target=run, args=[limiter]) for limiter in processes for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert limit - 2 * 3 <= sum(results) <= limit
