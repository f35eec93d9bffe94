"""`python -m benchmarks counting`: how fast, and in how much memory, is a large log counted?

Fills a month of predictions of ten features, freezes some hours as the reference, and counts by
`manage.py count_predictions`: what comes after that, and, after another reference was set, all
hours again (the backfill). An hour's predictions are counted when the log has a hundredth of its
length, and when it is complete. The report of the whole month is timed, and that of a month of
twenty features, alone and with five segments.
"""

import argparse
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from benchmarks import report
from benchmarks.depth import filling
from benchmarks.harness import postgresql
from benchmarks.harness.environments import CurrentEnvironment
from benchmarks.harness.service import CommandFailed, Installation
from benchmarks.monitoring import month
from benchmarks.options import add_integer, add_json
from benchmarks.report import Target, format_figure

DATABASE = "benchmark_counting"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30
HOURS = DAYS * 24
# Of the log, when the first hours are counted.
SHORT = 100
# Runs of an hour's rows, whose median counts.
RUNS = 5
REFERENCE_HOURS = 6
MIN_ROWS_PER_SECOND = 80_000
MAX_MEMORY_MIB = 500
MAX_REPORT_SECONDS = 1.0
MAX_GROWTH = 1.2

FEATURES = ", ".join(f"'f{number}', random() + n %% 97" for number in range(10))
INSERT = f"""
INSERT INTO predictions (model_id, input_data, prediction, confidence, output, metadata, status,
                         error, latency_ms, request_id, user_id, subject, created_at)
SELECT (SELECT min(id) FROM model_versions), json_build_object({FEATURES}), random(), NULL, NULL,
       NULL, 'succeeded', '', random() * 5, md5(n::text), NULL, 'subject ' || n %% 5000,
       %(start)s::timestamptz + %(days)s * interval '1 day' * ((n - 1) / %(rows)s::float8)
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""  # noqa: S608 -- of constants

CREATE_VERSION = """
from registry.models import ModelVersion, RegisteredModel
RegisteredModel.objects.get_or_create(name="m")
ModelVersion.objects.create(
    name="m", version="1", framework="sklearn", artifact="a", sha256="b", size_bytes=1,
    signature={
        "inputs": [
            {"name": "x", "datatype": "FP64", "shape": [-1, 10],
             "features": [f"f{number}" for number in range(10)]},
        ],
        "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1], "kind": "value"}],
    },
)
"""
REPORT = """
import time
from datetime import UTC, datetime, timedelta
from predictions.evaluation.counting.reading import counts_of
from predictions.evaluation.counting.plans import profile_of
from predictions.evaluation.drift.findings import compare
from predictions.models import Reference
reference = Reference.objects.get()
since = datetime(2026, 1, 1, tzinfo=UTC)
for run in range(3):
    started = time.perf_counter()
    counts = counts_of(reference, [""], since, since + timedelta(days=32))
    findings = compare(profile_of(reference.pk), counts)
    print(f"REPORT {time.perf_counter() - started:.4f} {counts[''].rows} {len(findings)}")
"""


@dataclass(frozen=True, slots=True)
class Count:
    """What one run of the command took."""

    rows: int
    seconds: float
    cpu_seconds: float
    """Of the whole process, its start included."""
    peak_memory_mib: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rows", 10_000_000, "rows to fill and count")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    with postgresql.server() as database, TemporaryDirectory() as name:
        database.recreate(DATABASE)
        try:
            url = database.database_url(DATABASE)
            installation = Installation(
                url, Path(name) / "installation", interpreter=CurrentEnvironment()
            )
            figures = _measure(installation, url, options.rows)
        finally:
            database.drop(DATABASE)
    return _report(options, figures)


@dataclass(frozen=True, slots=True)
class Figures:
    following: Count
    backfill: Count
    short: Count
    """Of an hour's new rows, when the log is short."""
    long: Count
    report_seconds: float
    report_rows: int
    wide_report_seconds: float
    segmented_report_seconds: float


