"""`python -m benchmarks deactivate`: a deactivation holds in every process once it is answered.

The model is deactivated through the API while several workers are under load: no request sent after
the response to the deactivation may get a 201. Then the model is activated again, and so on.
"""

import argparse
import time
from dataclasses import asdict, dataclass

from benchmarks import report
from benchmarks.consistency.rounds import LOAD_SECONDS, Round, print_rounds, running_service
from benchmarks.consistency.watchers import Watchers
from benchmarks.harness import models, service
from benchmarks.harness.client import Client
from benchmarks.options import add_integer, add_json

DATABASE = "benchmark_deactivation"


@dataclass(frozen=True, slots=True)
class Deactivation(Round):
    refused_once_active_again: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rounds", 20, "deactivations")
    add_integer(parser, "--workers", 4, "processes of the server")
    add_integer(parser, "--threads", 16, "concurrent clients")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    model = models.load("iris")
    with running_service(DATABASE, model, workers=options.workers) as running:
        model_id = running.model_id("iris")
        client = running.client()
        rounds = []
        for number in range(1, options.rounds + 1):
            with Watchers(running, model_id, model.rows[0], threads=options.threads) as load:
                path = f"{service.MODELS}{model_id}/"
                rounds.append(_run_round(number, client, load, path))
    head = ["round", "201 before", "404 after", "201 AFTER", "other", "404 once active again"]
    is_good = print_rounds(head, rounds, f"deactivations with {options.workers} workers")
    report.write_json(options.json, {"rounds": [asdict(result) for result in rounds]})
    return int(not is_good)


def _run_round(number: int, client: Client, load: Watchers, path: str) -> Deactivation:
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
    return Deactivation(
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
