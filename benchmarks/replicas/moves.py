"""Moves an alias back and forth, and judges which version answered."""

import bisect
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.harness.client import Client
from benchmarks.harness.service import PREDICTIONS
from benchmarks.replicas.cluster import MODEL, VERSIONS, Cluster

PAUSE_SECONDS = 3.0
ALIAS_PATH = f"/api/v1/aliases/{MODEL}/champion/"


@dataclass(frozen=True, slots=True)
class Move:
    """The alias means `version_id` from some moment between these two, in monotonic seconds.

    `answered_at` is None if it is not known whether it was made.
    """

    version_id: int
    sent_at: float
    answered_at: float | None


@dataclass(frozen=True, slots=True)
class Answered:
    """A prediction that was requested by the alias, and the version that answered it."""

    version_id: int
    sent_at: float
    answered_at: float


def wrong_versions(moves: Sequence[Move], answers: Sequence[Answered]) -> int:
    """How many answers came from a version that the alias meant at no time meanwhile.

    `moves` are in their order, the first one before every answer.
    """
    sent = [move.sent_at for move in moves]
    wrong = 0
    for answer in answers:
        # Every move that was sent before the answer came may have been made by then.
        last = bisect.bisect_left(sent, answer.answered_at) - 1
        possible = set()
        for move in reversed(moves[: last + 1]):
            possible.add(move.version_id)
            if move.answered_at is not None and move.answered_at <= answer.sent_at:
                break
        wrong += answer.version_id not in possible
    return wrong


class Mover:
    """Moves the alias to another version every few seconds while the `with` block runs."""

    def __init__(self, cluster: Cluster, version_ids: Sequence[int]) -> None:
        self._cluster, self._version_ids = cluster, version_ids
        # The registration has made the first version the champion.
        self.moves = [Move(version_ids[0], time.monotonic(), time.monotonic())]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Mover":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with self._cluster.client() as client:
            number = 0
            while not self._stop.wait(PAUSE_SECONDS):
                number += 1
                self._move(client, number % len(VERSIONS))

    def _move(self, client: Client, index: int) -> None:
        version_id, sent_at = self._version_ids[index], time.monotonic()
        body = f'{{"version": "{VERSIONS[index]}", "reason": "benchmark"}}'.encode()
        try:
            response = client.send("PUT", ALIAS_PATH, body, {"Content-Type": "application/json"})
        except OSError:
            self.moves.append(Move(version_id, sent_at, None))
            return
        if response.status in (200, 201):
            self.moves.append(Move(version_id, sent_at, time.monotonic()))
        elif response.status >= 500:
            self.moves.append(Move(version_id, sent_at, None))
        else:
            raise AssertionError(f"A move got {response.status}: {response.body!r}")


class AliasCallers:
    """Threads that request predictions by the alias, and keep which version answered."""

    def __init__(self, cluster: Cluster, *, threads: int, pause_seconds: float) -> None:
        self._cluster, self._pause_seconds = cluster, pause_seconds
        self.answers: list[Answered] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> "AliasCallers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        features = list(self._cluster.model.rows[0])
        request = {"model": f"{MODEL}@champion", "input_data": {"features": features}}
        with self._cluster.client() as client:
            while not self._stop.wait(self._pause_seconds):
                sent_at = time.monotonic()
                try:
                    response = client.post(PREDICTIONS, request)
                except OSError:
                    continue
                if response.status == 201:
                    found = response.json()["model_id"]
                    self.answers.append(Answered(found, sent_at, time.monotonic()))
