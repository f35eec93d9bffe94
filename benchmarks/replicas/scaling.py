"""`python -m benchmarks scaling`: requests/s with one and two workers, and what bounds many more.

One replica with one worker, one with two workers, and two with one worker each record single
predictions in the same PostgreSQL, one after another in rounds, each loaded by one wrk per replica.
Beside the rates, a run takes the processor time of the service and of PostgreSQL, transactions,
flushes and bytes of the write-ahead log, and the time of one flush. From these, a table computes
what 10, 100 and 1,000 busy workers would ask of one database.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psycopg

from benchmarks import report
from benchmarks.harness import load, models, postgresql, processes, service
from benchmarks.harness.environments import CURRENT
from benchmarks.harness.load import Target
from benchmarks.harness.models import TrainedModel
from benchmarks.harness.postgresql import PostgreSQL
from benchmarks.harness.service import Installation, RunningService
from benchmarks.options import add_integer, add_json
from benchmarks.replicas import bounds
from benchmarks.report import format_figure

DATABASE = "benchmark_scaling"
# The workers of each replica.
SETUPS = {
    "one replica, one worker": [1],
    "one replica, two workers": [2],
    "two replicas, one worker each": [1, 1],
}
BASELINE = "one replica, one worker"
MANY_WORKERS = (10, 100, 1000)
WARM_UP_SECONDS = 2
# PostgreSQL's processes report what they counted ten seconds after their last statement or sooner.
REPORTING_SECONDS = 11
FLUSHES = 200
PAGE_BYTES = 8192

_COUNTERS = """
    SELECT (SELECT sum(xact_commit) FROM pg_stat_database), ({flushes}),
        pg_current_wal_insert_lsn() - '0/0'
