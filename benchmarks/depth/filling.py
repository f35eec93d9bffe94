"""Fills the table of predictions with millions of rows, in SQL."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

CHUNK_ROWS = 500_000
SPREAD_DAYS = 365
# One row in this many is a failed prediction.
FAILED_EVERY = 1009

# Times rise with the ids, as they do in production. The id decides the version: nearly all rows
# have the first one, one in a thousand the last one.
INSERT = """
INSERT INTO predictions (model_id, input_data, prediction, confidence, output, metadata, status,
                         error, latency_ms, request_id, user_id, created_at)
SELECT %(versions)s[CASE WHEN n %% 1000 = 0 THEN 3 WHEN n %% 10 = 1 THEN 2 ELSE 1 END],
       jsonb_build_object('features', jsonb_build_array(5.1 + n %% 100 / 64.0, 3.5, 1.4, 0.25)),
       CASE WHEN n %% %(failed)s = 0 THEN NULL ELSE n %% 3 END,
       CASE WHEN n %% %(failed)s = 0 THEN NULL ELSE 0.98 END,
       CASE WHEN n %% %(failed)s = 0 THEN NULL ELSE
         jsonb_build_object('label', n %% 3, 'probabilities',
                            jsonb_build_object('0', 0.98, '1', 0.015, '2', 0.005)) END,
       NULL,
       CASE WHEN n %% %(failed)s = 0 THEN 'failed' ELSE 'succeeded' END,
       CASE WHEN n %% %(failed)s = 0 THEN 'The model could not score this row' ELSE '' END,
       0.4, md5(n::text), %(user)s,
       now() - %(spread)s * interval '1 day' * (1 - n::float8 / %(rows)s)
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""


def fill(url: str, versions: Sequence[int], *, rows: int) -> None:
    """Insert this number of rows for the three versions and analyse the table."""
    with psycopg.connect(url) as connection:
        user = connection.execute("SELECT min(id) FROM auth_user").fetchone()
    assert user is not None
    values = {"versions": list(versions), "user": user[0], "rows": rows}
    fill_by(url, INSERT, values | {"failed": FAILED_EVERY, "spread": SPREAD_DAYS}, rows=rows)


def fill_by(
    url: str, statement: LiteralString, values: Mapping[str, object], *, rows: int, start: int = 0
) -> None:
    """Insert rows number `start` + 1 to `rows` by a statement that takes `first` and `last`, and
    analyse the table.
    """
    started = time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection:
        _skip_foreign_keys(connection)
        indexes = _drop_indexes(connection)
        for first in range(start + 1, rows + 1, CHUNK_ROWS):
            last = min(first + CHUNK_ROWS - 1, rows)
            connection.execute(statement, {**values, "first": first, "last": last})
            _print_progress(f"{last:,} of {rows:,} rows", started)
        for name, definition in indexes:
            connection.execute(definition)
            _print_progress(f"index {name}", started)
        connection.execute("VACUUM (ANALYZE) predictions")
        # Written to disk now, not during the measurements.
        connection.execute("CHECKPOINT")
    _print_progress("analysed", started)


def _skip_foreign_keys(connection: psycopg.Connection[TupleRow]) -> None:
    """Skip the foreign key checks of every row, if this role has the right to."""
    try:
        connection.execute("SET session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        print("Foreign keys are checked row by row, which takes longer.", file=sys.stderr)


def _drop_indexes(connection: psycopg.Connection[TupleRow]) -> list[tuple[str, bytes]]:
    """Drop all indexes except those of constraints; returns (name, statement to recreate it)."""
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'predictions' AND NOT EXISTS"
        " (SELECT 1 FROM pg_constraint WHERE conname = indexname)"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    # Of a table with partitions, they are defined on the table ONLY, without its partitions.
    return [
        (name, definition.replace(" ON ONLY ", " ON ").encode()) for name, definition in indexes
    ]


def _print_progress(step: str, started: float) -> None:
    print(f"{time.monotonic() - started:6.1f} s  {step}", file=sys.stderr, flush=True)
