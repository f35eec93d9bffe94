"""The batcher alone: who runs what, and that nobody is left behind."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictions.serving.batching import BatchAborted, Batcher

PATIENCE_SECONDS = 10


class Gate:
    """A `run` that notes its batches, and holds the first one until it is opened."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        self.batches.append(list(items))
        self.entered.set()
        assert self.opened.wait(PATIENCE_SECONDS)
        return [item * 10 for item in items]


def in_threads(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each call returned or raised, called all at once."""

    def outcome(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except BaseException as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(outcome, calls))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_lone_caller_runs_its_item_at_once() -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: [item + 1 for item in items], limit=8)

    assert batcher(1) == 2


def test_those_who_come_meanwhile_share_the_next_batch() -> None:
    gate = Gate()
    batcher: Batcher[int, int] = Batcher(gate, limit=8)

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(batcher, 1)
        assert gate.entered.wait(PATIENCE_SECONDS)
        others = [pool.submit(batcher, item) for item in (2, 3, 4, 5)]
        wait_for(lambda: len(batcher._waiting) == 4)
        gate.opened.set()
        answers = [future.result(PATIENCE_SECONDS) for future in (first, *others)]

    assert answers == [10, 20, 30, 40, 50]
    assert gate.batches[0] == [1]
    assert sorted(gate.batches[1]) == [2, 3, 4, 5]


def test_a_batch_holds_no_more_than_the_limit() -> None:
    gate = Gate()
    batcher: Batcher[int, int] = Batcher(gate, limit=3)

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher, 0)
        assert gate.entered.wait(PATIENCE_SECONDS)
        others = [pool.submit(batcher, item) for item in range(1, 8)]
        wait_for(lambda: len(batcher._waiting) == 7)
        gate.opened.set()
        answers = [future.result(PATIENCE_SECONDS) for future in (first, *others)]

    assert answers == [item * 10 for item in range(8)]
    assert [len(batch) for batch in gate.batches] == [1, 3, 3, 1]


def test_one_batch_runs_at_a_time() -> None:
    running = 0
    most = 0

    def run(items: Sequence[int]) -> Sequence[int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.001)
        running -= 1
        return items

    batcher: Batcher[int, int] = Batcher(run, limit=4)
    in_threads([lambda: batcher(1)] * 32)

    assert most == 1


def test_an_exception_of_one_item_reaches_its_caller_alone() -> None:
    batcher: Batcher[Any, Any] = Batcher(
        lambda items: [ValueError(str(i)) if i % 2 else i for i in items], limit=8
    )
    outcomes = in_threads([partial(batcher, item) for item in range(20)])

    for item, outcome in enumerate(outcomes):
        assert str(outcome) == str(item)
        assert isinstance(outcome, ValueError) == bool(item % 2)


def test_an_exception_of_the_run_reaches_every_caller_of_the_batch_and_no_other() -> None:
    gate = Gate()

    def run(items: Sequence[int]) -> list[Any]:
        answers = gate(items)
        if 2 in items:
            raise ConnectionError("gone")
        return answers

    batcher: Batcher[int, int] = Batcher(run, limit=2)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(batcher, 1)
        assert gate.entered.wait(PATIENCE_SECONDS)
        second = [pool.submit(batcher, item) for item in (2, 3)]
        wait_for(lambda: len(batcher._waiting) == 2)
        third = pool.submit(batcher, 4)
        wait_for(lambda: len(batcher._waiting) == 3)
        gate.opened.set()

        assert first.result(PATIENCE_SECONDS) == 10
        for future in second:
            with pytest.raises(ConnectionError, match="gone"):
                future.result(PATIENCE_SECONDS)
        assert third.result(PATIENCE_SECONDS) == 40


def test_a_leader_that_is_ended_strands_nobody() -> None:
    gate = Gate()

    def run(items: Sequence[int]) -> list[int]:
        answers = gate(items)
        if 2 in items:
            raise SystemExit("the thread is being ended")
        return answers

    batcher: Batcher[int, int] = Batcher(run, limit=2)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(batcher, 1)
        assert gate.entered.wait(PATIENCE_SECONDS)
        leader = pool.submit(batcher, 2)
        wait_for(lambda: len(batcher._waiting) == 1)
        follower = pool.submit(batcher, 3)
        wait_for(lambda: len(batcher._waiting) == 2)
        later = pool.submit(batcher, 4)
        wait_for(lambda: len(batcher._waiting) == 3)
        gate.opened.set()

        assert first.result(PATIENCE_SECONDS) == 10
        assert isinstance(leader.exception(PATIENCE_SECONDS), SystemExit)
        assert isinstance(follower.exception(PATIENCE_SECONDS), BatchAborted)
        assert later.result(PATIENCE_SECONDS) == 40
    assert batcher(5) == 50


@pytest.mark.parametrize("outcomes", [[], [1, 2]])
def test_a_run_with_another_number_of_outcomes_is_an_error(outcomes: list[int]) -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: outcomes, limit=8)

    with pytest.raises(ValueError, match="zip"):
        batcher(1)
    with pytest.raises(ValueError, match="zip"):
        batcher(1)


@settings(max_examples=25, deadline=None)
@given(
    callers=st.integers(2, 24),
    calls=st.integers(1, 20),
    limit=st.integers(1, 16),
    bad=st.integers(1, 7),
)
def test_every_caller_gets_the_outcome_of_its_own_items(
    callers: int, calls: int, limit: int, bad: int
) -> None:
    def run(items: Sequence[tuple[int, int]]) -> list[Any]:
        assert 1 <= len(items) <= limit
        return [KeyError(item) if sum(item) % bad == 0 else ("done", item) for item in items]

    batcher: Batcher[Any, Any] = Batcher(run, limit=limit)

    def ask_all(caller: int) -> None:
        for call in range(calls):
            item = (caller, call)
            if sum(item) % bad == 0:
                with pytest.raises(KeyError) as raised:
                    batcher(item)
                assert raised.value.args == (item,)
            else:
                assert batcher(item) == ("done", item)

    outcomes = in_threads([partial(ask_all, caller) for caller in range(callers)])

    assert outcomes == [None] * callers
    assert not batcher._has_leader
    assert not batcher._waiting
