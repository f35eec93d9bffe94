"""`python -m benchmarks deactivate`: a deactivation holds in every process once it is answered.

The model is deactivated through the API while several workers are under load: no request sent after
the response to the deactivation may get a 201. Then the model is activated again, and so on.
"""

import argparse
import time
from dataclasses import asdict, dataclass

from benchmarks import report
from benchmarks.consistency.watchers import Watchers
from benchmarks.harness import models, postgresql, service
from benchmarks.harness.client import Client
from benchmarks.options import add_integer, add_json

DATABASE = "benchmark_deactivation"
LOAD_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Round:
    """Counts of requests by when they were sent and the status of their response."""

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
    add_integer(parser, "--rounds", 20, "deactivations")
    add_integer(parser, "--workers", 4, "processes of the server")
    add_integer(parser, "--threads", 16, "concurrent clients")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    model = models.load("iris")
    with postgresql.server() as database:
        database.recreate(DATABASE)
        with (
            service.temporary(database.database_url(DATABASE), model) as installation,
            installation.server(workers=options.workers) as running,
        ):
            model_id = running.model_id("iris")
            client = running.client()
            rounds = []
            for number in range(1, options.rounds + 1):
                with Watchers(running, model_id, model.rows[0], threads=options.threads) as load:
                    path = f"{service.MODELS}{model_id}/"
                    rounds.append(_run_round(number, client, load, path))
        database.drop(DATABASE)
    rows = [[str(value) for value in asdict(result).values()] for result in rounds]
    head = ["round", "201 before", "404 after", "201 AFTER", "other", "404 once active again"]
    print(report.table(head, rows))
    bad = sum(not result.is_good for result in rounds)
    print(f"\n{len(rounds)} deactivations with {options.workers} workers, {bad} bad")
    report.write_json(options.json, {"rounds": [asdict(result) for result in rounds]})
    return int(bad > 0)


def _run_round(number: int, client: Client, load: Watchers, path: str) -> Round:
    time.sleep(LOAD_SECONDS)
    deactivated_at = _set_active(client, path, is_active=False)
    time.sleep(LOAD_SECONDS)
    activation_sent_at = time.monotonic()
    activated_at = _set_active(client, path, is_active=True)
    time.sleep(LOAD_SECONDS)
    before, after, again = [], [], []
    for event in load.events:
        if event.sent_at < deactivated_at:
            before.append(event.status)
        elif event.responded_at < activation_sent_at:
            after.append(event.status)
        elif event.sent_at > activated_at:
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
    """The time of the response, in monotonic seconds."""
    response = client.send(
        "PATCH",
        path,
        # `force`: the version is the champion of its name.
        b'{"is_active": true}' if is_active else b'{"is_active": false, "force": true}',
        {"Content-Type": "application/json"},
    )
    if response.status != 200:
        raise service.CommandFailed(f"PATCH {path} responded {response.status}: {response.body!r}")
    return time.monotonic()