def _measure(installation: Installation, url: str, rows: int) -> Figures:
    installation.set_up()
    installation.manage("shell", "--command", CREATE_VERSION)
    short_rows, hour_rows = max(rows // SHORT, 10_000), max(rows // HOURS, 1000)
    _fill(url, 0, short_rows, rows)
    _set_reference(installation, first_hour=0)
    _count(installation)
    short = _count_hours(installation, url, short_rows, hour_rows, rows)
    _fill(url, short_rows, rows, rows)
    following = _count(installation)
    long = _count_hours(installation, url, rows, hour_rows, rows)
    output = installation.manage("shell", "--command", REPORT)
    reports = re.findall(r"REPORT ([0-9.]+) (\d+) \d+", output)
    wide, segmented = month.report_seconds(installation)
    _set_reference(installation, first_hour=REFERENCE_HOURS)
    backfill = _count(installation)
    # The first one fills the database's cache as well.
    seconds = min(float(seconds) for seconds, _ in reports[1:])
    report_rows = int(reports[0][1])
    return Figures(following, backfill, short, long, seconds, report_rows, wide, segmented)


def _set_reference(installation: Installation, *, first_hour: int) -> None:
    since = START + timedelta(hours=first_hour)
    until = since + timedelta(hours=REFERENCE_HOURS)
    window = (f"--since={since.isoformat()}", f"--until={until.isoformat()}")
    installation.manage("set_reference", "m:1", *window)


def _values(rows: int) -> dict[str, object]:
    return {"start": START, "days": DAYS, "rows": rows}


def _fill(url: str, start: int, end: int, rows: int) -> None:
    filling.fill_by(url, INSERT, _values(rows), rows=end, start=start)


def _count_hours(
    installation: Installation, url: str, start: int, hour_rows: int, rows: int
) -> Count:
    """The median run of those that count an hour's new rows each."""
    runs = []
    for first in range(start + 1, start + RUNS * hour_rows, hour_rows):
        # As a service inserts them: all indexes are there, and nothing is analysed.
        with psycopg.connect(url, autocommit=True) as connection:
            chosen = {"first": first, "last": first + hour_rows - 1}
            connection.execute(INSERT, _values(rows) | chosen)
        runs.append(_count(installation))
    return sorted(runs, key=lambda run: run.seconds)[RUNS // 2]


def _count(installation: Installation) -> Count:
    command = [installation.interpreter.python, str(installation.checkout / "manage.py")]
    process = subprocess.Popen(  # noqa: S603
        [*command, "count_predictions"],
        cwd=installation.checkout,
        env=installation.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    # Unlike Popen's own wait, it tells how much memory the process has taken.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    found = re.search(r"Counted ([0-9,]+) rows in ([0-9.]+) s", output)
    if process.returncode or found is None:
        raise CommandFailed(f"count_predictions ended with {process.returncode}: {output}")
    rows, seconds = int(found[1].replace(",", "")), float(found[2])
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Count(rows, max(seconds, 0.001), cpu_seconds, usage.ru_maxrss / 1024)


def _report(options: argparse.Namespace, figures: Figures) -> int:
    runs = {
        "an hour's rows, short log": figures.short,
        "following the rest": figures.following,
        "an hour's rows, long log": figures.long,
        "backfill of all": figures.backfill,
    }
    memory = max(run.peak_memory_mib for run in runs.values())
    growth = figures.long.seconds / figures.short.seconds
    counted, rate = figures.backfill.rows, figures.backfill.rows_per_second
    targets = [
        Target("rows in the report", counted, "at least", figures.report_rows),
        Target("backfill, rows/s", MIN_ROWS_PER_SECOND, "at least", rate),
        Target("peak memory, MiB", MAX_MEMORY_MIB, "at most", memory),
        Target("a month's report, s", MAX_REPORT_SECONDS, "at most", figures.report_seconds),
        Target("20 features, s", MAX_REPORT_SECONDS, "at most", figures.wide_report_seconds),
        Target("an hour: long log over short", MAX_GROWTH, "at most", growth),
    ]
    rows = [
        [
            name,
            f"{run.rows:,}",
            format_figure(run.seconds),
            format_figure(run.rows_per_second),
            format_figure(run.cpu_seconds),
            format_figure(run.peak_memory_mib),
        ]
        for name, run in runs.items()
    ]
    print(report.table(["counting", "rows", "seconds", "rows/s", "CPU s", "peak MiB"], rows))
    print(report.targets_table(targets))
    segmented = figures.segmented_report_seconds
    print(f"With {month.SEGMENTS} segments, 20 features took {format_figure(segmented)} s.")
    raw = {"targets": [target.as_json() for target in targets], "segmented_s": segmented}
    report.write_json(
        options.json, raw | {"runs": {name: asdict(run) for name, run in runs.items()}}
    )
    missed = any(not target.is_met for target in targets)
    print("A target was missed." if missed else "All targets are met.", file=sys.stderr)
    return int(missed)
