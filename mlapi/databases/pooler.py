"""Whether a connection pooler between the service and PostgreSQL mixes what its clients keep.

A pooler in transaction mode gives each transaction any of its server connections. A prepared
statement stays in one of them under its name, which other clients use for their own statements: a
client then runs another's statement, without an error. PgBouncer keeps the names apart since 1.21,
unless `max_prepared_statements` is 0.
"""

from contextlib import ExitStack

import psycopg
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from registry.locks.separate_connections import separate_connection

# Both clients run their statement, in an order in which neither keeps a server connection of two.
TURNS = "abaabbabbbaaabab"
NAME_TAKEN, NAME_UNKNOWN = "42P05", "26000"

SHARED_CONNECTIONS = (
    "DATABASE_URL leads to a connection pooler in transaction mode: set DB_POOLER=pgbouncer, or"
    " DB_POOLER=unprepared for PgBouncer before 1.21"
)
MIXED_STATEMENTS = (
    "The connection pooler at DATABASE_URL mixes the prepared statements of its clients: set"
    " DB_POOLER=unprepared, or use PgBouncer 1.21 or later with max_prepared_statements above 0"
)


class PoolerMisconfigured(Exception):
    """DB_POOLER does not fit the pooler; the message says what to set."""


def check_pooler(connection: BaseDatabaseWrapper) -> None:
    """Raise PoolerMisconfigured if answers could get mixed up; raises Django's database errors.

    Two clients prepare different statements, to which psycopg gives the same name, and run them in
    turns. A database other than PostgreSQL, and DB_POOLER=unprepared, need no check.
    """
    if connection.vendor != "postgresql":
        return
    if connection.settings_dict["OPTIONS"].get("prepare_threshold") is None:
        return
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(separate_connection(connection, timeout_seconds=10))
            for name in set(TURNS)
        }
        backends: dict[str, set[int]] = {name: set() for name in clients}
        for client in clients.values():
            client.set_autocommit(True)
        for name in TURNS:
            backends[name].add(_run(clients[name], name))
    shares_connections = bool(set.intersection(*backends.values()))
    if shares_connections and not connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"]:
        raise PoolerMisconfigured(SHARED_CONNECTIONS)


def _run(client: BaseDatabaseWrapper, name: str) -> int:
    """Run the client's prepared statement, and return the server process that ran it."""
    statement = f"SELECT '{name}', pg_backend_pid()"
    try:
        with client.wrap_database_errors, psycopg.Cursor(client.connection) as cursor:
            answer, backend = cursor.execute(statement, prepare=True).fetchone() or ("", 0)
    except DatabaseError as error:
        cause = error.__cause__
        if isinstance(cause, psycopg.Error) and cause.sqlstate in (NAME_TAKEN, NAME_UNKNOWN):
            raise PoolerMisconfigured(MIXED_STATEMENTS) from error
        raise
    if answer != name:
        raise PoolerMisconfigured(MIXED_STATEMENTS)
    return int(backend)
