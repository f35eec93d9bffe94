"""`python -m benchmarks shadows`: what shadows cost the callers.

The same alias is under load alternately without shadows and with two bad ones: one that takes a
second for each call, and one that always fails. Medians of the rounds are shown.
"""

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks import report
from benchmarks.harness import load, models, postgresql, service
from benchmarks.harness.client import Client
from benchmarks.harness.environments import MLAPI, PROJECT
from benchmarks.harness.load import Figures, Target
from benchmarks.harness.processes import Server, free_port
from benchmarks.harness.service import Installation
from benchmarks.options import add_integer, add_json
from benchmarks.report import format_figure, median, ratio

DATABASE = "benchmark_shadows"
ALIAS = "/api/v1/aliases/iris/champion/"
SHADOWS = {"2": "slow", "3": "failing"}
READY_SECONDS = 20
DROPPED = re.compile(r"^mlapi_shadow_dropped_total\{.*\} ([0-9.e+]+)$", re.MULTILINE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rounds", 5, "of each kind")
    add_integer(parser, "--seconds", 5, "per round")
    add_integer(parser, "--connections", 16, "kept-alive connections")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    model = models.load("iris")
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    with postgresql.server() as database:
        database.recreate(DATABASE)
        url = database.database_url(DATABASE)
        settings = {"REMOTE_ORIGINS": json.dumps([origin]), "MODEL_CACHE_SIZE": "5"}
        with (
            service.temporary(url, model, **settings) as installation,
            _stand_in(port, installation),
        ):
            for version, name in SHADOWS.items():
                document = installation.folder / f"{name}.json"
                document.write_text(json.dumps({"url": origin, "model": name}))
                installation.register(document, name="iris", version=version)
            with installation.server() as running:
                client = running.client()
                target = Target(
                    f"http://127.0.0.1:{running.port}{service.PREDICTIONS}",
                    client.headers,
                    [
                        json.dumps({"model": "iris", "input_data": {"features": row}})
                        for row in model.rows
                    ],
                )
                rounds = _run_rounds(options, client, target)
                dropped = _count_dropped(client)
        database.drop(DATABASE)
    return _report(options, rounds, dropped)


@contextlib.contextmanager
def _stand_in(port: int, installation: Installation) -> Iterator[None]:
    server = Server(
        [MLAPI.python, "-m", "benchmarks.shadowing.stand_in", str(port)],
        environment=MLAPI.variables(),
        folder=PROJECT,
        log=installation.folder / "stand_in.log",
    )
    with server:
        server.wait_until(partial(_is_live, port), seconds=READY_SECONDS)
        yield


def _is_live(port: int) -> bool:
    return Client(port, timeout=5).get("/v2").status == 200


def _run_rounds(
    options: argparse.Namespace, client: Client, target: Target
) -> dict[str, list[Figures]]:
    rounds: dict[str, list[Figures]] = {"none": [], "two": []}
    for number in range(-1, options.rounds):
        for name, shadows in (("none", []), ("two", list(SHADOWS))):
            _set_shadows(client, shadows)
            figures = load.run(target, connections=options.connections, seconds=options.seconds)
            if figures.has_failed:
                sys.exit(f"Some requests were not answered with 201: {figures}")
            if number >= 0:
                rounds[name].append(figures)
    return rounds


def _set_shadows(client: Client, shadows: list[str]) -> None:
    # `force`: the shadows' inputs have other names than the champion's.
    body = json.dumps({"version": "1", "shadows": shadows, "force": True}).encode()
    response = client.send("PUT", ALIAS, body, {"Content-Type": "application/json"})
    if response.status != 200:
        raise service.CommandFailed(f"PUT {ALIAS} responded {response.status}: {response.body!r}")


def _count_dropped(client: Client) -> float:
    metrics = client.get("/metrics").body.decode()
    return sum(float(value) for value in DROPPED.findall(metrics))


def _report(options: argparse.Namespace, rounds: dict[str, list[Figures]], dropped: float) -> int:
    rows, p99_ms = [], {}
    for name, runs in rounds.items():
        rate = median(figures.per_second for figures in runs)
        p50_ms = median(figures.p50_ms for figures in runs)
        p99_ms[name] = median(figures.p99_ms for figures in runs)
        rows.append([name, *map(format_figure, [rate, p50_ms, p99_ms[name]])])
    print(report.table(["shadows", "requests/s", "p50 ms", "p99 ms"], rows))
    figure = ratio(p99_ms["two"], p99_ms["none"])
    target = report.Target("p99 with two bad shadows against none", 1.1, "at most", figure)
    print(f"\n{report.targets_table([target])}\n\n{dropped:,.0f} shadow inputs were dropped")
    raw = {name: [figures.as_json() for figures in runs] for name, runs in rounds.items()}
    report.write_json(options.json, {**raw, "dropped": dropped, "target": target.as_json()})
    return 0
