"""`python -m benchmarks exporting`: how fast, and in how much memory, is a large log exported?

Fills the table of predictions, exports all of it twice to the same format with
`manage.py export_predictions`, and compares the digests of both exports. Reading alone, without a
file, is timed by COPY and, if adbc-driver-postgresql is installed, by ADBC.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from benchmarks import report
from benchmarks.depth import filling
from benchmarks.harness import models, postgresql
from benchmarks.harness.environments import CurrentEnvironment
from benchmarks.harness.service import CommandFailed, Installation
from benchmarks.options import add_integer, add_json
from benchmarks.report import Target, format_figure

DATABASE = "benchmark_exporting"
VERSIONS = ("common", "usual", "rare")
FORMATS = ("parquet", "csv", "ndjson")
MAX_MEMORY_MIB = 600
ALL_COLUMNS = (
    "SELECT id, created_at, model_id, status, prediction, confidence, output::text, error,"
    " latency_ms, metadata::text, request_id, reference, subject, alias, arm, primary_id, user_id,"
    " input_data::text FROM predictions ORDER BY created_at, id"
)


@dataclass(frozen=True, slots=True)
class Export:
    """What one run of the command took."""

    seconds: float
    peak_memory_mib: float
    rows: int
    size_bytes: int
    sha256: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rows", 5_000_000, "rows to fill and export")
    add_integer(parser, "--part-rows", 1_000_000, "rows of a file")
    parser.add_argument("--format", choices=FORMATS, default="parquet")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    with postgresql.server() as database, TemporaryDirectory() as name:
        folder = Path(name)
        database.recreate(DATABASE)
        try:
            url = database.database_url(DATABASE)
            installation = Installation(
                url, folder / "installation", interpreter=CurrentEnvironment()
            )
            _fill(installation, url, options.rows)
            exports = [_export(installation, folder / str(number), options) for number in range(2)]
            reading = _time_reading(url, options.rows)
        finally:
            database.drop(DATABASE)
    return _report(options, exports, reading)


def _fill(installation: Installation, url: str, rows: int) -> None:
    installation.set_up()
    model = models.load("iris")
    for name in VERSIONS:
        installation.register(model.file("skops"), name=name)
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT id FROM model_versions ORDER BY id").fetchall()
    filling.fill(url, [pk for (pk,) in found], rows=rows)


def _export(installation: Installation, folder: Path, options: argparse.Namespace) -> Export:
    command = [installation.interpreter.python, str(installation.checkout / "manage.py")]
    command += ["export_predictions", str(folder), "--format", options.format]
    command += ["--part-rows", str(options.part_rows)]
    started = time.monotonic()
    process = subprocess.Popen(  # noqa: S603
        command, cwd=installation.checkout, env=installation.environment
    )
    # Unlike Popen's own wait, it tells how much memory the process has taken.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise CommandFailed(f"export_predictions ended with {process.returncode}")
    manifest = json.loads((folder / "_manifest.json").read_text())
    return Export(
        time.monotonic() - started,
        usage.ru_maxrss / 1024,
        manifest["rows"],
        manifest["size_bytes"],
        manifest["sha256"],
    )


def _time_reading(url: str, rows: int) -> dict[str, float]:
    """Rows per second of reading all columns in one statement, by way of reading."""
    speeds = {}
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        started = time.monotonic()
        with cursor.copy(f"COPY ({ALL_COLUMNS}) TO STDOUT (FORMAT BINARY)") as copy:
            for _ in copy:
                pass
        speeds["COPY, not parsed"] = rows / (time.monotonic() - started)
    if find_spec("adbc_driver_postgresql") is not None:
        adbc = import_module("adbc_driver_postgresql.dbapi")
        started = time.monotonic()
        with adbc.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(ALL_COLUMNS)
            for _ in cursor.fetch_record_batch():
                pass
        speeds["ADBC, into Arrow"] = rows / (time.monotonic() - started)
    return speeds


def _report(options: argparse.Namespace, exports: list[Export], reading: dict[str, float]) -> int:
    memory = max(export.peak_memory_mib for export in exports)
    targets = [
        Target("rows exported", options.rows, "at least", min(e.rows for e in exports)),
        Target("different digests", 1, "at most", len({e.sha256 for e in exports})),
        Target("peak memory, MiB", MAX_MEMORY_MIB, "at most", memory),
    ]
    rows = [
        [
            str(number),
            format_figure(export.seconds),
            format_figure(export.rows / export.seconds),
            format_figure(export.peak_memory_mib),
            format_figure(export.size_bytes / 2**20),
        ]
        for number, export in enumerate(exports, start=1)
    ]
    print(report.table(["export", "seconds", "rows/s", "peak MiB", "files, MiB"], rows))
    print(report.table(["reading", "rows/s"], [[k, format_figure(v)] for k, v in reading.items()]))
    print(report.targets_table(targets))
    figures = {"targets": [target.as_json() for target in targets], "reading": reading}
    report.write_json(options.json, figures)
    missed = any(not target.is_met for target in targets)
    print("A target was missed." if missed else "All targets are met.", file=sys.stderr)
    return int(missed)
