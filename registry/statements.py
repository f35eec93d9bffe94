"""Statements that predictions wait for, sent without Django's cursor."""

from collections.abc import Sequence
from typing import Any

import psycopg
from django.db import connection


def fetch(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All rows of a statement with `%s` for its parameters; raises what Django's cursor does.

    On PostgreSQL it is prepared: Django would put the values into its text, to be parsed and
    planned anew, which took as long as all the rest.
    """
    if connection.vendor != "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement.encode(), parameters, prepare=True)
        return cursor.fetchall()
