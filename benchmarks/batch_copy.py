"""`python -m benchmarks copy`: a recorded batch through the API compared with psycopg's COPY.

Both write the same rows: the rows that the batch recorded are copied into a second table with the
same columns, indexes and constraints (except foreign keys) and committed. The two alternate;
medians are shown.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from benchmarks import report
from benchmarks.harness import models, postgresql, records, service
from benchmarks.harness.client import Client
from benchmarks.options import add_integer, add_json
from benchmarks.report import Target, format_figure, median, ratio

DATABASE = "benchmark_copy"
WARM_UPS = 3
BATCH_TIMEOUT_SECONDS = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rows", 1000, "rows per batch")
    add_integer(parser, "--rounds", 20, "of each kind")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    model = models.load("iris")
    with postgresql.server() as database:
        database.recreate(DATABASE)
        url = database.database_url(DATABASE)
        with (
            service.temporary(url, model) as installation,
            installation.server() as running,
            psycopg.connect(url) as connection,
        ):
            rows = [model.rows[i % len(model.rows)] for i in range(options.rows)]
            body = json.dumps(service.batch_request(running.model_id("iris"), rows)).encode()
            columns = _create_copy_table(connection)
            client = running.client(timeout=BATCH_TIMEOUT_SECONDS)
            batches, copies = [], []
            for number in range(-WARM_UPS, options.rounds):
                batch_seconds = _post_batch(client, body, url, options.rows)
                copy_seconds = _copy(connection, columns, options.rows)
                if number >= 0:
                    batches.append(batch_seconds)
                    copies.append(copy_seconds)
        database.drop(DATABASE)
    return _report(options, batches, copies)


def _post_batch(client: Client, body: bytes, url: str, rows: int) -> float:
    """Seconds until the whole response has arrived; exits unless every row is recorded."""
    before = records.count(url)
    started = time.perf_counter()
    response = client.post(service.BATCH, body)
    seconds = time.perf_counter() - started
    if response.status != 201:
        sys.exit(f"POST {service.BATCH} responded {response.status}: {response.body[:300]!r}")
    if (recorded := records.count(url) - before) != rows:
        sys.exit(f"{rows} rows were acknowledged, but {recorded} were recorded")
    return seconds


def _create_copy_table(connection: psycopg.Connection[TupleRow]) -> list[tuple[str, bool]]:
    """Create the second table; the columns to copy, each with whether it holds JSON."""
    connection.execute("CREATE TABLE copied (LIKE predictions INCLUDING ALL)")
    columns = connection.execute(
        "SELECT column_name, data_type LIKE 'json%' FROM information_schema.columns"
        " WHERE table_name = 'copied' AND column_name <> 'id' ORDER BY ordinal_position"
    ).fetchall()
    connection.commit()
    return [(str(name), bool(is_json)) for name, is_json in columns]


def _copy(
    connection: psycopg.Connection[TupleRow], columns: Sequence[tuple[str, bool]], rows: int
) -> float:
    """Seconds to copy and commit the rows that were recorded last."""
    names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns)
    expressions = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(name)) if is_json else sql.Identifier(name)
        for name, is_json in columns
    )
    select = sql.SQL("SELECT {} FROM predictions ORDER BY id DESC LIMIT {}")
    values = connection.execute(select.format(expressions, rows)).fetchall()
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
    batch_seconds, copy_seconds = median(batches), median(copies)
    rows = [
        [name, format_figure(seconds * 1000), format_figure(options.rows / seconds)]
        for name, seconds in (
            ("batch through the API, recorded", batch_seconds),
            ("COPY", copy_seconds),
        )
        if seconds
    ]
    print(f"Medians of {options.rounds} alternating rounds of {options.rows} rows each.\n")
    print(report.table(["path", "ms", "rows/s"], rows))
    figure = ratio(copy_seconds, batch_seconds)
    target = Target("rows/s of a batch against COPY", 0.5, "at least", figure)
    print(f"\n{report.targets_table([target])}")
    raw = {"batch_seconds": batches, "copy_seconds": copies, "target": target.as_json()}
    report.write_json(options.json, raw)
    return 0
