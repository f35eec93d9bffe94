"""Raw SQL statements, sent the cheapest way that each database offers, and limits to their time."""

import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC
from typing import Any, TypeAlias, cast

import psycopg
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, DateTimeField, F, Func, JSONField, QuerySet, Value
from psycopg.types.datetime import TimestamptzLoader

Row: TypeAlias = tuple[Any, ...]
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]


# Even at the deadline: a database that works needs some time to record that it has passed.
LEAST_SECONDS = 2.0
# For an exchange when the time is over, which may be because of the wait for a connection.
LAST_SECONDS = 0.25
# Rows of a stream that are fetched at a time.
FETCHED_ROWS = 100


class _Limit(threading.local):
    deadline: float | None = None
    began_at = 0.0


_limit = _Limit()


class limited_by:  # noqa: N801 -- used like a function
    """Let this thread's statements take no longer than until `deadline`, or LEAST_SECONDS in all.

    Nor do they take longer than DB_STATEMENT_TIMEOUT in all: many exchanges with a slow database,
    each within its time, would keep the caller waiting for a multiple of it.

    `deadline` is a time of `time.monotonic()`; None changes nothing. Only PostgreSQL's connections
    in a server heed it, and give up as they do after DB_STATEMENT_TIMEOUT.
    """

    # A class: entering and leaving a generator's context takes several times as long.
    __slots__ = ("_began_at", "_deadline", "_previous")

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        self._previous, self._began_at = _limit.deadline, _limit.began_at
        if self._deadline is not None:
            _limit.deadline, _limit.began_at = self._deadline, time.monotonic()

    def __exit__(self, *error: object) -> None:
        _limit.deadline, _limit.began_at = self._previous, self._began_at


def seconds_left(statement_seconds: float) -> float | None:
    """How long the next exchange of this thread may take; None if `limited_by` does not say.

    `statement_seconds` is how long all of them may take together at most.
    """
    deadline, began_at = _limit.deadline, _limit.began_at
    if deadline is None:
        return None
    end = min(max(deadline, began_at + LEAST_SECONDS), began_at + statement_seconds)
    return max(end - time.monotonic(), LAST_SECONDS)


def fetch(statement: str, parameters: Parameters) -> list[Row]:
    """Run a statement and return its rows, none for one that returns nothing.

    Placeholders are `%s` for a sequence of parameters, `%(name)s` for a mapping. Raises Django's
    database errors.

    On PostgreSQL the statement is prepared. Django's cursor would instead put the values into its
    text, which the server must then parse and plan every time: for a short query that takes as
    long as everything else, for an insert of one large document a third of the time.
    """
    if connection.vendor != "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            # SQLite finishes a statement only when its rows are read to the end.
            rows: list[Row] = cursor.fetchall()
            return rows
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement, parameters, prepare=True)
        return cursor.fetchall() if cursor.description else []


# -- many rows


def row_compared(names: Sequence[str], operator: str, values: Sequence[Any]) -> Func:
    """The condition `(a, b) > (x, y)`, with any operator.

    An index on these columns finds its rows at once, however many have the same `a`. Of conditions
    on one column each, it could use only the first.
    """
    left = Func(*map(F, names), function="", output_field=BooleanField())
    right = Func(*map(Value, values), function="", output_field=BooleanField())
    template, joiner = "%(expressions)s", f" {operator} "
    return Func(left, right, template=template, arg_joiner=joiner, output_field=BooleanField())


def stream(rows: QuerySet[Any], names: Sequence[str]) -> Generator[Row]:
    """These columns of many rows, one row after another in bounded memory; close it if it is not
    read to the end.

    Values are as the database has them: JSON is text. Times are in UTC.
    """
    statement, parameters = rows.values_list(*names).query.sql_with_params()
    connection = connections[rows.db]
    if connection.vendor == "sqlite":
        fields = [rows.model._meta.get_field(name) for name in names]
        times = [place for place, field in enumerate(fields) if isinstance(field, DateTimeField)]
        return _stream_sqlite(connection, statement, parameters, times)
    return _stream_postgresql(connection, statement, parameters)


