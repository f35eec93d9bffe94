"""The statement that writes a replay's results: many rows, none for a prediction that has gone."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import orjson
import psycopg
from django.db import connection, models

from predictions.models import Prediction, Replay, ReplayResult

FIELDS: Sequence["models.Field[Any, Any]"] = [
    field for field in ReplayResult._meta.concrete_fields if field.name not in ("id", "replay")
]
NAMES = [field.attname for field in FIELDS]
COLUMNS = ", ".join(NAMES)
TABLE = ReplayResult._meta.db_table
PREDICTIONS = Prediction._meta.db_table


def insert(replay: Replay, results: Sequence[ReplayResult]) -> None:
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
    given = ", ".join(f"{field.attname} {field.db_type(connection)}" for field in FIELDS)
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


def _insert_postgresql(replay: Replay, results: Sequence[ReplayResult]) -> None:
    document = orjson.dumps(
        [
            # What is left out comes out as null.
            {name: value for name in NAMES if (value := getattr(row, name)) is not None}
            for row in results
        ]
    )
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        values = {"replay": replay.pk, "results": document.decode()}
        cursor.execute(_postgresql_statement(), values, prepare=True)


SQLITE_STATEMENT = f"""
    INSERT INTO {TABLE} (replay_id, {COLUMNS}) SELECT {", ".join(["%s"] * (1 + len(FIELDS)))}
    WHERE EXISTS (SELECT 1 FROM {PREDICTIONS} WHERE id = %s)
"""  # noqa: S608 -- names of our own tables and columns


def _insert_sqlite(replay: Replay, results: Sequence[ReplayResult]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            SQLITE_STATEMENT,
            [
                [
                    replay.pk,
                    *(
                        field.get_db_prep_save(getattr(row, field.attname), connection=connection)
                        for field in FIELDS
                    ),
                    row.original_id,
                ]
                for row in results
            ],
        )
