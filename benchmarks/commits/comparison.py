"""`python -m benchmarks commits OLD NEW`: two commits of mlapi, compared in pairs of short runs.

Each commit is checked out into a temporary worktree and served from it, with its own database, in
the Python environment that runs the benchmarks. Both servers run all the time. For each kind of
request (one prediction, a batch, /v2 infer), a short run on one commit is followed at once by the
same run on the other, in alternating order, and each pair gives a ratio: a machine that is slow for
a while is slow for both. The medians of the ratios are what counts, and the processor time of each
request, which does not depend on who else uses the machine. Only manage.py and the HTTP API are
used, so that the commits may differ in layout.

With --monitored, NEW has constraints, a reference, four monitors and a worker that counts its
predictions beside it, and OLD, which may be the same commit, has none of that. What counts then is
the ratio of all requests: the worker counts once a minute, which most short runs do not see.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commits.monitored import SIGNATURE, Worker, monitor
from benchmarks.commits.summary import BARE, KINDS, Run, Runs, print_summary
from benchmarks.commits.worktrees import short_name, worktree
from benchmarks.harness import load, models, postgresql, service
from benchmarks.harness.client import Client
from benchmarks.harness.environments import CURRENT
from benchmarks.harness.load import Target
from benchmarks.harness.models import TrainedModel
from benchmarks.harness.processes import Server
from benchmarks.harness.service import Installation, RunningService
from benchmarks.options import add_integer, add_json
from benchmarks.peers.base import Launch, Workspace
from benchmarks.peers.serving import prepare_django

START_SECONDS = 60
WARM_UP_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Side:
    """One commit, served."""

    name: str
    running: RunningService
    worker: Worker | None = None

    def measure(self, target: Target, options: argparse.Namespace) -> Run:
        with self.worker.running() if self.worker else contextlib.nullcontext():
            return _measure(self.running.server, target, options)

    def targets(self, model: TrainedModel, batch_rows: int) -> dict[str, Target]:
        """What to load, by kind of request."""
        model_id = self.running.model_id(model.name)
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
                f"http://127.0.0.1:{self.running.port}{path}",
                self.running.installation.headers,
                [json.dumps(body) for body in bodies],
            )
            for kind, (path, bodies) in requests.items()
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help="the commit to compare with")
    parser.add_argument("new", metavar="NEW", help="the commit that is compared")
    add_integer(parser, "--rounds", 10, "pairs of runs of each kind")
    add_integer(parser, "--seconds", 2, "length of a run")
    add_integer(parser, "--connections", 16, "kept-alive connections")
    add_integer(parser, "--rows", 100, "rows per batch")
    add_integer(parser, "--workers", 1, "processes of each server")
    parser.add_argument(
        "--monitored", action="store_true", help="let NEW be monitored, with a worker beside it"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    load.require_wrk()
    model = models.load("iris", CURRENT)
    names = {"old": short_name(options.old), "new": short_name(options.new)}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlapi-benchmark-")))
        database = stack.enter_context(postgresql.server())
        sides = [
            stack.enter_context(
                _serve(
                    side,
                    stack.enter_context(worktree(commit, folder / f"checkout-{side}")),
                    folder / side,
                    database,
                    model,
                    options,
                )
            )
            for side, commit in names.items()
        ]
        bare = prepare_django(model, Workspace(folder, database), CURRENT)()
        stack.enter_context(bare.server)
        bare.server.wait_until(bare.is_ready, seconds=START_SECONDS)
        runs = _run_pairs(sides, bare, model, options)
    return print_summary(runs, names, options)


@contextlib.contextmanager
def _serve(
    side: str,
    checkout: Path,
    folder: Path,
    database: postgresql.PostgreSQL,
    model: TrainedModel,
    options: argparse.Namespace,
) -> Iterator[Side]:
    name = f"benchmark_commits_{side}"
    database.recreate(name)
    url = database.database_url(name)
    installation = Installation(url, folder, checkout=checkout, interpreter=CURRENT)
    installation.set_up()
    is_monitored = options.monitored and side == "new"
    signature = SIGNATURE if is_monitored else None
    installation.register(model.file("onnx"), name=model.name, signature=signature)
    with installation.server(workers=options.workers) as running:
        if not is_monitored:
            yield Side(side, running)
            return
        monitor(running, model)
        with Worker(installation) as worker:
            yield Side(side, running, worker)


def _run_pairs(
    sides: Sequence[Side], bare: Launch, model: TrainedModel, options: argparse.Namespace
) -> Runs:
    targets = {side.name: side.targets(model, options.rows) for side in sides}
    runs: Runs = {(side.name, kind): [] for side in sides for kind in KINDS}
    runs[BARE, "predict"] = []
    for kind in KINDS:
        for side in sides:
            _check_once(targets[side.name][kind])
            load.run(
                targets[side.name][kind],
                connections=options.connections,
                seconds=WARM_UP_SECONDS,
            )
    for number in range(1, options.rounds + 1):
        for kind in KINDS:
            # Alternating: the second run of a pair must not always be the same commit's.
            for side in sides if number % 2 else reversed(sides):
                target = targets[side.name][kind]
                runs[side.name, kind].append(side.measure(target, options))
        runs[BARE, "predict"].append(_measure(bare.server, bare.target, options))
        print(f"round {number} of {options.rounds} done", file=sys.stderr, flush=True)
    return runs


def _check_once(target: Target) -> None:
    """Exit unless the first body is accepted: wrk does not show what a response says."""
    address, _, path = target.url.partition("//")[2].partition("/")
    client = Client(int(address.rpartition(":")[2]), target.headers)
    with contextlib.closing(client):
        response = client.post(f"/{path}", target.bodies[0].encode())
    if response.status not in (200, 201):
        sys.exit(f"POST {target.url} responded {response.status}: {response.body[:300]!r}")


def _measure(server: Server, target: Target, options: argparse.Namespace) -> Run:
    before = server.cpu_seconds()
    figures = load.run(target, connections=options.connections, seconds=options.seconds)
    used = server.cpu_seconds() - before
    if figures.has_failed:
        sys.exit(f"Some requests to {target.url} failed: {figures}")
    return Run(figures, 1e6 * used / figures.responses)