def _stream_postgresql(
    connection: BaseDatabaseWrapper, statement: str, parameters: Sequence[Any]
) -> Generator[Row]:
    connection.ensure_connection()
    # libpq's chunks of rows need no cursor on the server, which poolers break, and take a third of
    # the time of COPY, whose rows come one by one.
    with (
        connection.wrap_database_errors,
        psycopg.ClientCursor(connection.connection) as cursor,
    ):
        # psycopg's own, in C: Django's is in Python, for time zones other than UTC.
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        rows = cursor.stream(statement, parameters, size=FETCHED_ROWS)
        with closing(cast(Generator[Row], rows)) as fetched:
            yield from fetched


def _stream_sqlite(
    connection: BaseDatabaseWrapper,
    statement: str,
    parameters: Sequence[Any],
    times: Sequence[int],
) -> Generator[Row]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        while rows := cursor.fetchmany(FETCHED_ROWS):
            for row in rows:
                for place in times:
                    row = (*row[:place], row[place].replace(tzinfo=UTC), *row[place + 1 :])
                yield row


# -- many rows by column


@dataclass(frozen=True, slots=True)
class Columns:
    """Some rows, by column: the values of each column by its name.

    size_bytes: of their JSON; on SQLite in characters.
    """

    rows: int
    size_bytes: int
    values: Mapping[str, Sequence[Any]]


def fetch_columns(rows: QuerySet[Any], names: Sequence[str], *, max_bytes: int) -> Columns:
    """The first of these rows, up to and with the one that makes their JSON exceed `max_bytes`.

    `rows` must have an order and a limit. Values are as the database has them: JSON is text. Times
    are in UTC. Takes half of the time of `stream`, where each row passes several generators.
    """
    statement, parameters = rows.values_list(*names).query.sql_with_params()
    fields = [rows.model._meta.get_field(name) for name in names]
    texts = [place for place, field in enumerate(fields) if isinstance(field, JSONField)]
    connection = connections[rows.db]
    if connection.vendor == "sqlite":
        times = [place for place, field in enumerate(fields) if isinstance(field, DateTimeField)]
        streamed = _stream_sqlite(connection, statement, parameters, times)
        fetched = _with_sizes(streamed, texts, max_bytes)
    else:
        columns = [fields[place].column for place in texts]
        fetched = _fetch_binary(connection, _limited(statement, columns), (*parameters, max_bytes))
    *values, sizes = [list(column) for column in zip(*fetched, strict=True)] or [
        [] for _ in (*names, "size")
    ]
    size_bytes = int(sizes[-1]) if sizes else 0
    return Columns(len(fetched), size_bytes, dict(zip(names, values, strict=True)))


def _limited(statement: str, texts: Sequence[str]) -> str:
    """A statement with a limit to the sum of the sizes of these columns, which comes last."""
    own = " + ".join(f"coalesce(octet_length({name}), 0)" for name in texts) or "0"
    # Sizes are known without reading values that are stored apart from their rows.
    return f"""
        SELECT * FROM (
            SELECT *, (sum({own}) OVER (ROWS UNBOUNDED PRECEDING))::bigint AS size
            FROM ({statement}) AS fetched
        ) AS sized WHERE size - ({own}) <= %s
    """  # noqa: S608 -- of the names of columns


def _fetch_binary(
    connection: BaseDatabaseWrapper, statement: str, parameters: Sequence[Any]
) -> list[Row]:
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        # Not prepared: a plan for any values might read another index.
        cursor.execute(statement, parameters, prepare=False, binary=True)
        return cursor.fetchall()


def _with_sizes(read: Generator[Row], texts: Sequence[int], max_bytes: int) -> list[Row]:
    rows, size = [], 0
    with closing(read) as remaining:
        for row in remaining:
            size += sum(len(row[place] or "") for place in texts)
            rows.append((*row, size))
            if size > max_bytes:
                break
    return rows
