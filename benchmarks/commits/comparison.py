"""`python -m benchmarks commits OLD NEW`: two commits of mlapi in interleaved rounds.

Each commit is checked out into a temporary worktree and served from it, with its own database and
the same Python environment. Every round loads one after the other OLD, NEW and a bare Django view,
with three kinds of requests: one prediction, a batch, and /v2 infer. The order of the commits
alternates. Only manage.py and the HTTP API are used, so that the commits may differ in layout.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commits.summary import BARE, KINDS, Runs, print_summary
from benchmarks.commits.worktrees import short_name, worktree
from benchmarks.harness import load, models, postgresql, service
from benchmarks.harness.client import Client
from benchmarks.harness.load import Figures, Target
from benchmarks.harness.models import TrainedModel
from benchmarks.harness.service import Installation
from benchmarks.options import add_integer, add_json
from benchmarks.peers.base import Launch, Workspace
from benchmarks.peers.serving import prepare_django

START_SECONDS = 60
WARM_UP_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Side:
    """One commit, installed: its database stays for all rounds, its server runs in turn."""

    name: str
    installation: Installation

    def targets(
        self, port: int, model_id: int, model: TrainedModel, batch_rows: int
    ) -> dict[str, Target]:
        """What to load, by kind of request."""
        batch = [model.rows[i % len(model.rows)] for i in range(batch_rows)]
        requests = {
            "predict": (
                service.PREDICTIONS,
                [service.prediction_request(model_id, row) for row in model.rows],
            ),
            "batch": (service.BATCH, [service.batch_request(model_id, batch)]),
            "v2": (f"/v2/models/{model.name}/infer", [*map(service.infer_request, model.rows)]),
        }
        return {
            kind: Target(
                f"http://127.0.0.1:{port}{path}",
                self.installation.headers,
                [json.dumps(body) for body in bodies],
            )
            for kind, (path, bodies) in requests.items()
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help="the commit to compare with")
    parser.add_argument("new", metavar="NEW", help="the commit that is compared")
    add_integer(parser, "--rounds", 5, "rounds over both commits")
    add_integer(parser, "--seconds", 3, "length of a run")
    add_integer(parser, "--connections", 16, "kept-alive connections")
    add_integer(parser, "--rows", 100, "rows per batch")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    load.require_wrk()
    model = models.load("iris")
    names = {"old": short_name(options.old), "new": short_name(options.new)}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlapi-benchmark-")))
        database = stack.enter_context(postgresql.server())
        sides = [
            _install(
                side,
                stack.enter_context(worktree(commit, folder / f"checkout-{side}")),
                folder / side,
                database,
                model,
            )
            for side, commit in names.items()
        ]
        launch_bare = prepare_django(model, Workspace(folder, database))
        runs: Runs = {(name, kind): [] for name in names for kind in KINDS}
        runs[BARE, "predict"] = []
        for number in range(1, options.rounds + 1):
            # Alternating: drift within a round favours neither commit.
            for side in sides if number % 2 else reversed(sides):
                _load_side(side, model, options, runs)
            _load_bare(launch_bare, options, runs)
            print(f"round {number} of {options.rounds} done", file=sys.stderr, flush=True)
    return print_summary(runs, names, options)


def _install(
    side: str,
    checkout: Path,
    folder: Path,
    database: postgresql.PostgreSQL,
    model: TrainedModel,
) -> Side:
    name = f"benchmark_commits_{side}"
    database.recreate(name)
    installation = Installation(database.database_url(name), folder, checkout=checkout)
    installation.set_up()
    installation.register(model.file("onnx"), name=model.name)
    return Side(side, installation)


def _load_side(side: Side, model: TrainedModel, options: argparse.Namespace, runs: Runs) -> None:
    with side.installation.server() as running:
        model_id = running.model_id(model.name)
        targets = side.targets(running.port, model_id, model, options.rows)
        for kind, target in targets.items():
            _check_once(target)
            runs[side.name, kind].append(_measure(target, options))


def _load_bare(launch_bare: Callable[[], Launch], options: argparse.Namespace, runs: Runs) -> None:
    launch = launch_bare()
    with launch.server:
        launch.server.wait_until(launch.is_ready, seconds=START_SECONDS)
        runs[BARE, "predict"].append(_measure(launch.target, options))


def _check_once(target: Target) -> None:
    """Exit unless the first body is accepted: wrk does not show what a response says."""
    address, _, path = target.url.partition("//")[2].partition("/")
    client = Client(int(address.rpartition(":")[2]), target.headers)
    with contextlib.closing(client):
        response = client.post(f"/{path}", target.bodies[0].encode())
    if response.status not in (200, 201):
        sys.exit(f"POST {target.url} responded {response.status}: {response.body[:300]!r}")


def _measure(target: Target, options: argparse.Namespace) -> Figures:
    load.run(target, connections=options.connections, seconds=WARM_UP_SECONDS)
    figures = load.run(target, connections=options.connections, seconds=options.seconds)
    if figures.has_failed:
        sys.exit(f"Some requests to {target.url} failed: {figures}")
    return figures
