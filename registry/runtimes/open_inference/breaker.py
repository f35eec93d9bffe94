"""A circuit breaker: after repeated failures, calls fail at once instead of waiting for a server
that is down. No Django here.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from registry.runtimes.base import DeadlineExceeded, InferenceError, RuntimeUnavailable


class CircuitBreaker:
    """Opens for `open_seconds` after `limit` consecutive failures. After that time it lets one call
    through at a time, as a trial, and closes when a trial succeeds.

    Shared between threads. `clock` returns monotonic seconds.
    """

    def __init__(
        self, *, limit: int, open_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._open_seconds = open_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until = 0.0
        self._trial_is_running = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """Guard one call of the server.

        While the breaker is open, raises RuntimeUnavailable and does not run the block. An
        InferenceError of the block other than RuntimeUnavailable counts as a success, since the
        server did respond; every other exception counts as a failure. DeadlineExceeded counts as
        neither: the caller may have been impatient.
        """
        self._admit()
        try:
            yield
        except RuntimeUnavailable:
            self._record_failure()
            raise
        except DeadlineExceeded:
            self._end_trial()
            raise
        except InferenceError:
            self._record_success()
            raise
        except BaseException:
            self._record_failure()
            raise
        self._record_success()

    def _admit(self) -> None:
        with self._lock:
            if self._failures < self._limit:
                return
            wait = self._open_until - self._clock()
            if wait <= 0 and not self._trial_is_running:
                self._trial_is_running = True
                return
        raise RuntimeUnavailable(
            "The model's server has failed repeatedly, so it is not called for a moment",
            retry_after=max(1, math.ceil(wait)),
        )

    def _end_trial(self) -> None:
        with self._lock:
            self._trial_is_running = False

    def _record_success(self) -> None:
        with self._lock:
            self._failures = 0
            self._trial_is_running = False

    def _record_failure(self) -> None:
        with self._lock:
            self._failures += 1
            self._trial_is_running = False
            if self._failures >= self._limit:
                self._open_until = self._clock() + self._open_seconds
