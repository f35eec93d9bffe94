"""Connections for health checks, and whether the database accepts what the service writes."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from predictions.models import Prediction
from registry.locks.separate_connections import separate_connection

PROBE_TIMEOUT_SECONDS = 2
TABLE = Prediction._meta.db_table

# A cluster that was made read-only sets the second one, and so may a role or a database.
POSTGRESQL_STATE = """
    SELECT
        pg_is_in_recovery(),
        current_setting('default_transaction_read_only')::boolean,
        has_table_privilege(to_regclass(%(table)s), 'INSERT'),
        has_sequence_privilege(pg_get_serial_sequence(%(table)s, 'id')::regclass, 'USAGE')
    FROM (SELECT to_regclass(%(table)s)) AS found (relation) WHERE relation IS NOT NULL
"""


@contextmanager
def probe_connection(
    timeout_seconds: int = PROBE_TIMEOUT_SECONDS,
) -> Iterator[BaseDatabaseWrapper]:
    """A connection outside the pool with short timeouts: an exhausted pool must not fail probes.

    On PostgreSQL it is in a transaction, which is rolled back at the end: only `SET LOCAL` also
    limits the statements behind PgBouncer, which refuses `options` at the start of a connection.
    Raises Django's database errors.
    """
    default = connections[DEFAULT_DB_ALIAS]
    with separate_connection(default, timeout_seconds=timeout_seconds) as connection:
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = '{int(timeout_seconds)}s'")
        yield connection


def write_refusal(connection: BaseDatabaseWrapper) -> str:
    """Why the database would refuse to record a prediction; an empty string if it would not.

    Takes a connection of `probe_connection`, and raises Django's database errors. It writes
    nothing, so it cannot tell that the database's disk is full: `refusals.lacks_room` does.
    """
    if connection.vendor == "postgresql":
        return _postgresql_refusal(connection)
    return _sqlite_refusal(connection)


def _postgresql_refusal(connection: BaseDatabaseWrapper) -> str:
    with connection.cursor() as cursor:
        cursor.execute(POSTGRESQL_STATE, {"table": TABLE})
        row = cursor.fetchone()
    if row is None:
        return f"the table {TABLE} is missing"
    is_standby, is_read_only, may_insert, may_number = row
    if is_standby:
        return "it is a standby server, which is read-only"
    if is_read_only:
        return "it is read-only"
    if not may_insert or not may_number:
        return f"its role may not insert into {TABLE}"
    return ""


def _sqlite_refusal(connection: BaseDatabaseWrapper) -> str:
    path = Path(connection.settings_dict["NAME"])
    # The write-ahead log is created beside the file.
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        return "its file or folder is read-only"
    try:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("ROLLBACK")
    except OperationalError as error:
        cause = error.__cause__
        code = cause.sqlite_errorcode if isinstance(cause, sqlite3.Error) else 0
        # Extended codes have the primary one in their lowest byte.
        if code & 0xFF == sqlite3.SQLITE_BUSY:
            return ""  # another connection is writing
        if code & 0xFF == sqlite3.SQLITE_READONLY:
            return "it is read-only"
        raise
    return ""
