"""`python -m benchmarks peers`: all peers in interleaved rounds, one at a time."""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError

from benchmarks.harness import load, models, postgresql
from benchmarks.harness.client import Client
from benchmarks.harness.environments import NotInstallable
from benchmarks.harness.load import Figures
from benchmarks.harness.processes import ServerFailed
from benchmarks.harness.service import CommandFailed
from benchmarks.options import add_integer, add_json
from benchmarks.peers import recording, serving
from benchmarks.peers.base import IRIS, WINE, Launch, Peer, Workspace
from benchmarks.peers.summary import print_summary

PEERS = {peer.name: peer for peer in [*recording.PEERS, *serving.PEERS]}
START_SECONDS = 120


@dataclass(slots=True)
class Visit:
    """One start of one peer: its figures by number of connections, or the reason of its failure."""

    round: int
    peer: str
    model: str
    ready_seconds: float | None = None
    first_response_seconds: float | None = None
    memory_bytes: int | None = None
    runs: dict[int, Figures] = field(default_factory=dict)
    failure: str = ""

    def as_json(self) -> dict[str, object]:
        names = ("round", "peer", "model", "ready_seconds", "first_response_seconds")
        visit = {name: getattr(self, name) for name in (*names, "memory_bytes", "failure")}
        return {**visit, "runs": {str(c): run.as_json() for c, run in self.runs.items()}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rounds", 5, "rounds over all peers")
    add_integer(parser, "--seconds", 5, "length of a run")
    add_integer(parser, "--warm-up", 2, "seconds of load before the first run")
    parser.add_argument(
        "--connections",
        type=int,
        nargs="+",
        metavar="N",
        default=[16],
        help="numbers of kept-alive connections, such as 1 16 64 (16)",
    )
    parser.add_argument("--models", nargs="+", choices=[IRIS, WINE], default=[IRIS, WINE])
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    load.require_wrk()
    with (
        tempfile.TemporaryDirectory(prefix="mlapi-benchmark-") as folder,
        postgresql.server() as database,
    ):
        workspace = Workspace(Path(folder), database)
        launchers, unavailable = _prepare(options, workspace)
        visits = []
        for number in range(1, options.rounds + 1):
            for (peer, model), launcher in launchers.items():
                visits.append(_visit(number, peer, model, launcher, options))
                _print_visit(visits[-1])
        descriptions = {name: PEERS[name].description for name in options.peers}
        print_summary(visits, options, descriptions, unavailable, database.settings())
    return int(any(visit.failure for visit in visits))


def _prepare(
    options: argparse.Namespace, workspace: Workspace
) -> tuple[dict[tuple[str, str], Callable[[], Launch]], dict[str, str]]:
    """A launcher for each available peer and model, and the reason by unavailable peer."""
    launchers, unavailable = {}, {}
    trained = {name: models.load(name) for name in options.models}
    for name in options.peers:
        peer: Peer = PEERS[name]
        try:
            peer.environment.build()
            for model in peer.models:
                if model in trained:
                    launchers[name, model] = peer.prepare(trained[model], workspace)
        except (NotInstallable, CommandFailed, ServerFailed, CalledProcessError) as error:
            unavailable[name] = str(error)
            print(f"{name} is not available: {error}", file=sys.stderr)
    return launchers, unavailable


def _visit(
    number: int, peer: str, model: str, launcher: Callable[[], Launch], options: argparse.Namespace
) -> Visit:
    visit = Visit(number, peer, model)
    launch = launcher()
    try:
        with launch.server:
            _measure(visit, launch, options)
    except (ServerFailed, OSError, RuntimeError, ValueError) as error:
        visit.failure = f"{type(error).__name__}: {error}"
    return visit


def _measure(visit: Visit, launch: Launch, options: argparse.Namespace) -> None:
    before = launch.count_recorded() if launch.count_recorded else 0
    visit.ready_seconds = launch.server.wait_until(launch.is_ready, seconds=START_SECONDS)
    first = FirstResponse(launch)
    visit.first_response_seconds = launch.server.wait_until(
        first.has_arrived, seconds=START_SECONDS
    )
    warm_up = load.run(launch.target, connections=16, seconds=options.warm_up)
    runs = [(16, warm_up)]
    for connections in options.connections:
        figures = load.run(launch.target, connections=connections, seconds=options.seconds)
        visit.runs[connections] = figures
        runs.append((connections, figures))
        if figures.has_failed:
            visit.failure = f"c={connections}: {_failures(figures)}"
    visit.memory_bytes = launch.server.memory_bytes()
    if launch.count_recorded and not visit.failure:
        acknowledged = first.requests + sum(figures.responses for _, figures in runs)
        # wrk closes its connections at the end: requests in flight are recorded but not counted.
        in_flight = sum(connections for connections, _ in runs)
        time.sleep(0.5)
        recorded = launch.count_recorded() - before
        if not acknowledged <= recorded <= acknowledged + in_flight:
            visit.failure = f"{acknowledged} responses, but {recorded} rows were recorded"


class FirstResponse:
    """Sends the first body until a response has the expected status; counts these responses."""

    def __init__(self, launch: Launch) -> None:
        self.launch, self.requests = launch, 0

    def has_arrived(self) -> bool:
        target = self.launch.target
        base, _, path = target.url.partition("//")[2].partition("/")
        client = Client(int(base.rpartition(":")[2]), target.headers, timeout=10)
        with contextlib.closing(client):
            response = client.post(f"/{path}", target.bodies[0].encode())
        is_expected = response.status == self.launch.status
        self.requests += is_expected
        return is_expected


def _failures(figures: Figures) -> str:
    return (
        f"{figures.responses} responses, {figures.refused} of them with an error status;"
        f" {figures.broken} lost connections, {figures.late} timeouts"
    )


def _print_visit(visit: Visit) -> None:
    rates = ", ".join(f"c={c} {run.per_second:,.0f}/s" for c, run in visit.runs.items())
    line = f"round {visit.round}  {visit.peer} {visit.model}: {visit.failure or rates}"
    print(line, file=sys.stderr, flush=True)
