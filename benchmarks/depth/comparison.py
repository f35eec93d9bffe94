"""`python -m benchmarks depth`: does a page cost the same at the ten-millionth row as at the first?

Fills the table of predictions and then times HTTP requests in turn: lists with every filter, at the
first page and deep down, single predictions, new predictions, and the admin's lists. The last three
are also timed on a table of a thousand rows. At the end, the plan of each list query is shown.
"""

import argparse
import contextlib
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.depth import filling
from benchmarks.depth.query_plans import plan_rows
from benchmarks.depth.requests import Request, admin_lists, api_lists, single_requests
from benchmarks.harness import models, postgresql
from benchmarks.harness.environments import CACHE
from benchmarks.harness.postgresql import PostgreSQL
from benchmarks.harness.service import Installation, RunningService
from benchmarks.options import add_integer, add_json
from benchmarks.report import Target, format_figure, median, ratio

SMALL_ROWS = 1000
VERSIONS = ("common", "usual", "rare")
BOUND = 1.2
WARM_UPS = 3

Timings = dict[str, list[float]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rows", 10_000_000, "rows to fill")
    add_integer(parser, "--repeat", 25, "times each request is sent")
    parser.add_argument(
        "--keep", action="store_true", help="keep the filled tables in .cache for the next run"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    folder = CACHE / f"depth-{options.rows}"
    with postgresql.server(keep=folder if options.keep else None) as database:
        try:
            large = _install(database, folder / "installations", options.rows)
            small = _install(database, folder / "installations", SMALL_ROWS)
            with large.server() as large_service, small.server() as small_service:
                lists = api_lists(large_service)
                list_times = _time(lists, options.repeat)
                pairs = _time_both(large_service, small_service, options.repeat)
            plans = plan_rows(database, large, _database_name(options.rows))
        finally:
            if not options.keep:
                shutil.rmtree(folder, ignore_errors=True)
                for rows in {options.rows, SMALL_ROWS}:
                    with contextlib.suppress(OSError):
                        database.drop(_database_name(rows))
    return _report(options, lists, list_times, pairs, plans)


def _database_name(rows: int) -> str:
    return f"benchmark_depth_{rows}"


def _install(database: PostgreSQL, folder: Path, rows: int) -> Installation:
    """An installation with a table of this size, filled now unless an earlier run has kept it."""
    name = _database_name(rows)
    url = database.database_url(name)
    folder = folder / str(rows)
    marker = folder / "filled"
    is_filled = marker.is_file() and database.has(name)
    if not is_filled:
        shutil.rmtree(folder, ignore_errors=True)
        database.recreate(name)
    installation = Installation(url, folder)
    installation.set_up()
    if not is_filled:
        for version in VERSIONS:
            installation.register(models.load("iris").file("onnx"), name=version)
        with installation.server() as running:
            versions = [running.model_id(name) for name in VERSIONS]
        filling.fill(url, versions, rows=rows)
        marker.write_text(f"{rows}\n")
    return installation


def _time(requests: Sequence[Request], repeat: int) -> Timings:
    """Milliseconds of each request. All are sent in turn, so that noise affects all alike."""
    times: Timings = {request.name: [] for request in requests}
    for number in range(-WARM_UPS, repeat):
        for request in requests:
            milliseconds = _time_once(request)
            if number >= 0:
                times[request.name].append(milliseconds)
    return times


def _time_both(large: RunningService, small: RunningService, repeat: int) -> list[Timings]:
    """The same for the requests that are compared between the large and the small table."""
    sides = [[*single_requests(running), *admin_lists(running)] for running in (large, small)]
    times: list[Timings] = [{request.name: [] for request in side} for side in sides]
    for number in range(-WARM_UPS, repeat):
        for pair in zip(*sides, strict=True):
            for side, request in enumerate(pair):
                milliseconds = _time_once(request)
                if number >= 0:
                    times[side][request.name].append(milliseconds)
    return times


def _time_once(request: Request) -> float:
    started = time.perf_counter()
    response = request.send()
    seconds = time.perf_counter() - started
    if response.status != request.status:
        sys.exit(f"{request.name} responded {response.status}: {response.body[:300]!r}")
    return seconds * 1000


def _report(
    options: argparse.Namespace,
    lists: Sequence[Request],
    list_times: Timings,
    pairs: Sequence[Timings],
    plans: list[list[str]],
) -> int:
    print(f"\n{options.rows:,} rows, medians of {options.repeat}, one request at a time\n")
    targets = [*_report_lists(lists, list_times), *_report_pairs(options, *pairs)]
    if plans:
        print(f"\n{report.table(['query', 'by index', 'plan'], plans)}")
    else:
        print("\nNo plans: only the log of an embedded server can be read.")
    missed = [target for target in targets if not target.is_met]
    print(f"\n{len(targets) - len(missed)} of {len(targets)} are within the bound of {BOUND}.")
    if missed:
        print(f"\n{report.targets_table(missed)}")
    raw = {"rows": options.rows, "lists": list_times, "large and small": pairs, "plans": plans}
    report.write_json(options.json, {**raw, "targets": [t.as_json() for t in targets]})
    return int(bool(missed) or any(row[1] == "NO" for row in plans))


def _report_lists(lists: Sequence[Request], times: Timings) -> list[Target]:
    medians = {name: median(values) for name, values in times.items()}
    first_page = medians[lists[0].name]
    rows, targets = [], []
    for request in lists:
        compared = ratio(medians[request.name], first_page)
        figures = [format_figure(medians[request.name]), format_figure(compared)]
        rows.append([request.name, str(request.rows), *figures])
        targets.append(Target(request.name, BOUND, "at most", compared))
    print(report.table(["GET /api/v1/predictions/", "rows", "ms", "/ first page"], rows))
    return targets


def _report_pairs(
    options: argparse.Namespace,
    large: Mapping[str, list[float]],
    small: Mapping[str, list[float]],
) -> list[Target]:
    rows, targets = [], []
    for name in large:
        large_ms, small_ms = median(large[name]), median(small[name])
        compared = ratio(large_ms, small_ms)
        rows.append([name, *map(format_figure, [large_ms, small_ms, compared])])
        targets.append(Target(name, BOUND, "at most", compared))
    head = ["request", f"ms at {options.rows:,} rows", f"ms at {SMALL_ROWS:,}", "ratio"]
    print(f"\n{report.table(head, rows)}")
    return targets
