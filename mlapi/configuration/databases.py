"""Reads DATABASE_URL and the pool's settings into an entry of Django's DATABASES."""

import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import environ
from django.core.exceptions import ImproperlyConfigured

from mlapi.configuration.environment import Environment, invalid_value
from mlapi.configuration.postgresql.bounded import BoundedConnection, limit_statements

DatabaseSettings: TypeAlias = dict[str, Any]
SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
SQLITE_BUSY_TIMEOUT_SECONDS = 20
CONNECT_TIMEOUT_SECONDS = 10
# With psycopg's default of 300 s, requests still fail for seconds after the database is back.
RECONNECT_TIMEOUT_SECONDS = 2

# Find out that the server's machine is gone, even while waiting for nothing.
TCP_OPTIONS = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# So large that no statement is prepared automatically.
NO_AUTOMATIC_PREPARE = 2**31

# What stands between the service and PostgreSQL: nothing that shares connections between clients
# while they are open; PgBouncer in transaction mode that keeps prepared statements of clients
# apart; or a pooler that does not.
POOLERS = ("none", "pgbouncer", "unprepared")

EXPECTED = (
    "postgresql://user:password@host:5432/name or sqlite:///file"
    " (special characters in user and password as %-escapes)"
)


def read_database(environment: Environment, *, base_dir: Path) -> DatabaseSettings:
    """The `default` database, from DATABASE_URL and the DB_* variables."""
    url = environment.text("DATABASE_URL", "sqlite:///db.sqlite3")
    pool_size = environment.integer("DB_POOL_SIZE", "10", minimum=1, maximum=1000)
    overflow = environment.integer("DB_MAX_OVERFLOW", "20", maximum=1000)
    pool: dict[str, object] = {
        "min_size": pool_size,
        "max_size": pool_size + overflow,
        "timeout": environment.integer("DB_POOL_TIMEOUT", "3", minimum=1, maximum=3600),
        "max_lifetime": environment.integer("DB_POOL_RECYCLE", "3600", minimum=1),
        "reconnect_timeout": RECONNECT_TIMEOUT_SECONDS,
        "connection_class": BoundedConnection,
    }
    pooler = environment.choice("DB_POOLER", "none", POOLERS)
    # A driver in the scheme, such as postgresql+asyncpg, is accepted for compatibility and ignored.
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if separator and re.fullmatch(r"sqlite(\+(aiosqlite|pysqlite))?", scheme):
        return _sqlite(rest, base_dir=base_dir)
    if separator and re.fullmatch(r"postgres(ql)?(\+(asyncpg|psycopg|psycopg2))?", scheme):
        return _postgresql(rest, pool=pool, pooler=pooler)
    raise invalid_value("DATABASE_URL", url, EXPECTED)


def _sqlite(rest: str, *, base_dir: Path) -> DatabaseSettings:
    path, _, query = rest.partition("?")
    name = unquote(path.removeprefix("/"))
    # With a database in memory, every thread would have its own.
    if not path.startswith("/") or not name or name == ":memory:" or query:
        raise invalid_value("DATABASE_URL", rest, EXPECTED)
    return {
        "ENGINE": "mlapi.configuration.sqlite",
        "NAME": base_dir / name,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            # A deferred transaction that reads and then writes fails under concurrency with
            # "database is locked", regardless of the timeout.
            "transaction_mode": "IMMEDIATE",
            "timeout": SQLITE_BUSY_TIMEOUT_SECONDS,
            "init_command": SQLITE_PRAGMAS,
        },
        # A file: an in-memory test database ignores the busy timeout.
        "TEST": {"NAME": _test_database()},
    }


def _test_database() -> Path:
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        # No folder is writable. Only tests need one for this.
        folder = ""
    return Path(folder) / f"mlapi-test-{os.getpid()}.sqlite3"


def _postgresql(rest: str, *, pool: dict[str, object], pooler: str) -> DatabaseSettings:
    try:
        with warnings.catch_warnings(action="ignore"):
            parsed = environ.Env.db_url_config(f"postgres://{rest}")
    except (ValueError, ImproperlyConfigured):
        raise invalid_value("DATABASE_URL", rest, EXPECTED) from None
    if not parsed["NAME"]:
        raise invalid_value("DATABASE_URL", rest, EXPECTED)
    return {
        **parsed,
        "ENGINE": "mlapi.configuration.postgresql",
        # The pool keeps connections open; Django rejects a pool with persistent connections.
        "CONN_MAX_AGE": 0,
        # A cursor lives in one server connection, and a pooler may change it with every statement.
        "DISABLE_SERVER_SIDE_CURSORS": pooler != "none",
        "OPTIONS": {
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            **TCP_OPTIONS,
            # Django's default of None forbids prepared statements; the recorder prepares its own.
            "prepare_threshold": None if pooler == "unprepared" else NO_AUTOMATIC_PREPARE,
            **parsed.get("OPTIONS", {}),
            "pool": pool,
        },
    }


def bound_requests(database: DatabaseSettings, *, statement_seconds: int) -> None:
    """Let no statement of this process take longer, nor wait longer for SQLite's lock.

    For a server, before it connects. Commands such as migrations and imports may take longer.
    """
    if "pool" in database["OPTIONS"]:
        limit_statements(statement_seconds)
    else:
        database["OPTIONS"]["timeout"] = min(statement_seconds, SQLITE_BUSY_TIMEOUT_SECONDS)
