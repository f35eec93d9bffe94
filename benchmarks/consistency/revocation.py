"""`python -m benchmarks keys`: API keys cost what tokens cost, and a revocation holds at once.

First, rounds of predictions with a token and with a key take turns under the same load. Then a key
is revoked through the API while several workers are under load with it: no request sent after the
response to the revocation may get a 201. Each round has a key of its own.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks import report
from benchmarks.consistency.rounds import LOAD_SECONDS, Round, print_rounds, running_service
from benchmarks.consistency.watchers import Watchers
from benchmarks.harness import models, service
from benchmarks.harness.client import Client
from benchmarks.harness.service import RunningService
from benchmarks.options import add_integer, add_json

DATABASE = "benchmark_keys"
KEYS = "/api/v1/api-keys/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rounds", 20, "revocations")
    add_integer(parser, "--pairs", 20, "pairs of rounds with a token and with a key")
    add_integer(parser, "--seconds", 2, "length of a round with a token or a key")
    add_integer(parser, "--workers", 4, "processes of the server")
    add_integer(parser, "--threads", 16, "concurrent clients")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    model = models.load("iris")
    with running_service(DATABASE, model, workers=options.workers) as running:
        load = Load(running, running.model_id("iris"), model.rows[0], options.threads)
        ratios = [load.compare(options.seconds) for _ in range(options.pairs)]
        rounds = [load.revoke(number) for number in range(1, options.rounds + 1)]
    head = ["round", "201 before", "401 after", "201 AFTER", "other"]
    is_good = print_rounds(head, rounds, f"revocations with {options.workers} workers")
    print(f"key / token: median {statistics.median(ratios):.3f} of {len(ratios)} pairs")
    report.write_json(
        options.json, {"rounds": [asdict(result) for result in rounds], "ratios": ratios}
    )
    return int(not is_good)


class Load:
    """Clients that request predictions with the installation's token, or with a key."""

    def __init__(
        self, running: RunningService, model_id: int, row: Sequence[float], threads: int
    ) -> None:
        self._running = running
        self._model_id = model_id
        self._row = row
        self._threads = threads
        self._client: Client = running.client()

    def compare(self, seconds: float) -> float:
        """Predictions with a key for each one with a token, in rounds that alternate."""
        key = self._make_key()["key"]
        counts = {"token": 0, "key": 0}
        for kind in ("token", "key", "key", "token"):
            with self._watch(key if kind == "key" else None) as watchers:
                time.sleep(seconds / 2)
            counts[kind] += sum(event.status == 201 for event in watchers.events)
        return counts["key"] / counts["token"]

    def revoke(self, number: int) -> Round:
        made = self._make_key()
        with self._watch(made["key"]) as watchers:
            time.sleep(LOAD_SECONDS)
            response = self._client.post(f"{KEYS}{made['id']}/revoke/", {})
            revoked_at = time.monotonic()
            if response.status != 200:
                raise service.CommandFailed(f"The revocation got {response.status}")
            time.sleep(LOAD_SECONDS)
        before = [event.status for event in watchers.events if event.responded_at < revoked_at]
        after = [event.status for event in watchers.events if event.sent_at > revoked_at]
        return Round(
            number=number,
            predicted_before=before.count(201),
            refused_after=after.count(401),
            predicted_after=after.count(201),
            other=sum(status not in (201, 401) for status in [*before, *after]),
        )

    def _make_key(self) -> dict[str, str]:
        response = self._client.post(KEYS, {"name": "benchmark", "scopes": ["predict"]})
        if response.status != 201:
            raise service.CommandFailed(f"Making a key got {response.status}: {response.body!r}")
        document: dict[str, str] = response.json()
        return document

    def _watch(self, key: str | None) -> Watchers:
        return Watchers(self._running, self._model_id, self._row, threads=self._threads, key=key)
