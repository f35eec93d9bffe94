"""`python -m benchmarks depth`: is a page of the ten-millionth row as quick as the first?

Fills the table of predictions, then asks through HTTP, all requests in turns: lists by every
filter, at the first page and deep down, single predictions, new ones, and the admin's list; the
last three also of a table of a thousand rows beside it. Then shows the plan of each list query.
"""

import argparse
import contextlib
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.depth import filling
from benchmarks.depth.list_plans import plan_rows
from benchmarks.depth.pages import Page, api_pages, other_requests
from benchmarks.harness import models, postgresql
from benchmarks.harness.environments import CACHE
from benchmarks.harness.postgresql import PostgreSQL
from benchmarks.harness.service import Service
from benchmarks.report import Target, median, ratio, shown

SMALL_ROWS = 1000
VERSIONS = ("common", "usual", "rare")
BOUND = 1.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    whole: dict[str, Any] = {"type": int, "metavar": "N"}
    parser.add_argument("--rows", default=10_000_000, help="rows to fill (10000000)", **whole)
    parser.add_argument("--repeat", default=25, help="times each request is sent (25)", **whole)
    parser.add_argument(
        "--keep", action="store_true", help="keep the filled tables in .cache for the next run"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw figures there")


def run(options: argparse.Namespace) -> int:
    kept = CACHE / f"depth-{options.rows}"
    keep = kept if options.keep else None
    with postgresql.server(keep=keep) as database:
        folder = kept / "installations"
        try:
            large = _installation(database, folder, options.rows)
            small = _installation(database, folder, SMALL_ROWS)
            with large.server() as running, small.server() as beside:
                pages = api_pages(running)
                others = [*other_requests(running, "large"), *other_requests(beside, "small")]
                times = _timed([*pages, *others], options.repeat)
            plans = plan_rows(database, large, _database(options.rows))
        finally:
            if not options.keep:
                shutil.rmtree(kept, ignore_errors=True)
                for rows in {options.rows, SMALL_ROWS}:
                    with contextlib.suppress(OSError):
                        database.drop(_database(rows))
    return _report(options, pages, others, times, plans)


def _database(rows: int) -> str:
    return f"benchmark_depth_{rows}"


def _installation(database: PostgreSQL, folder: Path, rows: int) -> Service:
    """The service on a table of so many rows, filled now unless an earlier run kept it."""
    name = _database(rows)
    url = database.database_url(name)
    folder = folder / str(rows)
    marker = folder / "filled"
    is_filled = marker.is_file() and database.has(name)
    if not is_filled:
        shutil.rmtree(folder, ignore_errors=True)
        database.recreate(name)
    installed = Service(url, folder)
    installed.install()
    if not is_filled:
        for version in VERSIONS:
            installed.register(models.load("iris").file("onnx"), name=version)
        with installed.server() as running:
            versions = [running.model_id(name) for name in VERSIONS]
        filling.fill(url, versions, rows=rows)
        marker.write_text(f"{rows}\n")
    return installed


def _timed(pages: list[Page], repeat: int) -> dict[str, list[float]]:
    """Milliseconds of each request, all in turns, so that noise meets all alike."""
    times: dict[str, list[float]] = {page.name: [] for page in pages}
    for number in range(-3, repeat):
        for page in pages:
            started = time.perf_counter()
            answer = page.send()
            seconds = time.perf_counter() - started
            if answer.status != page.status:
                sys.exit(f"{page.name} answered {answer.status}: {answer.body[:300]!r}")
            if number >= 0:
                times[page.name].append(seconds * 1000)
    return times


def _report(
    options: argparse.Namespace,
    pages: list[Page],
    others: list[Page],
    times: dict[str, list[float]],
    plans: list[list[str]],
) -> int:
    medians = {name: median(values) for name, values in times.items()}
    first = medians[pages[0].name]
    rows, targets = [], []
    for page in pages:
        compared = ratio(medians[page.name], first)
        rows.append([page.name, str(page.rows), shown(medians[page.name]), shown(compared)])
        targets.append(Target(page.name, BOUND, "at most", compared))
    print(f"\n{options.rows:,} rows, medians of {options.repeat}, one request at a time\n")
    print(report.table(["GET /api/v1/predictions/", "rows", "ms", "/ first page"], rows))
    rows = []
    for page in others:
        what, size = page.name.rsplit(", ", 1)
        if size == "large":
            small = medians[f"{what}, small"]
            compared = ratio(medians[page.name], small)
            rows.append([what, shown(medians[page.name]), shown(small), shown(compared)])
            targets.append(Target(what, BOUND, "at most", compared))
    head = ["request", f"ms at {options.rows:,} rows", f"ms at {SMALL_ROWS:,}", "ratio"]
    print(f"\n{report.table(head, rows)}")
    if plans:
        print(f"\n{report.table(['query', 'by index', 'plan'], plans)}")
    else:
        print("\nNo plans: they are read from the log of the embedded server alone.")
    missed = [target for target in targets if not target.is_met]
    print(f"\n{len(targets) - len(missed)} of {len(targets)} within {BOUND} times.")
    if missed:
        print(f"\n{report.targets_table(missed)}")
    raw: dict[str, Any] = {"rows": options.rows, "milliseconds": times, "plans": plans}
    report.write_json(options.json, {**raw, "targets": [t.as_json() for t in targets]})
    return int(bool(missed) or any(row[1] == "NO" for row in plans))
