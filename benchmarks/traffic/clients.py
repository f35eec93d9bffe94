"""Clients that send a steady mix of requests and keep what every response said."""

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from benchmarks.harness.client import Client, CutOff
from benchmarks.traffic.kinds import MIX, Acknowledged, Kind, Request, Row

TIMEOUT_SECONDS = 45
UNANSWERED = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One request, in monotonic seconds; `status` is UNANSWERED if no response came."""

    kind: str
    sent_at: float
    answered_at: float
    status: int
    has_retry_after: bool = False
    acknowledged: Sequence[Acknowledged] = ()
    detail: str = ""

    @property
    def seconds(self) -> float:
        return self.answered_at - self.sent_at

    @property
    def has_succeeded(self) -> bool:
        return 200 <= self.status < 300 and bool(self.acknowledged)


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that the clients ask, and the caller that they are."""

    port: int
    headers: dict[str, str]
    model_id: int
    name: str
    row: Row


class Traffic:
    """Threads that send `rate` requests a second in all while the `with` block runs."""

    _serial = count(1)

    def __init__(self, subject: Subject, *, rate: float, mix: Sequence[Kind] = MIX) -> None:
        self._subject, self._mix = subject, mix
        self._period_seconds = len(mix) / rate
        self._stop = threading.Event()
        self._events: list[list[Event]] = [[] for _ in mix]
        self._threads = [
            threading.Thread(target=self._run, args=[kind, events], daemon=True)
            for kind, events in zip(mix, self._events, strict=True)
        ]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def n_clients(self) -> int:
        return len(self._mix)

    @property
    def events(self) -> list[Event]:
        return [event for events in self._events for event in list(events)]

    def stop(self) -> None:
        """Wait for every request in flight, and send no more."""
        self._stop.set()
        for thread in self._threads:
            # A thread that began before the join waits for its response at most twice.
            thread.join(3 * TIMEOUT_SECONDS)

    def recovered_at(self, since: float) -> float | None:
        """When every kind had a success that was sent after `since`; None if one has not."""
        first: dict[str, float] = {}
        for event in self.events:
            if event.has_succeeded and event.sent_at >= since:
                known = first.get(event.kind, event.answered_at)
                first[event.kind] = min(known, event.answered_at)
        kinds = {kind.name for kind in self._mix}
        return max(first.values()) if kinds <= first.keys() else None

    def _run(self, kind: Kind, events: list[Event]) -> None:
        with Client(self._subject.port, self._subject.headers, timeout=TIMEOUT_SECONDS) as client:
            while not self._stop.is_set():
                self._ask(client, kind, events)

    def _ask(self, client: Client, kind: Kind, events: list[Event]) -> None:
        """Send one request; one with a key is repeated until it succeeds or the traffic stops."""
        rows = [self._new_row() for _ in range(kind.n_rows)]
        request = kind.build(self._subject.model_id, self._subject.name, rows)
        if kind.is_keyed:
            headers = {**request.headers, "Idempotency-Key": uuid.uuid4().hex}
            request = Request(request.path, request.body, headers)
        while True:
            event = send(client, kind, request, rows)
            events.append(event)
            rest = event.sent_at + self._period_seconds - time.monotonic()
            is_stopped = self._stop.wait(max(rest, 0))
            if is_stopped or event.has_succeeded or not kind.is_keyed:
                return

    def _new_row(self) -> Row:
        row = self._subject.row
        return (*row[:-1], row[-1] + next(self._serial) / 1024)


def send(client: Client, kind: Kind, request: Request, rows: Sequence[Row]) -> Event:
    """Send one request and read what its response acknowledges."""
    sent_at = time.monotonic()
    try:
        response = client.send("POST", request.path, request.body, request.headers)
    except CutOff as error:
        known = kind.read(error.body, rows) if kind.name == "NDJSON" else []
        return _unanswered(kind, sent_at, error, known)
    except OSError as error:
        return _unanswered(kind, sent_at, error, [])
    has_rows = 200 <= response.status < 300
    acknowledged = kind.read(response.body, rows) if has_rows else []
    return Event(
        kind.name,
        sent_at,
        time.monotonic(),
        response.status,
        "retry-after" in response.headers,
        acknowledged,
        "" if acknowledged else response.body[:200].decode(errors="replace"),
    )


def _unanswered(
    kind: Kind, sent_at: float, error: OSError, acknowledged: Sequence[Acknowledged]
) -> Event:
    return Event(
        kind.name,
        sent_at,
        time.monotonic(),
        UNANSWERED,
        acknowledged=acknowledged,
        detail=f"{type(error).__name__}: {error}",
    )
