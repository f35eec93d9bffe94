"""Reads columns of many rows, one row after another and in bounded memory."""

from collections.abc import Generator, Mapping, Sequence
from datetime import UTC
from typing import Any, TypeAlias

import psycopg
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

# Rows that SQLite's cursor fetches at a time.
FETCHED_ROWS = 100

Row: TypeAlias = tuple[Any, ...]


def stream(rows: models.QuerySet[Any], types: Mapping[str, str]) -> Generator[Row]:
    """The columns that `types` names, in its order; close it if it is not read to the end.

    Each has the type by which PostgreSQL sends it. JSON is the text it is stored as, if its type is
    "text". Times are in UTC.
    """
    statement, parameters = rows.values_list(*types).query.sql_with_params()
    connection = connections[rows.db]
    if connection.vendor == "sqlite":
        return _stream_sqlite(connection, statement, parameters, list(types.values()))
    return _stream_postgresql(connection, statement, parameters, list(types.values()))


def _stream_postgresql(
    connection: BaseDatabaseWrapper,
    statement: str,
    parameters: Sequence[Any],
    types: Sequence[str],
) -> Generator[Row]:
    connection.ensure_connection()
    # By COPY the rows come one by one, without a cursor on the server, which poolers break.
    with (
        connection.wrap_database_errors,
        psycopg.ClientCursor(connection.connection) as cursor,
        cursor.copy(f"COPY ({statement}) TO STDOUT (FORMAT BINARY)", parameters) as copy,
    ):
        copy.set_types(types)
        yield from copy.rows()


def _stream_sqlite(
    connection: BaseDatabaseWrapper,
    statement: str,
    parameters: Sequence[Any],
    types: Sequence[str],
) -> Generator[Row]:
    times = [place for place, name in enumerate(types) if name == "timestamptz"]
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        while rows := cursor.fetchmany(FETCHED_ROWS):
            for row in rows:
                values = list(row)
                for place in times:
                    values[place] = values[place].replace(tzinfo=UTC)
                yield tuple(values)
