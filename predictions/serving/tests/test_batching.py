"""The batcher on its own: who runs which batch, and that every caller returns."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictions.serving.batching import BatchAborted, Batcher, GivenUp

TIMEOUT_SECONDS = 10


class Gate:
    """A `run` that records its batches and blocks until it is opened."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        self.batches.append(list(items))
        self.entered.set()
        assert self.opened.wait(TIMEOUT_SECONDS)
        return [item * 10 for item in items]


def run_in_threads(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make all calls at once; return what each returned or raised."""

    def result_of(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except BaseException as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(result_of, calls))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_lone_caller_runs_its_item_at_once() -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: [item + 1 for item in items], limit=8)

    assert batcher(1) == 2


def test_callers_that_arrive_during_a_batch_share_the_next_one() -> None:
    gate = Gate()
    batcher: Batcher[int, int] = Batcher(gate, limit=8)

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(batcher, 1)
        assert gate.entered.wait(TIMEOUT_SECONDS)
        others = [pool.submit(batcher, item) for item in (2, 3, 4, 5)]
        wait_for(lambda: len(batcher._waiting) == 4)
        gate.opened.set()
        results = [future.result(TIMEOUT_SECONDS) for future in (first, *others)]

    assert results == [10, 20, 30, 40, 50]
    assert gate.batches[0] == [1]
    assert sorted(gate.batches[1]) == [2, 3, 4, 5]


def test_a_batch_is_never_larger_than_the_limit() -> None:
    gate = Gate()
    batcher: Batcher[int, int] = Batcher(gate, limit=3)

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher, 0)
        assert gate.entered.wait(TIMEOUT_SECONDS)
        others = [pool.submit(batcher, item) for item in range(1, 8)]
        wait_for(lambda: len(batcher._waiting) == 7)
        gate.opened.set()
        results = [future.result(TIMEOUT_SECONDS) for future in (first, *others)]

    assert results == [item * 10 for item in range(8)]
    assert [len(batch) for batch in gate.batches] == [1, 3, 3, 1]


def test_one_batch_runs_at_a_time() -> None:
    running = 0
    max_running = 0

    def run(items: Sequence[int]) -> Sequence[int]:
        nonlocal running, max_running
        running += 1
        max_running = max(max_running, running)
        time.sleep(0.001)
        running -= 1
        return items

    batcher: Batcher[int, int] = Batcher(run, limit=4)
    run_in_threads([lambda: batcher(1)] * 32)

    assert max_running == 1


def test_an_exception_for_one_item_reaches_only_its_caller() -> None:
    batcher: Batcher[Any, Any] = Batcher(
        lambda items: [ValueError(str(i)) if i % 2 else i for i in items], limit=8
    )
    results = run_in_threads([partial(batcher, item) for item in range(20)])

    for item, result in enumerate(results):
        assert str(result) == str(item)
        assert isinstance(result, ValueError) == bool(item % 2)


def test_an_exception_of_run_reaches_all_callers_of_the_batch_and_no_others() -> None:
    gate = Gate()

    def run(items: Sequence[int]) -> list[Any]:
        results = gate(items)
        if 2 in items:
            raise ConnectionError("gone")
        return results

    batcher: Batcher[int, int] = Batcher(run, limit=2)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(batcher, 1)
        assert gate.entered.wait(TIMEOUT_SECONDS)
        second = [pool.submit(batcher, item) for item in (2, 3)]
        wait_for(lambda: len(batcher._waiting) == 2)
        third = pool.submit(batcher, 4)
        wait_for(lambda: len(batcher._waiting) == 3)
        gate.opened.set()

        assert first.result(TIMEOUT_SECONDS) == 10
        for future in second:
            with pytest.raises(ConnectionError, match="gone"):
                future.result(TIMEOUT_SECONDS)
        assert third.result(TIMEOUT_SECONDS) == 40


def test_a_leader_that_is_killed_leaves_no_caller_waiting() -> None:
    gate = Gate()

    def run(items: Sequence[int]) -> list[int]:
        results = gate(items)
        if 2 in items:
            raise SystemExit("the thread is being killed")
        return results

    batcher: Batcher[int, int] = Batcher(run, limit=2)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(batcher, 1)
        assert gate.entered.wait(TIMEOUT_SECONDS)
        leader = pool.submit(batcher, 2)
        wait_for(lambda: len(batcher._waiting) == 1)
        follower = pool.submit(batcher, 3)
        wait_for(lambda: len(batcher._waiting) == 2)
        later = pool.submit(batcher, 4)
        wait_for(lambda: len(batcher._waiting) == 3)
        gate.opened.set()

        assert first.result(TIMEOUT_SECONDS) == 10
        assert isinstance(leader.exception(TIMEOUT_SECONDS), SystemExit)
        assert isinstance(follower.exception(TIMEOUT_SECONDS), BatchAborted)
        assert later.result(TIMEOUT_SECONDS) == 40
    assert batcher(5) == 50


@pytest.mark.parametrize("results", [[], [1, 2]])
def test_a_wrong_number_of_results_is_an_error(results: list[int]) -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: results, limit=8)

    with pytest.raises(ValueError, match="A batch of 1 items got"):
        batcher(1)
    with pytest.raises(ValueError, match="A batch of 1 items got"):
        batcher(1)


@settings(max_examples=25, deadline=None)
@given(
    callers=st.integers(2, 24),
    calls=st.integers(1, 20),
    limit=st.integers(1, 16),
    divisor=st.integers(1, 7),
)
def test_every_caller_gets_the_results_of_its_own_items(
    callers: int, calls: int, limit: int, divisor: int
) -> None:
    def run(items: Sequence[tuple[int, int]]) -> list[Any]:
        assert 1 <= len(items) <= limit
        return [KeyError(item) if sum(item) % divisor == 0 else ("done", item) for item in items]

    batcher: Batcher[Any, Any] = Batcher(run, limit=limit)

    def call_all(caller: int) -> None:
        for call in range(calls):
            item = (caller, call)
            if sum(item) % divisor == 0:
                with pytest.raises(KeyError) as raised:
                    batcher(item)
                assert raised.value.args == (item,)
            else:
                assert batcher(item) == ("done", item)

    results = run_in_threads([partial(call_all, caller) for caller in range(callers)])

    assert results == [None] * callers
    assert not batcher._has_leader
    assert not batcher._waiting


# -- callers that give up


def test_a_caller_gives_up_while_another_batch_runs() -> None:
    gate = Gate()
    batcher: Batcher[int, int] = Batcher(gate, limit=8)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(batcher, 1, give_up_at=time.monotonic())
        assert gate.entered.wait(TIMEOUT_SECONDS)
        impatient = pool.submit(batcher, 2, give_up_at=time.monotonic() + 0.01)
        patient = pool.submit(batcher, 3, give_up_at=time.monotonic() + 2 * TIMEOUT_SECONDS)

        assert isinstance(impatient.exception(TIMEOUT_SECONDS), GivenUp)
        wait_for(lambda: len(batcher._waiting) == 1)
        gate.opened.set()
        # The leader runs its own batch, however long that takes.
        assert first.result(TIMEOUT_SECONDS) == 10
        assert patient.result(TIMEOUT_SECONDS) == 30
    assert gate.batches == [[1], [3]]


def test_a_caller_gives_up_while_its_batch_is_prepared_and_is_not_finished() -> None:
    first, second, finished = Gate(), Gate(), []

    def prepare(items: Sequence[int]) -> list[None]:
        return [None for _ in (first(items) if 1 in items else second(items))]

    def finish(items: Sequence[int]) -> Sequence[int]:
        finished.append(list(items))
        return items

    batcher: Batcher[int, int] = Batcher(finish, prepare=prepare, limit=8)
    with ThreadPoolExecutor(3) as pool:
        leading = pool.submit(batcher, 1)
        assert first.entered.wait(TIMEOUT_SECONDS)
        next_leader = pool.submit(batcher, 2)
        wait_for(lambda: len(batcher._waiting) == 1)
        impatient = pool.submit(batcher, 3, give_up_at=time.monotonic() + 1)
        wait_for(lambda: len(batcher._waiting) == 2)
        first.opened.set()

        assert isinstance(impatient.exception(TIMEOUT_SECONDS), GivenUp)
        second.opened.set()
        assert leading.result(TIMEOUT_SECONDS) == 1
        assert next_leader.result(TIMEOUT_SECONDS) == 2
    assert second.batches == [[2, 3]]
    assert finished == [[1], [2]]


def test_a_caller_whose_item_is_being_finished_waits_for_the_outcome() -> None:
    first, second = Gate(), Gate()

    def finish(items: Sequence[int]) -> Sequence[int]:
        return first(items) if 1 in items else second(items)

    batcher: Batcher[int, int] = Batcher(finish, limit=8)
    with ThreadPoolExecutor(3) as pool:
        leading = pool.submit(batcher, 1)
        assert first.entered.wait(TIMEOUT_SECONDS)
        next_leader = pool.submit(batcher, 2)
        wait_for(lambda: len(batcher._waiting) == 1)
        follower = pool.submit(batcher, 3, give_up_at=time.monotonic() + 1)
        wait_for(lambda: len(batcher._waiting) == 2)
        first.opened.set()
        assert second.entered.wait(TIMEOUT_SECONDS)
        time.sleep(1.2)

        assert not follower.done()
        second.opened.set()
        results = [f.result(TIMEOUT_SECONDS) for f in (leading, next_leader, follower)]
    assert results == [10, 20, 30]


def test_a_result_of_prepare_skips_finish() -> None:
    finished: list[int] = []

    def prepare(items: Sequence[int]) -> list[int | Exception | None]:
        return [ValueError("odd") if item % 2 else None for item in items]

    def finish(items: Sequence[int]) -> Sequence[int]:
        finished.extend(items)
        return items

    batcher: Batcher[int, int] = Batcher(finish, prepare=prepare, limit=8)

    with pytest.raises(ValueError, match="odd"):
        batcher(1)
    assert batcher(2) == 2
    assert finished == [2]


@settings(max_examples=15, deadline=None)
@given(callers=st.integers(2, 24), limit=st.integers(1, 16), seed=st.integers(0, 2**32))
def test_each_item_is_either_finished_or_given_up(callers: int, limit: int, seed: int) -> None:
    random = Random(seed)  # noqa: S311
    finished: list[tuple[int, int]] = []
    waits = {
        (caller, call): random.random() * 0.004 for caller in range(callers) for call in range(20)
    }

    def pause(items: Sequence[Any]) -> list[None]:
        time.sleep(0.001)
        return [None] * len(items)

    def finish(items: Sequence[Any]) -> Sequence[Any]:
        finished.extend(items)
        return items

    batcher: Batcher[Any, Any] = Batcher(finish, prepare=pause, limit=limit)

    def call_all(caller: int) -> list[tuple[int, int]]:
        answered = []
        for call in range(20):
            item = (caller, call)
            try:
                assert batcher(item, give_up_at=time.monotonic() + waits[item]) == item
                answered.append(item)
            except GivenUp:
                pass
        return answered

    results = run_in_threads([partial(call_all, caller) for caller in range(callers)])

    assert sorted(item for result in results for item in result) == sorted(finished)
    assert not batcher._has_leader
    assert not batcher._waiting
