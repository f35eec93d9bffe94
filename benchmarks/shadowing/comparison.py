"""`python -m benchmarks shadows`: what shadows cost those who are answered.

The same alias is under load without shadows and, in turns, with two bad ones: one that sleeps a
second for each call, and one that always fails. Medians of the rounds.
"""

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import report
from benchmarks.harness import load, models, postgresql, service
from benchmarks.harness.client import Client
from benchmarks.harness.environments import MLAPI, PROJECT
from benchmarks.harness.load import Figures, Target
from benchmarks.harness.processes import Server, free_port
from benchmarks.report import median, ratio, shown

DATABASE = "benchmark_shadows"
ALIAS = "/api/v1/aliases/iris/champion/"
SHADOWS = {"2": "slow", "3": "failing"}
READY_SECONDS = 20
DROPPED = re.compile(r"^mlapi_shadow_dropped_total\{.*\} ([0-9.e+]+)$", re.MULTILINE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each (5)")
    parser.add_argument("--seconds", type=int, default=5, metavar="N", help="a round (5)")
    parser.add_argument("--connections", type=int, default=16, metavar="N", help="at once (16)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw figures there")


def run(options: argparse.Namespace) -> int:
    model = models.load("iris")
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    with postgresql.server() as database:
        database.recreate(DATABASE)
        url = database.database_url(DATABASE)
        settings = {"REMOTE_ORIGINS": json.dumps([origin]), "MODEL_CACHE_SIZE": "5"}
        with service.temporary(url, model, **settings) as installed, _stand_in(port, installed):
            for version, name in SHADOWS.items():
                document = installed.folder / f"{name}.json"
                document.write_text(json.dumps({"url": origin, "model": name}))
                installed.register(document, name="iris", version=version)
            with installed.server() as running:
                client = running.client()
                target = Target(
                    f"http://127.0.0.1:{running.port}{service.PREDICTIONS}",
                    client.headers,
                    [
                        json.dumps({"model": "iris", "input_data": {"features": row}})
                        for row in model.rows
                    ],
                )
                rounds = _rounds(options, client, target)
                dropped = _dropped(client)
        database.drop(DATABASE)
    return _report(options, rounds, dropped)


@contextlib.contextmanager
def _stand_in(port: int, installed: service.Service) -> Iterator[None]:
    server = Server(
        [MLAPI.python, "-m", "benchmarks.shadowing.stand_in", str(port)],
        environment=MLAPI.variables(),
        folder=PROJECT,
        log=installed.folder / "stand_in.log",
    )
    with server:
        server.wait_until(partial(_answers, port), seconds=READY_SECONDS)
        yield


def _answers(port: int) -> bool:
    return Client(port, timeout=5).get("/v2").status == 200


def _rounds(
    options: argparse.Namespace, client: Client, target: Target
) -> dict[str, list[Figures]]:
    rounds: dict[str, list[Figures]] = {"none": [], "two": []}
    for number in range(-1, options.rounds):
        for name, shadows in (("none", []), ("two", list(SHADOWS))):
            _set_shadows(client, shadows)
            figures = load.run(target, connections=options.connections, seconds=options.seconds)
            if figures.has_failed:
                sys.exit(f"not every answer was a 201: {figures}")
            if number >= 0:
                rounds[name].append(figures)
    return rounds


def _set_shadows(client: Client, shadows: list[str]) -> None:
    # By force: their inputs have another name than the champion's.
    body = json.dumps({"version": "1", "shadows": shadows, "force": True}).encode()
    answer = client.send("PUT", ALIAS, body, {"Content-Type": "application/json"})
    if answer.status != 200:
        raise service.CommandFailed(f"PUT {ALIAS} answered {answer.status}: {answer.body!r}")


def _dropped(client: Client) -> float:
    metrics = client.get("/metrics").body.decode()
    return sum(float(found) for found in DROPPED.findall(metrics))


def _report(options: argparse.Namespace, rounds: dict[str, list[Figures]], dropped: float) -> int:
    rows, p99 = [], {}
    for name, figures in rounds.items():
        p99[name] = median(one.p99_ms for one in figures)
        rate, p50 = median(one.per_second for one in figures), median(o.p50_ms for o in figures)
        rows.append([name, shown(rate), shown(p50), shown(p99[name])])
    print(report.table(["shadows", "requests/s", "p50 ms", "p99 ms"], rows))
    figure = ratio(p99["two"], p99["none"])
    target = report.Target("p99 with two bad shadows against none", 1.1, "at most", figure)
    print(f"\n{report.targets_table([target])}\n\n{dropped:,.0f} inputs dropped and counted")
    raw = {name: [one.as_json() for one in figures] for name, figures in rounds.items()}
    report.write_json(options.json, {**raw, "dropped": dropped, "target": target.as_json()})
    return 0
