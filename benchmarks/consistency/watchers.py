"""Clients that load the service from threads and keep every response to every request."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from benchmarks.harness.client import Client
from benchmarks.harness.service import PREDICTIONS, RunningService, prediction_request

JOIN_SECONDS = 60
PAUSE_AFTER_FAILURE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Event:
    """One request and its response, in monotonic seconds; `status` is 0 if no response came."""

    sent_at: float
    responded_at: float
    status: int
    has_retry_after: bool = False
    prediction_id: int | None = None
    features: tuple[float, ...] = ()


class Watchers:
    """Threads that request predictions one after the other while the `with` block runs.

    Every request has a different input, so that each row can be traced to its request. With an API
    `key`, they send that instead of the installation's token.
    """

    _serial = count(1)

    def __init__(
        self,
        running: RunningService,
        model_id: int,
        row: Sequence[float],
        *,
        threads: int,
        key: str | None = None,
    ) -> None:
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._running, self._model_id, self._row = running, model_id, row
        self._stop = threading.Event()
        self._events: list[list[Event]] = [[] for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._watch, args=[events], daemon=True)
            for events in self._events
        ]

    def __enter__(self) -> "Watchers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)

    @property
    def events(self) -> list[Event]:
        return [event for events in self._events for event in list(events)]

    def count_statuses(self) -> Counter[int]:
        return Counter(event.status for event in self.events)

    def acknowledged(self) -> dict[int, list[float]]:
        """The input of every prediction that was acknowledged with 201, by prediction id."""
        return {
            event.prediction_id: list(event.features)
            for event in self.events
            if event.prediction_id is not None
        }

    def _watch(self, events: list[Event]) -> None:
        client = self._running.client()
        client.headers.update(self._headers)
        while not self._stop.is_set():
            event = self._predict(client)
            events.append(event)
            if event.status != 201:
                time.sleep(PAUSE_AFTER_FAILURE_SECONDS)
        client.close()

    def _predict(self, client: Client) -> Event:
        features = (*self._row[:-1], self._row[-1] + next(self._serial) / 1024)
        sent_at = time.monotonic()
        try:
            response = client.post(PREDICTIONS, prediction_request(self._model_id, features))
        except OSError:
            return Event(sent_at, time.monotonic(), 0)
        return Event(
            sent_at,
            time.monotonic(),
            response.status,
            "retry-after" in response.headers,
            response.json()["id"] if response.status == 201 else None,
            features,
        )
