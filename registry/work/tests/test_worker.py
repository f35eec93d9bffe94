"""Workers: what they take, how they stop, and that they survive."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import OperationalError

from registry.database import clock
from registry.metrics import WORK_OLDEST_SECONDS, WORK_PENDING
from registry.work import worker as workers
from registry.work.kinds import Backlog, IsStopping, Kind
from registry.work.worker import Worker

# Their threads see only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


def queue(
    items: Sequence[int],
    run: Callable[[int, IsStopping], object],
    *,
    name: str = "numbers",
    **options: Any,
) -> Kind[int]:
    """A kind of work with these items."""
    left = list(items)
    return Kind(name, "Numbers", lambda: left.pop(0) if left else None, run, **options)


def in_background(worker: Worker) -> threading.Thread:
    thread = threading.Thread(target=worker.run_until_stopped, daemon=True)
    thread.start()
    return thread


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_worker_does_all_that_is_due_of_every_kind() -> None:
    done: list[int] = []
    kinds = [
        queue(range(20), lambda item, _: done.append(item), max_concurrency=3),
        queue(range(100, 105), lambda item, _: done.append(item), name="more"),
    ]
    worker = Worker(kinds, threads=2)

    worker.run_due()

    assert sorted(done) == [*range(20), *range(100, 105)]
    assert (worker.totals.done, worker.totals.failed) == (25, 0)


def test_item_that_fails_does_not_end_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    def fail_at_one(item: int, is_stopping: IsStopping) -> None:
        if item == 1:
            raise ValueError("item one")

    worker = Worker([queue(range(3), fail_at_one)], threads=1)

    worker.run_due()

    assert (worker.totals.done, worker.totals.failed) == (2, 1)
    assert "item one" in caplog.text


def test_kind_has_at_most_its_own_number_of_items_under_way() -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def run(item: int, is_stopping: IsStopping) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1

    Worker([queue(range(20), run, max_concurrency=3)], threads=10).run_due()

    assert most == 3


def test_slow_kind_does_not_hold_up_another() -> None:
    is_released = threading.Event()
    done: list[int] = []
    slow = queue(range(5), lambda item, _: is_released.wait(30), name="slow")
    quick = queue(range(5), lambda item, _: done.append(item), name="quick")
    worker = Worker([slow, quick], threads=4)
    thread = in_background(worker)

    wait_until(lambda: len(done) == 5)

    worker.stop()
    is_released.set()
    thread.join(30)
    assert not thread.is_alive()


def test_stop_finishes_the_item_in_hand_and_takes_no_other() -> None:
    started, done = threading.Event(), []

    def run(item: int, is_stopping: IsStopping) -> None:
        started.set()
        wait_until(is_stopping)
        done.append(item)

    worker = Worker([queue(range(5), run)], threads=1)
    thread = in_background(worker)
    assert started.wait(30)
    worker.stop()
    thread.join(30)

    assert done == [0]


def test_stop_does_not_wait_forever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "STOP_SECONDS", 0.2)
    is_released = threading.Event()
    worker = Worker([queue([1], lambda item, _: is_released.wait(60))], threads=1)
    thread = in_background(worker)
    wait_until(lambda: worker._running.total())
    worker.stop()
    thread.join(30)

    assert not thread.is_alive()
    assert "have not finished" in caplog.text
    is_released.set()
    wait_until(lambda: not worker._running.total())


def test_worker_waits_for_a_database_that_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "MAX_DATABASE_PAUSE_SECONDS", 0.01)
    results: list[Any] = [OperationalError("gone"), OperationalError("gone"), 7]
    done: list[int] = []

    def take() -> int | None:
        result = results.pop(0) if results else None
        if isinstance(result, Exception):
            raise result
        return result

    worker = Worker([Kind("numbers", "", take, lambda item, _: done.append(item))], threads=1)
    thread = in_background(worker)

    wait_until(lambda: done == [7])
    worker.stop()
    thread.join(30)
    assert caplog.text.count("Due work could not be read") == 2


def test_backlog_is_measured() -> None:
    measured: list[int] = []

    def measure() -> Backlog:
        measured.append(1)
        return Backlog(3, 12.5)

    worker = Worker([queue([], lambda item, _: None, measure=measure)], threads=1)
    thread = in_background(worker)
    wait_until(lambda: measured)
    worker.stop()
    thread.join(30)

    assert WORK_PENDING.labels("numbers")._value.get() == 3
    assert WORK_OLDEST_SECONDS.labels("numbers")._value.get() == 12.5


@pytest.mark.parametrize("way", ["until stopped", "until nothing is due"])
def test_clocks_are_compared_before_the_first_item(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    events: list[str] = []
    monkeypatch.setattr(clock, "compare", lambda connection: events.append("compared"))

    def take() -> int | None:
        events.append("taken")
        worker.stop()
        return None

    worker = Worker([Kind("numbers", "", take, lambda item, _: None)], threads=1)
    if way == "until stopped":
        worker.run_until_stopped()
    else:
        worker.run_due()

    assert events == ["compared", "taken"]


def test_a_kind_whose_items_cannot_be_taken_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[int] = []

    def take() -> int | None:
        raise ValueError("a broken row")

    broken = Kind("broken", "", take, lambda item, _: None)
    Worker([broken, queue(range(3), lambda item, _: done.append(item))], threads=2).run_due()

    assert done == [0, 1, 2]
    assert "a broken row" in caplog.text