"""
_FLUSHES = "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'"
_FLUSHES_BEFORE_18 = "SELECT wal_sync FROM pg_stat_wal"


@dataclass(frozen=True, slots=True)
class Run:
    requests_per_second: float
    p99_ms: float
    cost: bounds.Cost


Runs = dict[str, list[Run]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rounds", 3, "runs of each setup")
    add_integer(parser, "--seconds", 5, "length of a run")
    add_integer(parser, "--connections", 32, "kept-alive connections, divided among the replicas")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    load.require_wrk()
    model = models.load("iris", CURRENT)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlapi-benchmark-")))
        database = stack.enter_context(postgresql.server(embedded=True))
        database.recreate(DATABASE)
        installation = Installation(database.database_url(DATABASE), folder, interpreter=CURRENT)
        installation.set_up()
        installation.register(model.file("onnx"), name=model.name)
        flush_seconds = _flush_seconds(database)
        runs: Runs = {name: [] for name in SETUPS}
        for number in range(1, options.rounds + 1):
            for name in SETUPS if number % 2 else reversed(SETUPS):
                with _serve(installation, SETUPS[name]) as replicas:
                    runs[name].append(_measure(replicas, database, model, options))
            print(f"round {number} of {options.rounds} done", file=sys.stderr, flush=True)
        settings = database.settings()
    _print(runs, flush_seconds, settings, options)
    return 0


@contextlib.contextmanager
def _serve(installation: Installation, workers: Sequence[int]) -> Iterator[list[RunningService]]:
    with contextlib.ExitStack() as stack:
        # Not pinned: PostgreSQL and wrk need the processors as well.
        yield [stack.enter_context(installation.server(workers=number)) for number in workers]


def _measure(
    replicas: Sequence[RunningService],
    database: PostgreSQL,
    model: TrainedModel,
    options: argparse.Namespace,
) -> Run:
    model_id = replicas[0].model_id(model.name)
    bodies = [json.dumps(service.prediction_request(model_id, row)) for row in model.rows]
    targets = [
        Target(f"http://127.0.0.1:{r.port}{service.PREDICTIONS}", r.installation.headers, bodies)
        for r in replicas
    ]
    connections = options.connections // len(targets)
    _load(targets, connections, WARM_UP_SECONDS)
    # Processor time is read next to the run, since reading the counters takes a long wait.
    counted_before = _counters(database)
    used_before = _processor_us(replicas, database)
    figures = _load(targets, connections, options.seconds)
    used = _processor_us(replicas, database)
    counted = _counters(database)
    if any(single.has_failed for single in figures):
        sys.exit(f"Some requests failed: {figures}")
    n = sum(single.responses for single in figures)
    pairs = zip((*used_before, *counted_before), (*used, *counted), strict=True)
    cost = bounds.Cost(*((after - before) / n for before, after in pairs))
    rate = sum(single.per_second for single in figures)
    return Run(rate, max(single.p99_ms for single in figures), cost)


def _load(targets: Sequence[Target], connections: int, seconds: int) -> list[load.Figures]:
    """All targets at the same time."""
    with ThreadPoolExecutor(len(targets)) as threads:
        loaded = partial(load.run, connections=connections, seconds=seconds)
        return list(threads.map(loaded, targets))


def _processor_us(replicas: Sequence[RunningService], database: PostgreSQL) -> tuple[float, float]:
    """What the service and PostgreSQL have used until now."""
    service_seconds = sum(replica.server.cpu_seconds() for replica in replicas)
    database_seconds = sum(map(processes.cpu_seconds, database.pids()))
    return 1e6 * service_seconds, 1e6 * database_seconds


def _counters(database: PostgreSQL) -> tuple[int, int, int]:
    """Commits, flushes, and bytes of the write-ahead log until now."""
    time.sleep(REPORTING_SECONDS)
    with psycopg.connect(database.url, autocommit=True) as connection:
        is_old = connection.info.server_version < 180000
        flushes = _FLUSHES_BEFORE_18 if is_old else _FLUSHES
        row = connection.execute(_COUNTERS.format(flushes=flushes)).fetchone()
    assert row is not None
    commits, flushed, wal_bytes = map(int, row)
    return commits, flushed, wal_bytes


def _flush_seconds(database: PostgreSQL) -> float:
    """The median time of writing and flushing one page, where the write-ahead log lies."""
    assert database.log is not None
    page, times = bytes(PAGE_BYTES), []
    with tempfile.TemporaryFile(dir=database.log.parent) as file:
        for number in range(FLUSHES):
            began_at = time.perf_counter()
            os.pwrite(file.fileno(), page, number * PAGE_BYTES)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began_at)
    return statistics.median(times)


def _print(
    runs: Runs, flush_seconds: float, settings: dict[str, str], options: argparse.Namespace
) -> None:
    print(f"\n{settings}. One flush of a page takes {1000 * flush_seconds:.2f} ms.\n")
    print(_setups_table(runs))
    demands = [bounds.demand(_cost(runs), n, flush_seconds) for n in MANY_WORKERS]
    print(f"\n{bounds.table(demands)}")
    raw = {
        "runs": {name: [asdict(single) for single in found] for name, found in runs.items()},
        "flush_seconds": flush_seconds,
        "demands": [asdict(found) for found in demands],
    }
    report.write_json(options.json, raw)


def _setups_table(runs: Runs) -> str:
    base = report.median(single.requests_per_second for single in runs[BASELINE])
    head = ["setup", "requests/s", "of one worker", "p99 ms", "service CPU µs", "database CPU µs"]
    head += ["commits", "flushes", "WAL bytes"]
    rows = []
    for name, found in runs.items():
        rate = report.median(single.requests_per_second for single in found)
        p99 = report.median(single.p99_ms for single in found)
        figures = [rate, report.ratio(rate, base), p99, *_cost_figures(found)]
        rows.append([name, *map(format_figure, figures)])
    return report.table(head, rows)


def _cost_figures(runs: Sequence[Run]) -> list[float]:
    """The medians of what a request costs, in the order of the fields of Cost."""
    costs = [
        (c.worker_cpu_us, c.database_cpu_us, c.commits, c.flushes, c.wal_bytes)
        for c in (single.cost for single in runs)
    ]
    return [statistics.median(figures) for figures in zip(*costs, strict=True)]


def _cost(runs: Runs) -> bounds.Cost:
    return bounds.Cost(*_cost_figures(runs[BASELINE]))
