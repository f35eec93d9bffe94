"""Callers of a bad model, whose own requests must be answered in time too."""

import threading
import time
from collections.abc import Callable, Sequence

from benchmarks.harness.client import Client
from benchmarks.traffic.clients import Event, send
from benchmarks.traffic.kinds import PREDICT, Row

PAUSE_SECONDS = 1.0


class Askers:
    """`count` threads that ask one model about one row again and again."""

    def __init__(
        self,
        connect: Callable[[], Client],
        events: list[Event],
        *,
        model_id: int,
        row: Row,
        count: int,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._connect, self._events = connect, events
        self._model_id, self._rows = model_id, [row]
        self._pause_seconds = pause_seconds
        self._stop = threading.Event()
        self._threads: Sequence[threading.Thread] = [
            threading.Thread(target=self._ask, daemon=True) for _ in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask no more; `wait` for those that still wait for a response."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _ask(self) -> None:
        request = PREDICT.build(self._model_id, "", self._rows)
        with self._connect() as client:
            while not self._stop.is_set():
                # Appending to a list is atomic.
                self._events.append(send(client, PREDICT, request, self._rows))
                self._stop.wait(self._pause_seconds)
