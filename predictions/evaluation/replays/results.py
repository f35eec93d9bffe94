"""The statement that writes a replay's results: many rows, none for a prediction that has gone."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import orjson
from django.db import connection

from predictions.models import Prediction, Replay, ReplayResult
from registry import statements


@dataclass(slots=True)
class Result:
    """A row of ReplayResult that is to be written. An instance of the model takes ten times as long
    to make, and a replay makes one for every prediction.
    """

    original_id: int
    status: str = ReplayResult.Status.COMPARED.value
    prediction: float | None = None
    confidence: float | None = None
    output: Any = None
    error: str = ""
    difference: float | None = None
    distance: float = 0.0
    agrees: bool = False


NAMES = [field.name for field in fields(Result)]
COLUMNS = ", ".join(NAMES)
TABLE = ReplayResult._meta.db_table
PREDICTIONS = Prediction._meta.db_table


def insert(replay: Replay, results: Sequence[Result]) -> None:
    """Insert results in the open transaction. Those whose prediction was deleted drop out in the
    statement itself, which keeps the others from being deleted before it commits.
    """
    if connection.vendor == "sqlite":
        _insert_sqlite(replay, results)
    else:
        _insert_postgresql(replay, results)


@cache
def _postgresql_statement() -> str:
    # One document, as the recorder sends it. Locks are taken oldest first, as retention takes its
    # own: so neither waits for the other in a circle.
    columns = {field.attname: field for field in ReplayResult._meta.concrete_fields}
    given = ", ".join(f"{name} {columns[name].db_type(connection)}" for name in NAMES)
    return f"""
        WITH given AS MATERIALIZED (
            SELECT * FROM json_to_recordset(%(results)s::json) AS given({given})
        ), kept AS MATERIALIZED (
            SELECT id FROM {PREDICTIONS} WHERE id IN (SELECT original_id FROM given)
            ORDER BY created_at, id FOR KEY SHARE
        )
        INSERT INTO {TABLE} (replay_id, {COLUMNS})
        SELECT %(replay)s, {", ".join(f"given.{name}" for name in NAMES)}
        FROM given JOIN kept ON kept.id = given.original_id
    """  # noqa: S608 -- names of our own tables and columns


def _insert_postgresql(replay: Replay, results: Sequence[Result]) -> None:
    values = {"replay": replay.pk, "results": orjson.dumps(results).decode()}
    statements.fetch(_postgresql_statement(), values)


SQLITE_STATEMENT = f"""
    INSERT INTO {TABLE} (replay_id, {COLUMNS}) SELECT {", ".join(["%s"] * (1 + len(NAMES)))}
    WHERE EXISTS (SELECT 1 FROM {PREDICTIONS} WHERE id = %s)
"""  # noqa: S608 -- names of our own tables and columns


def _insert_sqlite(replay: Replay, results: Sequence[Result]) -> None:
    rows = (
        {
            **{name: getattr(row, name) for name in NAMES},
            "output": None if row.output is None else orjson.dumps(row.output).decode(),
        }
        for row in results
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            SQLITE_STATEMENT, [[replay.pk, *row.values(), row["original_id"]] for row in rows]
        )
