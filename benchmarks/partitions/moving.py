"""The conversion of a plain table while predictions are made and read."""

import threading
import time
from dataclasses import dataclass, field

from benchmarks.harness import models, records
from benchmarks.harness.service import PREDICTIONS, Installation, RunningService, prediction_request
from benchmarks.partitions import filling

WRITERS, READERS = 4, 2
BEFORE_SECONDS = AFTER_SECONDS = 5.0


@dataclass(slots=True)
class Move:
    """What callers noticed of a conversion."""

    rows: int
    seconds: float = 0.0
    requests: int = 0
    created: int = 0
    lost: int = 0
    failures: list[str] = field(default_factory=list)
    # Milliseconds: before the conversion, and from its start on.
    slowest_before: float = 0.0
    slowest_since: float = 0.0

    def __str__(self) -> str:
        failed = f"{len(self.failures)} failed {self.failures[:3] if self.failures else ''}"
        return (
            f"{self.rows:,} rows converted in {self.seconds:.1f} s under {self.requests:,}"
            f" requests: {failed.strip()}, {self.created:,} predictions, {self.lost} lost;"
            f" the slowest took {self.slowest_before:.0f} ms before and"
            f" {self.slowest_since:.0f} ms from its start on"
        )


def convert_under_load(installation: Installation, rows: int) -> Move:
    move, stop, lock = Move(rows), threading.Event(), threading.Lock()
    converting = threading.Event()
    with installation.server(workers=2) as running:
        filling.fill(installation, running.model_id("iris"), rows)
        before = records.count(installation.database_url)
        threads = [
            threading.Thread(target=_send, args=[running, move, stop, converting, lock, kind])
            for kind in ["write"] * WRITERS + ["read"] * READERS
        ]
        for thread in threads:
            thread.start()
        try:
            time.sleep(BEFORE_SECONDS)
            converting.set()
            started = time.perf_counter()
            installation.manage("partitions", "--convert")
            move.seconds = time.perf_counter() - started
            time.sleep(AFTER_SECONDS)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    move.lost = move.created - (records.count(installation.database_url) - before)
    return move


def _send(
    running: RunningService,
    move: Move,
    stop: threading.Event,
    converting: threading.Event,
    lock: threading.Lock,
    kind: str,
) -> None:
    body = prediction_request(running.model_id("iris"), models.load("iris").rows[0])
    with running.client(timeout=120) as client:
        while not stop.is_set():
            started = time.perf_counter()
            try:
                if kind == "write":
                    response = client.post(PREDICTIONS, body)
                else:
                    response = client.get(f"{PREDICTIONS}?limit=20")
                status = response.status
            except OSError as error:
                status = 0
                move.failures.append(str(error))
            milliseconds = (time.perf_counter() - started) * 1000
            with lock:
                move.requests += 1
                move.created += status == 201
                if status not in (0, 200, 201):
                    move.failures.append(f"{status} {response.body[:200]!r}")
                if converting.is_set():
                    move.slowest_since = max(move.slowest_since, milliseconds)
                else:
                    move.slowest_before = max(move.slowest_before, milliseconds)
