"""The tables of `python -m benchmarks peers`: medians of the rounds, ratios, targets."""

import argparse
import os
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.peers.base import IRIS, WINE
from benchmarks.report import Target, format_figure, median, ratio

if TYPE_CHECKING:
    from benchmarks.peers.comparison import Visit

SUBJECT = "mlapi"
MEBIBYTE = 2**20


class Medians:
    """Medians of the visits that did not fail."""

    def __init__(self, visits: "Sequence[Visit]") -> None:
        self._visits = [visit for visit in visits if not visit.failure]

    def of_runs(self, peer: str, model: str, connections: int, figure: str) -> float | None:
        visits = [v for v in self._visits if (v.peer, v.model) == (peer, model)]
        return median(getattr(v.runs[connections], figure) for v in visits)

    def of_starts(self, peer: str, model: str, figure: str) -> float | None:
        visits = [v for v in self._visits if (v.peer, v.model) == (peer, model)]
        return median(getattr(v, figure) for v in visits)


def print_summary(
    visits: "Sequence[Visit]",
    options: argparse.Namespace,
    descriptions: Mapping[str, str],
    unavailable: Mapping[str, str],
    database: Mapping[str, str],
) -> None:
    medians = Medians(visits)
    settings = ", ".join(f"{name} {value}" for name, value in database.items())
    python = platform.python_version()
    print(f"\n{os.cpu_count()} processors, Python {python}, PostgreSQL: {settings}.")
    print(
        f"Medians of {options.rounds} interleaved rounds of {options.seconds} s, one worker each."
    )
    for model in options.models:
        for connections in options.connections:
            print(f"\n### {model}, c={connections}\n")
            print(_speed_table(medians, options.peers, model, connections, descriptions))
    if IRIS in options.models:
        print("\n### Start, and memory after the load (iris)\n")
        print(_start_table(medians, options.peers))
    targets = peer_targets(medians, 16 if 16 in options.connections else options.connections[0])
    targets = [target for target in targets if target.figure is not None]
    if targets:
        print(f"\n### Targets\n\n{report.targets_table(targets)}")
    for visit in visits:
        if visit.failure:
            print(f"\nFAILED  round {visit.round}, {visit.peer} {visit.model}: {visit.failure}")
    for name, reason in unavailable.items():
        print(f"\nNOT AVAILABLE  {name}: {reason}")
    _write_raw(visits, options, targets, unavailable, database)


def _write_raw(
    visits: "Sequence[Visit]",
    options: argparse.Namespace,
    targets: Sequence[Target],
    unavailable: Mapping[str, str],
    database: Mapping[str, str],
) -> None:
    raw: dict[str, object] = {
        "options": {
            key: value
            for key, value in vars(options).items()
            if isinstance(value, str | int | list)
        },
        "postgresql": dict(database),
        "visits": [visit.as_json() for visit in visits],
        "targets": [target.as_json() for target in targets],
        "unavailable": dict(unavailable),
    }
    report.write_json(options.json, raw)


def _speed_table(
    medians: Medians,
    peers: Sequence[str],
    model: str,
    connections: int,
    descriptions: Mapping[str, str],
) -> str:
    rows = []
    own = [
        medians.of_runs(SUBJECT, model, connections, figure)
        for figure in ("per_second", "p50_ms", "p99_ms")
    ]
    for peer in peers:
        rate, p50, p99 = (
            medians.of_runs(peer, model, connections, figure)
            for figure in ("per_second", "p50_ms", "p99_ms")
        )
        if rate is not None:
            compared = [ratio(own[0], rate), ratio(own[2], p99)]
            rows.append(
                [peer, *map(format_figure, [rate, p50, p99, *compared]), descriptions[peer]]
            )
    head = ["peer", "requests/s", "p50 ms", "p99 ms"]
    return report.table([*head, "mlapi's rate / its", "mlapi's p99 / its", "description"], rows)


def _start_table(medians: Medians, peers: Sequence[str]) -> str:
    rows = []
    for peer in peers:
        memory = medians.of_starts(peer, IRIS, "memory_bytes")
        if memory is not None:
            ready = medians.of_starts(peer, IRIS, "ready_seconds")
            response = medians.of_starts(peer, IRIS, "first_response_seconds")
            rows.append([peer, *map(format_figure, [memory / MEBIBYTE, ready, response])])
    head = ["peer", "memory MiB (PSS, all processes)", "s to ready", "s to first prediction"]
    return report.table(head, rows)


def peer_targets(medians: Medians, connections: int) -> list[Target]:
    """The targets at this number of connections; those without a figure were not measured."""

    def rates(peer: str, model: str = IRIS, subject: str = SUBJECT) -> float | None:
        own = medians.of_runs(subject, model, connections, "per_second")
        return ratio(own, medians.of_runs(peer, model, connections, "per_second"))

    def starts(figure: str) -> float | None:
        own = medians.of_starts(SUBJECT, IRIS, figure)
        return ratio(own, medians.of_starts("mlserver", IRIS, figure))

    p99 = ratio(
        medians.of_runs(SUBJECT, IRIS, connections, "p99_ms"),
        medians.of_runs("guide", IRIS, connections, "p99_ms"),
    )
    forest = rates("mlserver", WINE)
    v2 = rates("mlserver", subject="mlapi-v2")
    return [
        Target("requests/s against the guide's stack", 5, "at least", rates("guide")),
        Target("p99 against the guide's stack", 0.25, "at most", p99),
        Target("requests/s against MLServer", 1.5, "at least", rates("mlserver")),
        Target("/v2 infer, requests/s against MLServer", 1.5, "at least", v2),
        Target("requests/s against MLflow", 2, "at least", rates("mlflow")),
        Target("requests/s against BentoML", 3, "at least", rates("bentoml")),
        Target("requests/s against the bare Django view", 0.35, "at least", rates("django")),
        Target("random forest, requests/s against MLServer", 5, "at least", forest),
        Target("memory against MLServer", 1, "at most", starts("memory_bytes")),
        Target("time to ready against MLServer", 1, "at most", starts("ready_seconds")),
        Target(
            "time to first prediction against MLServer",
            1,
            "at most",
            starts("first_response_seconds"),
        ),
    ]
