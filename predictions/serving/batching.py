"""Joins concurrent calls into batches; the first caller runs each for all. No Django here.

The point is group commit: while one batch waits for its commit, the next callers gather, and then
share one inference and one commit. There is no timer, so a lone caller never waits.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchAborted(Exception):
    """The thread that ran this caller's batch ended before there was a result."""


class GivenUp(Exception):
    """The caller's time was over before its item reached the last step; it will not reach it."""


class Batcher(Generic[Item, Result]):
    """Calls `finish` with batches of items, one batch at a time, on the callers' own threads.

    `finish` takes 1 to `limit` items and returns one result for each, in their order: a value, or
    the exception to raise for that item's caller. If it raises itself, every caller of the batch
    gets that exception. With `prepare`, each batch goes through that first, under the same rules;
    items for which it returns a result and not None skip `finish`.

    A caller may give up until `finish` begins with its item: `finish` does what cannot be undone,
    and its callers wait for the outcome.

    The first caller leads: it takes all waiting items, runs them, wakes their callers and passes
    the lead to the first caller that arrived in the meantime. No thread runs more than one batch,
    and a thread is only woken to return or to lead: each switch between threads costs a wait for
    the interpreter lock.
    """

    def __init__(
        self,
        finish: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        *,
        prepare: Callable[[Sequence[Item]], Sequence[Result | Exception | None]] | None = None,
        limit: int,
    ) -> None:
        self._prepare = prepare
        self._finish = finish
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[_Call[Item, Result]] = deque()
        self._has_leader = False

    def __call__(self, item: Item, *, give_up_at: float | None = None) -> Result:
        """Run `item` with all others that wait; return its value or raise its exception.

        Raises GivenUp at the monotonic time `give_up_at`, if this caller does not lead and
        `finish` has not begun with its item.
        """
        call: _Call[Item, Result] = _Call(item)
        with self._lock:
            self._waiting.append(call)
            is_leader = not self._has_leader
            self._has_leader = True
        if not is_leader:
            if give_up_at is None:
                call.woken.acquire()
            elif not call.woken.acquire(True, max(0.0, give_up_at - time.monotonic())):
                if self._has_left(call):
                    raise GivenUp
                call.woken.acquire()
        # A caller that is woken without a result is the next leader.
        if call.result is None:
            self._lead()
        return call.value()

    def _has_left(self, call: "_Call[Item, Result]") -> bool:
        """Take a call out of its batch unless it is too late for that."""
        with self._lock:
            if call.state == _WAITING:
                self._waiting.remove(call)
            elif call.state == _LEADING:
                # The lead came at the same moment.
                self._waiting.remove(call)
                self._pass_lead()
            elif call.state != _PREPARING:
                return False
            call.state = _GIVEN_UP
            return True

    def _lead(self) -> None:
        """Run the waiting calls, of which this thread's own is the first, and pass the lead on."""
        first_state = _FINISHING if self._prepare is None else _PREPARING
        with self._lock:
            size = min(len(self._waiting), self._limit)
            batch = [self._waiting.popleft() for _ in range(size)]
            for call in batch:
                call.state = first_state
        try:
            self._run(batch)
        except Exception as error:
            for call in batch:
                if call.result is None:
                    call.result = _Raised(error)
        finally:
            # Even if this thread is being killed: followers must neither wait forever nor
            # mistake a missing result for the lead.
            for call in batch:
                if call.result is None:
                    call.result = _Raised(BatchAborted("The batch was aborted"))
            with self._lock:
                self._pass_lead()
            for call in batch[1:]:
                call.woken.release()

    def _run(self, batch: "list[_Call[Item, Result]]") -> None:
        """Set the results of a batch; those of callers that gave up are never used."""
        rest = batch
        if self._prepare is not None:
            prepared = self._prepare([call.item for call in batch])
            _require_as_many(prepared, batch)
            rest = []
            with self._lock:
                for call, early in zip(batch, prepared, strict=True):
                    if early is not None:
                        call.result = _outcome(early)
                    elif call.state == _PREPARING:
                        call.state = _FINISHING
                        rest.append(call)
        if rest:
            results = self._finish([call.item for call in rest])
            _require_as_many(results, rest)
            for call, result in zip(rest, results, strict=True):
                call.result = _outcome(result)

    def _pass_lead(self) -> None:
        """Wake the next leader, if there is one. The caller holds the lock."""
        if self._waiting:
            self._waiting[0].state = _LEADING
            self._waiting[0].woken.release()
        else:
            self._has_leader = False


# How far a call is; it changes under the batcher's lock. Integers, since members of an enumeration
# take several times as long to look up.
_WAITING, _LEADING, _PREPARING, _FINISHING, _GIVEN_UP = range(5)


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

    __slots__ = ("item", "result", "state", "woken")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.result: _Returned[Result] | _Raised | None = None
        self.state = _WAITING
        # A bare lock is cheaper than threading.Event, which wraps one in a condition.
        self.woken = threading.Lock()
        self.woken.acquire()

    def value(self) -> Result:
        if isinstance(self.result, _Returned):
            return self.result.value
        assert self.result is not None  # set by the leader, even if it failed
        raise self.result.error


def _require_as_many(results: Sequence[object], calls: Sequence[object]) -> None:
    # Before any is handed out: results of another batch must not reach these callers.
    if len(results) != len(calls):
        raise ValueError(f"A batch of {len(calls)} items got {len(results)} results")


def _outcome(result: Result | Exception) -> _Returned[Result] | _Raised:
    return _Raised(result) if isinstance(result, Exception) else _Returned(result)
