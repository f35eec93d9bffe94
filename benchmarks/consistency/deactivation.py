"""`python -m benchmarks deactivate`: a deactivation holds in every process once it is answered.

Several workers are under load while the model is deactivated through the API: no request that was
sent after the answer to that may get a 201. Then it is activated again, and so on.
"""

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.consistency.watchers import Watchers
from benchmarks.harness import models, postgresql, service
from benchmarks.harness.client import Client

DATABASE = "benchmark_deactivation"
LOAD_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Round:
    """Requests by when they were sent and how they were answered."""

    number: int
    predicted_before: int
    refused_after: int
    predicted_after: int
    other: int
    refused_once_active_again: int

    @property
    def is_good(self) -> bool:
        return not self.predicted_after and not self.other and self.refused_after > 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    whole: dict[str, Any] = {"type": int, "metavar": "N"}
    parser.add_argument("--rounds", default=20, help="deactivations (20)", **whole)
    parser.add_argument("--workers", default=4, help="processes of the server (4)", **whole)
    parser.add_argument("--threads", default=16, help="clients at once (16)", **whole)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw figures there")


def run(options: argparse.Namespace) -> int:
    model = models.load("iris")
    with postgresql.server() as database:
        database.recreate(DATABASE)
        with (
            service.temporary(database.database_url(DATABASE), model) as installed,
            installed.server(workers=options.workers) as running,
        ):
            model_id = running.model_id("iris")
            client = running.client()
            rounds = []
            for number in range(1, options.rounds + 1):
                with Watchers(running, model_id, model.rows[0], threads=options.threads) as load:
                    rounds.append(_round(number, client, load, f"{service.MODELS}{model_id}/"))
        database.drop(DATABASE)
    rows = [[str(value) for value in asdict(one).values()] for one in rounds]
    head = ["round", "201 before", "404 after", "201 AFTER", "other", "404 once active again"]
    print(report.table(head, rows))
    bad = sum(not one.is_good for one in rounds)
    print(f"\n{len(rounds)} deactivations with {options.workers} workers, {bad} bad")
    report.write_json(options.json, {"rounds": [asdict(one) for one in rounds]})
    return int(bad > 0)


def _round(number: int, client: Client, load: Watchers, path: str) -> Round:
    time.sleep(LOAD_SECONDS)
    off = _set_active(client, path, is_active=False)
    time.sleep(LOAD_SECONDS)
    before_on = time.monotonic()
    on = _set_active(client, path, is_active=True)
    time.sleep(LOAD_SECONDS)
    before, after, again = [], [], []
    for event in load.events:
        if event.sent < off:
            before.append(event.status)
        elif event.answered < before_on:
            after.append(event.status)
        elif event.sent > on:
            again.append(event.status)
    return Round(
        number=number,
        predicted_before=before.count(201),
        refused_after=after.count(404),
        predicted_after=after.count(201),
        other=sum(status not in (201, 404) for status in [*before, *after, *again]),
        refused_once_active_again=again.count(404),
    )


def _set_active(client: Client, path: str, *, is_active: bool) -> float:
    """When the change was answered."""
    answer = client.send(
        "PATCH",
        path,
        # By force: its name's champion is the one version there is.
        b'{"is_active": true}' if is_active else b'{"is_active": false, "force": true}',
        {"Content-Type": "application/json"},
    )
    if answer.status != 200:
        raise service.CommandFailed(f"PATCH {path} answered {answer.status}: {answer.body!r}")
    return time.monotonic()
