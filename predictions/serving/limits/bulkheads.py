"""Bounds how many callers of one version hold a thread of this process.

A version may use every thread as long as it answers quickly: a lone busy model is not throttled,
and its concurrent callers share a batch. Once its oldest call has taken PATIENCE_SECONDS, it may
hold only its share, and callers beyond that are refused at once. Callers who came before that
was known wait no longer than PATIENCE_SECONDS either. So a slow or hung model leaves the rest of
the threads to others.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from predictions.metrics import MODEL_OVERLOADED
from registry.models import ModelNotFound

# Longer than a call of a model that should be served while callers wait.
PATIENCE_SECONDS = 1.0


class ModelOverloaded(Exception):
    """The version holds its share of this process's threads; the message is for the caller."""

    retry_after = 1

    def __init__(self, model_id: int, limit: int) -> None:
        super().__init__(
            f"Model {model_id} is overloaded: its calls take long, and at most {limit} of them may "
            "be in progress. Try again later."
        )
        MODEL_OVERLOADED.labels(str(model_id)).inc()


class Bulkhead:
    """The callers inside one version: those that wait for its model, or score.

    The usual way takes no lock: single operations on a dictionary are atomic. Two callers that
    enter at the same moment may exceed the limit by one.
    """

    def __init__(self, model_id: int) -> None:
        self._model_id = model_id
        # When each caller entered, the oldest first.
        self._inside: dict[object, float] = {}
        self._left = threading.Condition()
        self._n_waiting = 0

    def enter(self, caller: object, limit: int) -> float | None:
        """Let a caller in who can still be turned away while it waits in a lane.

        Returns the monotonic time at which a caller beyond the limit gives up unless it has its
        answer, None for a caller within it. Raises ModelOverloaded. Call `leave` at the end.
        """
        now = time.monotonic()
        inside = self._inside
        if len(inside) < limit:
            inside[caller] = now
            return None
        if self._is_slow(now):
            raise self.overloaded(limit)
        inside[caller] = now
        return now + PATIENCE_SECONDS

    def leave(self, caller: object) -> None:
        del self._inside[caller]
        if self._n_waiting:
            with self._left:
                self._left.notify()

    @contextmanager
    def place(self, limit: int) -> Iterator[None]:
        """Run the block as one of at most `limit` callers.

        For work that nobody can cut short: a caller beyond the limit waits for a place before it
        begins, at most PATIENCE_SECONDS. Raises ModelOverloaded.
        """
        caller = object()
        if len(self._inside) >= limit:
            self._wait_for_place(caller, limit)
        else:
            self._inside[caller] = time.monotonic()
        try:
            yield
        finally:
            self.leave(caller)

    def overloaded(self, limit: int) -> ModelOverloaded:
        """The refusal of a caller, which is counted."""
        return ModelOverloaded(self._model_id, limit)

    def _wait_for_place(self, caller: object, limit: int) -> None:
        now = time.monotonic()
        give_up_at = now + PATIENCE_SECONDS
        with self._left:
            # Before the first look, so that a caller who leaves after it notifies this one.
            self._n_waiting += 1
            try:
                while len(self._inside) >= limit:
                    if now >= give_up_at or self._is_slow(now):
                        raise self.overloaded(limit)
                    self._left.wait(give_up_at - now)
                    now = time.monotonic()
                self._inside[caller] = now
            finally:
                self._n_waiting -= 1

    def _is_slow(self, now: float) -> bool:
        # `list` copies the times in one step, while other threads change the dictionary.
        return now - min(list(self._inside.values()), default=now) > PATIENCE_SECONDS


# By the version's id and not by its loaded model, which may be evicted and loaded again while
# callers are inside.
_bulkheads: dict[int, Bulkhead] = {}


def bulkhead_of(model_id: int) -> Bulkhead:
    return _bulkheads.get(model_id) or _bulkheads.setdefault(model_id, Bulkhead(model_id))


@contextmanager
def loading_place(model_id: int, limit: int) -> Iterator[None]:
    """A place while the version's model is loaded, which other callers wait for.

    Raises ModelOverloaded, and ModelNotFound as the block does.
    """
    try:
        with bulkhead_of(model_id).place(limit):
            yield
    except ModelNotFound:
        # Clients choose the ids, so only those of versions are kept.
        _bulkheads.pop(model_id, None)
        raise
