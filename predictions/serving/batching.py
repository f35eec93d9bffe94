"""Joins concurrent calls into one: whoever comes first works for all who queue behind. No Django.

The point is group commit: while one batch waits for its commit, the next callers gather, and share
one inference and one commit among them. There is no timer, so a lone caller waits for nobody.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchAborted(Exception):
    """The thread that worked for this caller ended before it had a result."""


class Batcher(Generic[Item, Result]):
    """Calls `run` with lists of items, one list at a time, from the threads that bring the items.

    `run` takes 1 to `limit` items and returns as many outcomes, in the order of the items: a result
    or the exception that its caller shall see. Where `run` itself raises, every caller of that
    batch sees that exception.

    The first caller leads: it takes all that are waiting, runs them, wakes their callers and hands
    the lead to the first caller who came meanwhile. Nobody works for more than one batch, and each
    wake-up wakes a thread that has its result or must work: every hand-over between threads costs
    a wait for the interpreter's lock.
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
        """The result of `item`, in a batch with whatever else is waiting; raises its exception."""
        call: _Call[Item, Result] = _Call(item)
        with self._lock:
            self._waiting.append(call)
            is_leader = not self._has_leader
            self._has_leader = True
        if not is_leader:
            call.woken.acquire()
        # Woken without an outcome, this caller is the next leader.
        if call.outcome is None:
            self._lead()
        return call.result()

    def _lead(self) -> None:
        """Run the calls that wait, this thread's own first among them, and pass the lead on."""
        with self._lock:
            size = min(len(self._waiting), self._limit)
            batch = [self._waiting.popleft() for _ in range(size)]
        try:
            outcomes = self._outcomes([call.item for call in batch])
            for call, outcome in zip(batch, outcomes, strict=True):
                call.outcome = outcome
        finally:
            # Also where this thread is being ended: followers must neither wait for ever, nor
            # be taken for leaders because they have no outcome.
            for call in batch:
                if call.outcome is None:
                    call.outcome = _Raised(BatchAborted("The batch was aborted"))
            self._pass_lead()
            for call in batch[1:]:
                call.woken.release()

    def _outcomes(self, items: list[Item]) -> "list[_Returned[Result] | _Raised]":
        try:
            outcomes = self._run(items)
        except Exception as error:
            return [_Raised(error) for _ in items]
        return [
            _Raised(outcome) if isinstance(outcome, Exception) else _Returned(outcome)
            for outcome in outcomes
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

    __slots__ = ("item", "outcome", "woken")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.outcome: _Returned[Result] | _Raised | None = None
        # A bare lock: threading.Event is one too, and a condition and a list around it.
        self.woken = threading.Lock()
        self.woken.acquire()

    def result(self) -> Result:
        if isinstance(self.outcome, _Returned):
            return self.outcome.value
        assert self.outcome is not None  # the leader, or the lack of one, has seen to it
        raise self.outcome.error
