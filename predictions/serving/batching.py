"""Joins concurrent calls into batches; the first caller runs each for all. No Django here.

The point is group commit: while one batch waits for its commit, the next callers gather, and then
share one inference and one commit. There is no timer, so a lone caller never waits.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchAborted(Exception):
    """The thread that ran this caller's batch ended before there was a result."""


class Batcher(Generic[Item, Result]):
    """Calls `run` with batches of items, one batch at a time, on the callers' own threads.

    `run` takes 1 to `limit` items and returns one result for each, in their order: a value, or the
    exception to raise for that item's caller. If `run` itself raises, every caller of the batch
    gets that exception.

    The first caller leads: it takes all waiting items, runs them, wakes their callers and passes
    the lead to the first caller that arrived in the meantime. No thread runs more than one batch,
    and a thread is only woken to return or to lead: each switch between threads costs a wait for
    the interpreter lock.
    """

    def __init__(
        self, run: Callable[[Sequence[Item]], Sequence[Result | Exception]], *, limit: int
    ) -> None:
        self._run = run
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[_Call[Item, Result]] = deque()
        self._has_leader = False

    def __call__(self, item: Item) -> Result:
        """Run `item` with all others that wait; return its value or raise its exception."""
        call: _Call[Item, Result] = _Call(item)
        with self._lock:
            self._waiting.append(call)
            is_leader = not self._has_leader
            self._has_leader = True
        if not is_leader:
            call.woken.acquire()
        # A caller that is woken without a result is the next leader.
        if call.result is None:
            self._lead()
        return call.value()

    def _lead(self) -> None:
        """Run the waiting calls, of which this thread's own is the first, and pass the lead on."""
        with self._lock:
            size = min(len(self._waiting), self._limit)
            batch = [self._waiting.popleft() for _ in range(size)]
        try:
            results = self._results([call.item for call in batch])
            for call, result in zip(batch, results, strict=True):
                call.result = result
        finally:
            # Even if this thread is being killed: followers must neither wait forever nor
            # mistake a missing result for the lead.
            for call in batch:
                if call.result is None:
                    call.result = _Raised(BatchAborted("The batch was aborted"))
            self._pass_lead()
            for call in batch[1:]:
                call.woken.release()

    def _results(self, items: list[Item]) -> "list[_Returned[Result] | _Raised]":
        try:
            results = self._run(items)
        except Exception as error:
            return [_Raised(error) for _ in items]
        return [
            _Raised(result) if isinstance(result, Exception) else _Returned(result)
            for result in results
        ]

    def _pass_lead(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting[0].woken.release()
            else:
                self._has_leader = False


class _Returned(Generic[Result]):
    __slots__ = ("value",)

    def __init__(self, value: Result) -> None:
        self.value = value


class _Raised:
    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Call(Generic[Item, Result]):
    """One caller's item, and the lock it waits on."""

    __slots__ = ("item", "result", "woken")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.result: _Returned[Result] | _Raised | None = None
        # A bare lock is cheaper than threading.Event, which wraps one in a condition.
        self.woken = threading.Lock()
        self.woken.acquire()

    def value(self) -> Result:
        if isinstance(self.result, _Returned):
            return self.result.value
        assert self.result is not None  # set by the leader, even if it failed
        raise self.result.error
