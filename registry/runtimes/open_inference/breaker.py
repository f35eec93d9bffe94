"""A circuit breaker: after some failures in a row nobody waits for a server that is down."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from registry.runtimes.base import InferenceError, RuntimeUnavailable


class CircuitBreaker:
    """Closed until `limit` calls in a row find the server unavailable; then open for
    `open_seconds`, and after them until one call at a time, the trial, succeeds.

    Shared between threads. `clock` answers seconds that never run backwards.
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
        self._is_trying = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around one call of the server. Raises RuntimeUnavailable, without running the block,
        while the breaker is open; of what the block raises, that exception alone is a failure.
        """
        self._admit()
        try:
            yield
        except RuntimeUnavailable:
            self._fail()
            raise
        # The server answered, and it is the answer that is no good.
        except InferenceError:
            self._succeed()
            raise
        except BaseException:
            self._fail()
            raise
        self._succeed()

    def _admit(self) -> None:
        with self._lock:
            if self._failures < self._limit:
                return
            wait = self._open_until - self._clock()
            if wait <= 0 and not self._is_trying:
                self._is_trying = True
                return
        raise RuntimeUnavailable(
            "The server of the model was not available, and is left alone for a moment",
            retry_after=max(1, math.ceil(wait)),
        )

    def _succeed(self) -> None:
        with self._lock:
            self._failures = 0
            self._is_trying = False

    def _fail(self) -> None:
        with self._lock:
            self._failures += 1
            self._is_trying = False
            if self._failures >= self._limit:
                self._open_until = self._clock() + self._open_seconds
