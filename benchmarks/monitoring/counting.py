"""`python -m benchmarks counting`: how fast, and in how much memory, is a large log counted?

Fills a month of predictions of ten features, freezes its first day as the reference, and counts all
hours by `manage.py count_predictions`. Then it counts a few new predictions, when the log is a
tenth of its length and when it is complete, and times the report of the whole month.
"""

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report
from benchmarks.depth import filling
from benchmarks.harness import postgresql
from benchmarks.harness.environments import CurrentEnvironment
from benchmarks.harness.service import CommandFailed, Installation
from benchmarks.options import add_integer, add_json
from benchmarks.report import Target, format_figure

DATABASE = "benchmark_counting"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30
# A minute of a busy service.
NEW_ROWS = 5000
MIN_ROWS_PER_SECOND = 80_000
MAX_MEMORY_MIB = 600
MAX_REPORT_SECONDS = 1.0
# Noise of a few milliseconds is large for runs of a few tenths of a second.
MAX_GROWTH = 1.5

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
    counts = counts_of(reference, [""], since, since + timedelta(days=31))
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
    backfill: Count
    following: Count
    short: Count
    """Of a few new rows, when the log is short."""
    long: Count
    report_seconds: float
    report_rows: int


def _measure(installation: Installation, url: str, rows: int) -> Figures:
    installation.set_up()
    installation.manage("shell", "--command", CREATE_VERSION)
    tenth = rows // 10
    _fill(url, 0, tenth, rows)
    until = START + timedelta(days=1)
    installation.manage(
        "set_reference", "m:1", f"--since={START.isoformat()}", f"--until={until.isoformat()}"
    )
    backfill = _count(installation)
    _fill(url, tenth, tenth + NEW_ROWS, rows)
    short = _count(installation)
    _fill(url, tenth + NEW_ROWS, rows, rows)
    following = _count(installation)
    _fill(url, rows, rows + NEW_ROWS, rows)
    long = _count(installation)
    output = installation.manage("shell", "--command", REPORT)
    reports = re.findall(r"REPORT ([0-9.]+) (\d+) \d+", output)
    # The first one fills the database's cache as well.
    seconds = min(float(seconds) for seconds, _ in reports[1:])
    return Figures(backfill, following, short, long, seconds, int(reports[0][1]))


def _fill(url: str, start: int, end: int, rows: int) -> None:
    values = {"start": START, "days": DAYS, "rows": rows}
    filling.fill_by(url, INSERT, values, rows=end, start=start)


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
        "backfill of a tenth": figures.backfill,
        "following the rest": figures.following,
        f"{NEW_ROWS:,} new rows, short log": figures.short,
        f"{NEW_ROWS:,} new rows, long log": figures.long,
    }
    counted = figures.backfill.rows + figures.following.rows
    memory = max(run.peak_memory_mib for run in runs.values())
    growth = figures.long.seconds / figures.short.seconds
    targets = [
        Target("rows in the report", options.rows + NEW_ROWS, "at least", figures.report_rows),
        Target("rows/s", MIN_ROWS_PER_SECOND, "at least", figures.backfill.rows_per_second),
        Target("peak memory, MiB", MAX_MEMORY_MIB, "at most", memory),
        Target("a month's report, s", MAX_REPORT_SECONDS, "at most", figures.report_seconds),
        Target("new rows: long log over short", MAX_GROWTH, "at most", growth),
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
    report.write_json(
        options.json, {"targets": [target.as_json() for target in targets], "counted": counted}
    )
    missed = any(not target.is_met for target in targets)
    print("A target was missed." if missed else "All targets are met.", file=sys.stderr)
    return int(missed)
