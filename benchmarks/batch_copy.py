"""`python -m benchmarks copy`: a batch through the API, recorded, against psycopg's COPY.

Both write the same rows: what the batch has recorded is copied into a second table with the same
columns, constraints (but for foreign keys) and indexes, and committed. In turns; medians.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from benchmarks import report
from benchmarks.harness import models, postgresql, records, service
from benchmarks.harness.client import Client
from benchmarks.report import Target, median, ratio, shown

DATABASE = "benchmark_copy"
WARM_UPS = 3
BATCH_TIMEOUT_SECONDS = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1000, metavar="N", help="rows a batch (1000)")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="of each (20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw figures there")


def run(options: argparse.Namespace) -> int:
    model = models.load("iris")
    with postgresql.server() as database:
        database.recreate(DATABASE)
        url = database.database_url(DATABASE)
        with (
            service.temporary(url, model) as installed,
            installed.server() as running,
            psycopg.connect(url) as connection,
        ):
            rows = [model.rows[i % len(model.rows)] for i in range(options.rows)]
            inputs = [{"features": row} for row in rows]
            body = json.dumps({"model_id": running.model_id("iris"), "inputs": inputs}).encode()
            columns = _copy_table(connection)
            client = running.client(timeout=BATCH_TIMEOUT_SECONDS)
            batches, copies = [], []
            for number in range(-WARM_UPS, options.rounds):
                batch = _batch(client, body, url, options.rows)
                copied = _copy(connection, columns, options.rows)
                if number >= 0:
                    batches.append(batch)
                    copies.append(copied)
        database.drop(DATABASE)
    return _report(options, batches, copies)


def _batch(client: Client, body: bytes, url: str, rows: int) -> float:
    """Seconds from sending a batch to its whole answer; SystemExit where it is not all recorded."""
    before = records.count(url)
    started = time.perf_counter()
    answer = client.post(service.BATCH, body)
    seconds = time.perf_counter() - started
    if answer.status != 201:
        sys.exit(f"POST {service.BATCH} answered {answer.status}: {answer.body[:300]!r}")
    if (recorded := records.count(url) - before) != rows:
        sys.exit(f"{rows} rows were acknowledged and {recorded} recorded")
    return seconds


def _copy_table(connection: psycopg.Connection[Any]) -> list[tuple[str, bool]]:
    """Make the second table; the columns to copy, each with whether it holds JSON."""
    connection.execute("CREATE TABLE copied (LIKE predictions INCLUDING ALL)")
    found = connection.execute(
        "SELECT column_name, data_type LIKE 'json%' FROM information_schema.columns"
        " WHERE table_name = 'copied' AND column_name <> 'id' ORDER BY ordinal_position"
    ).fetchall()
    connection.commit()
    return found


def _copy(
    connection: psycopg.Connection[Any], columns: Sequence[tuple[str, bool]], rows: int
) -> float:
    """Seconds to copy and commit the rows that were recorded last."""
    names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns)
    read = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(name)) if is_json else sql.Identifier(name)
        for name, is_json in columns
    )
    last = sql.SQL("SELECT {} FROM predictions ORDER BY id DESC LIMIT {}").format(read, rows)
    values = connection.execute(last).fetchall()
    connection.commit()
    started = time.perf_counter()
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("COPY copied ({}) FROM STDIN").format(names)) as copy,
    ):
        for row in values:
            copy.write_row(row)
    connection.commit()
    return time.perf_counter() - started


def _report(options: argparse.Namespace, batches: list[float], copies: list[float]) -> int:
    batch, copied = median(batches), median(copies)
    rows = [
        [name, shown(seconds * 1000), shown(options.rows / seconds)]
        for name, seconds in (("batch through the API, recorded", batch), ("COPY", copied))
        if seconds
    ]
    print(f"Medians of {options.rounds} rounds in turns, {options.rows} rows each.\n")
    print(report.table(["what", "ms", "rows/s"], rows))
    target = Target("rows/s of a batch against COPY", 0.5, "at least", ratio(copied, batch))
    print(f"\n{report.targets_table([target])}")
    raw = {"batch_seconds": batches, "copy_seconds": copies, "target": target.as_json()}
    report.write_json(options.json, raw)
    return 0
