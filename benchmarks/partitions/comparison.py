"""`python -m benchmarks partitions`: the log in 60 partitions beside the same rows in one table.

Both are filled by SQL, served side by side, and asked in turn: lists, searches, single rows, new
predictions and batches. Then a month is removed from each, by dropping partitions and by DELETE. At
the end a plain table is converted while predictions are made and read; none of them may fail. Needs
about 700 bytes of disk for each row.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from benchmarks import report
from benchmarks.depth.requests import Request
from benchmarks.harness import models, postgresql, service
from benchmarks.harness.client import Client, Response
from benchmarks.harness.postgresql import PostgreSQL
from benchmarks.harness.service import BATCH, PREDICTIONS, Installation, RunningService
from benchmarks.options import add_integer, add_json
from benchmarks.partitions import filling, moving
from benchmarks.report import format_figure, median, ratio

NAMES = ("benchmark_plain", "benchmark_partitions")
MOVED = "benchmark_moved"
BATCH_ROWS = 1000
WARM_UPS = 3

Times = dict[str, tuple[list[float], list[float]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rows", 50_000_000, "rows of each table")
    add_integer(parser, "--repeat", 30, "times each request is sent")
    add_integer(parser, "--moved-rows", 5_000_000, "rows of the table that is converted, at most")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    with postgresql.server() as database, TemporaryDirectory(prefix="mlapi-parts-") as folder:
        try:
            with _served(database, Path(folder), options.rows) as sides:
                times = _compare(sides, options.rows, options.repeat)
                plain, partitioned = (side.installation for side in sides)
            months = _remove_month(plain, partitioned, options.rows)
            for name in NAMES:
                database.drop(name)
            moved_rows = min(options.moved_rows, options.rows)
            installation = _install(database, Path(folder), MOVED)
            move = moving.convert_under_load(installation, moved_rows)
        finally:
            for name in (*NAMES, MOVED):
                database.drop(name)
    return _report(options, times, months, move)


def _install(database: PostgreSQL, folder: Path, name: str) -> Installation:
    database.recreate(name)
    installation = Installation(database.database_url(name), folder / name)
    installation.set_up()
    installation.register(models.load("iris").file("onnx"), name="iris")
    return installation


@contextmanager
def _served(database: PostgreSQL, folder: Path, rows: int) -> Iterator[list[RunningService]]:
    """Servers of both logs, with the same rows: the plain table first."""
    plain, partitioned = (_install(database, folder, name) for name in NAMES)
    filling.create_partitions(partitioned, rows)
    with ExitStack() as stack:
        sides = [stack.enter_context(side.server()) for side in (plain, partitioned)]
        for side in sides:
            filling.fill(side.installation, side.model_id("iris"), rows)
        yield sides


def _requests(running: RunningService, rows: int) -> list[Request]:
    client = running.client(timeout=120)
    model_id = running.model_id("iris")
    page = client.get(f"{PREDICTIONS}?limit=1").json()
    middle = client.get(f"{PREDICTIONS}{rows // 2}/").json()["created_at"]
    before = middle.replace("+", "%2B")
    iris = models.load("iris")
    batch = json.dumps(
        service.batch_request(model_id, [iris.rows[i % len(iris.rows)] for i in range(BATCH_ROWS)])
    ).encode()
    one = service.prediction_request(model_id, iris.rows[0])
    queries = {
        "newest page": "",
        "page in the middle": f"created_before={before}",
        "newest page of a model": f"model_id={model_id}",
        "by reference": f"reference=r{rows // 20 * 10}",
        "by subject": f"subject=s{rows // 2000}",
        "follow from the start": "after=",
    }
    lists = [
        Request(name, _get(client, f"{PREDICTIONS}?limit=100&{query}"))
        for name, query in queries.items()
    ]
    return [
        *lists,
        Request("by id, old", _get(client, f"{PREDICTIONS}{rows // 50}/")),
        Request("by id, new", _get(client, f"{PREDICTIONS}{page[0]['id']}/")),
        Request("one prediction", lambda: client.post(PREDICTIONS, one), 201),
        Request(f"batch of {BATCH_ROWS}", lambda: client.post(BATCH, batch), 201),
    ]


def _get(client: Client, path: str) -> Callable[[], Response]:
    return lambda: client.get(path)


def _compare(sides: Sequence[RunningService], rows: int, repeat: int) -> Times:
    """Milliseconds of each request, on the plain table and in partitions, in turn."""
    pairs = list(zip(*(_requests(side, rows) for side in sides), strict=True))
    times: Times = {plain.name: ([], []) for plain, _ in pairs}
    for number in range(-WARM_UPS, repeat):
        for pair in pairs:
            # Whoever comes second finds more in the processor's caches.
            order = (0, 1) if number % 2 else (1, 0)
            for side in order:
                milliseconds = _time(pair[side])
                if number >= 0:
                    times[pair[side].name][side].append(milliseconds)
    return times


def _time(request: Request) -> float:
    started = time.perf_counter()
    response = request.send()
    milliseconds = (time.perf_counter() - started) * 1000
    if response.status != request.status:
        raise SystemExit(f"{request.name}: {response.status} {response.body[:300]!r}")
    return milliseconds


def _remove_month(plain: Installation, partitioned: Installation, rows: int) -> tuple[float, float]:
    """Seconds to remove the oldest month: DELETE and VACUUM, and whole partitions.

    The month ends with a partition, so that both remove the same rows.
    """
    width = filling.rows_per_partition(rows)
    count = round(filling.PARTITIONS * filling.DAYS_OF_MONTH / filling.DAYS)
    end_id = count * width
    with psycopg.connect(plain.database_url, autocommit=True) as connection:
        started = time.perf_counter()
        connection.execute("DELETE FROM predictions WHERE id < %s", [end_id])
        connection.execute("VACUUM predictions")
        deleting = time.perf_counter() - started
    with psycopg.connect(partitioned.database_url) as connection:
        first_kept = "SELECT created_at FROM predictions WHERE id = %s"
        row = connection.execute(first_kept, [end_id]).fetchone()
    assert row is not None
    started = time.perf_counter()
    partitioned.manage("prune_predictions", "--before", row[0].isoformat(), "--yes")
    dropping = time.perf_counter() - started
    with psycopg.connect(partitioned.database_url) as connection:
        left = connection.execute("SELECT min(id) FROM predictions").fetchone()
    if left != (end_id,):
        raise SystemExit(f"The oldest row in partitions is {left}, not {end_id}")
    return deleting, dropping


def _report(
    options: argparse.Namespace, times: Times, months: tuple[float, float], move: moving.Move
) -> int:
    print(f"\n{options.rows:,} rows, medians of {options.repeat}, one request at a time\n")
    rows = []
    for name, (plain, parts) in times.items():
        figures = [median(plain), median(parts), ratio(median(parts), median(plain))]
        rows.append([name, *map(format_figure, figures)])
    print(report.table(["request", "plain ms", "partitions ms", "ratio"], rows))
    deleting, dropping = months
    print(f"\nA month removed: DELETE and VACUUM {deleting:.1f} s, partitions {dropping:.1f} s")
    print(f"\n{move}")
    raw = {"rows": options.rows, "times": times, "months": months, "move": str(move)}
    report.write_json(options.json, raw)
    return int(bool(move.failures or move.lost))
