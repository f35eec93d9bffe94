"""`python -m benchmarks peers`: all peers in interleaved rounds, each alone at its time."""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from benchmarks.harness import load, models, postgresql
from benchmarks.harness.client import Client
from benchmarks.harness.environments import NotInstallable
from benchmarks.harness.load import Figures
from benchmarks.harness.processes import ServerFailed
from benchmarks.harness.service import CommandFailed
from benchmarks.peers import recording, serving
from benchmarks.peers.base import IRIS, WINE, Bench, Launch, Peer
from benchmarks.peers.summary import print_summary

PEERS = {peer.name: peer for peer in [*recording.PEERS, *serving.PEERS]}
START_SECONDS = 120


@dataclass(slots=True)
class Visit:
    """One start of one peer: its figures by number of connections, or why there are none."""

    round: int
    peer: str
    model: str
    ready_seconds: float | None = None
    first_answer_seconds: float | None = None
    memory_bytes: int | None = None
    runs: dict[int, Figures] = field(default_factory=dict)
    trouble: str = ""

    def as_json(self) -> dict[str, Any]:
        names = ("round", "peer", "model", "ready_seconds", "first_answer_seconds")
        about = {name: getattr(self, name) for name in (*names, "memory_bytes", "trouble")}
        return {**about, "runs": {str(c): run.as_json() for c, run in self.runs.items()}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    whole: dict[str, Any] = {"type": int, "metavar": "N"}
    parser.add_argument("--rounds", default=5, help="rounds over all peers (5)", **whole)
    parser.add_argument("--seconds", default=5, help="length of a run (5)", **whole)
    parser.add_argument("--warm-up", default=2, help="seconds of load before it (2)", **whole)
    parser.add_argument(
        "--connections", nargs="+", default=[16], help="kept connections, such as 1 16 64", **whole
    )
    parser.add_argument("--models", nargs="+", choices=[IRIS, WINE], default=[IRIS, WINE])
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw figures there")


def run(options: argparse.Namespace) -> int:
    load.require_wrk()
    with (
        tempfile.TemporaryDirectory(prefix="mlapi-benchmark-") as folder,
        postgresql.server() as database,
    ):
        bench = Bench(Path(folder), database)
        launchers, unavailable = _prepare(options, bench)
        visits = []
        for number in range(1, options.rounds + 1):
            for (peer, model), launcher in launchers.items():
                visits.append(_visit(number, peer, model, launcher, options))
                _tell(visits[-1])
        about = {name: PEERS[name].about for name in options.peers}
        print_summary(visits, options, about, unavailable, database.settings())
    return int(any(visit.trouble for visit in visits))


def _prepare(
    options: argparse.Namespace, bench: Bench
) -> tuple[dict[tuple[str, str], Callable[[], Launch]], dict[str, str]]:
    """What starts each peer with each model, and why others are not available."""
    launchers, unavailable = {}, {}
    models = {name: models.load(name) for name in options.models}
    for name in options.peers:
        peer: Peer = PEERS[name]
        try:
            peer.environment.build()
            for model in peer.models:
                if model in models:
                    launchers[name, model] = peer.prepare(models[model], bench)
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
        visit.trouble = f"{type(error).__name__}: {error}"
    return visit


def _measure(visit: Visit, launch: Launch, options: argparse.Namespace) -> None:
    before = launch.recorded() if launch.recorded else 0
    visit.ready_seconds = launch.server.wait_until(launch.is_ready, seconds=START_SECONDS)
    asked = _Asked(launch)
    visit.first_answer_seconds = launch.server.wait_until(asked.once, seconds=START_SECONDS)
    warm_up = load.run(launch.target, connections=16, seconds=options.warm_up)
    runs = [(16, warm_up)]
    for connections in options.connections:
        figures = load.run(launch.target, connections=connections, seconds=options.seconds)
        visit.runs[connections] = figures
        runs.append((connections, figures))
        if figures.has_failed:
            visit.trouble = f"c={connections}: {_failures(figures)}"
    visit.memory_bytes = launch.server.memory_bytes()
    if launch.recorded and not visit.trouble:
        acknowledged = asked.answered + sum(figures.answers for _, figures in runs)
        # wrk hangs up at the end of a run: requests then in flight are recorded, and not counted.
        in_flight = sum(connections for connections, _ in runs)
        time.sleep(0.5)
        recorded = launch.recorded() - before
        if not acknowledged <= recorded <= acknowledged + in_flight:
            visit.trouble = f"{acknowledged} answers, but {recorded} rows recorded"


class _Asked:
    """Sends the first body until it is answered as it should be."""

    def __init__(self, launch: Launch) -> None:
        self.launch, self.answered = launch, 0

    def once(self) -> bool:
        target = self.launch.target
        base, _, path = target.url.partition("//")[2].partition("/")
        client = Client(int(base.rpartition(":")[2]), target.headers, timeout=10)
        with contextlib.closing(client):
            answer = client.post(f"/{path}", target.bodies[0].encode())
        self.answered += answer.status == self.launch.status
        return answer.status == self.launch.status


def _failures(figures: Figures) -> str:
    return (
        f"{figures.answers} answers, of these {figures.refused} refusals;"
        f" {figures.broken} broken connections, {figures.late} timeouts"
    )


def _tell(visit: Visit) -> None:
    rates = ", ".join(f"c={c} {run.per_second:,.0f}/s" for c, run in visit.runs.items())
    line = f"round {visit.round}  {visit.peer} {visit.model}: {visit.trouble or rates}"
    print(line, file=sys.stderr, flush=True)
