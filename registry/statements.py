"""Raw SQL statements, sent the cheapest way that each database offers, and limits to their time."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import psycopg
from django.db import connection

Row: TypeAlias = tuple[Any, ...]
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]


# Even at the deadline: a database that works needs some time to record that it has passed.
LEAST_SECONDS = 2.0


class _Limit(threading.local):
    deadline: float | None = None


_limit = _Limit()


class limited_by:  # noqa: N801 -- used like a function
    """Let this thread's statements take no longer than until `deadline`, or LEAST_SECONDS each.

    `deadline` is a time of `time.monotonic()`; None changes nothing. Only PostgreSQL's connections
    in a server heed it, and give up as they do after DB_STATEMENT_TIMEOUT.
    """

    # A class: entering and leaving a generator's context takes several times as long.
    __slots__ = ("_deadline", "_previous")

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        self._previous = _limit.deadline
        if self._deadline is not None:
            _limit.deadline = self._deadline

    def __exit__(self, *error: object) -> None:
        _limit.deadline = self._previous


def seconds_left() -> float | None:
    """How long a statement of this thread may take; None if `limited_by` does not say."""
    deadline = _limit.deadline
    return None if deadline is None else max(deadline - time.monotonic(), LEAST_SECONDS)


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
