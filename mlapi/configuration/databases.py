"""DATABASE_URL and the pool's settings, as Django's DATABASES wants them."""

import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import environ
from django.core.exceptions import ImproperlyConfigured

from mlapi.configuration.environment import Environment, improper

SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
SQLITE_BUSY_TIMEOUT_SECONDS = 20
CONNECT_TIMEOUT_SECONDS = 10
# psycopg's own default of 300 s lets requests fail for seconds after the database is back.
RECONNECT_TIMEOUT_SECONDS = 2

NEVER_UNASKED = 2**31

TAKES = (
    "postgresql://user:password@host:5432/name or sqlite:///file"
    " (with %-escapes for special characters in user and password)"
)


def read_database(environment: Environment, *, base_dir: Path) -> dict[str, Any]:
    """The `default` database of the environment: DATABASE_URL and the DB_* variables."""
    url = environment.text("DATABASE_URL", "sqlite:///db.sqlite3")
    pool_size = environment.integer("DB_POOL_SIZE", "10", minimum=1, maximum=1000)
    overflow = environment.integer("DB_MAX_OVERFLOW", "20", maximum=1000)
    pool = {
        "min_size": pool_size,
        "max_size": pool_size + overflow,
        "timeout": environment.integer("DB_POOL_TIMEOUT", "30", minimum=1, maximum=3600),
        "max_lifetime": environment.integer("DB_POOL_RECYCLE", "3600", minimum=1),
        "reconnect_timeout": RECONNECT_TIMEOUT_SECONDS,
    }
    # Drivers are the guide's spelling (postgresql+asyncpg); which one is used is decided here.
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if separator and re.fullmatch(r"sqlite(\+(aiosqlite|pysqlite))?", scheme):
        return _sqlite(rest, base_dir=base_dir)
    if separator and re.fullmatch(r"postgres(ql)?(\+(asyncpg|psycopg|psycopg2))?", scheme):
        return _postgresql(rest, pool=pool)
    raise improper("DATABASE_URL", url, TAKES)


def _sqlite(rest: str, *, base_dir: Path) -> dict[str, Any]:
    path, _, query = rest.partition("?")
    name = unquote(path.removeprefix("/"))
    # A database in memory would be another one for every thread.
    if not path.startswith("/") or not name or name == ":memory:" or query:
        raise improper("DATABASE_URL", rest, TAKES)
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": base_dir / name,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            # A deferred transaction that reads first and then writes fails under concurrency
            # with "database is locked", whatever the timeout.
            "transaction_mode": "IMMEDIATE",
            "timeout": SQLITE_BUSY_TIMEOUT_SECONDS,
            "init_command": SQLITE_PRAGMAS,
        },
        # A file: the in-memory database of a test run ignores the busy timeout.
        "TEST": {"NAME": Path(tempfile.gettempdir()) / f"mlapi-test-{os.getpid()}.sqlite3"},
    }


def _postgresql(rest: str, *, pool: dict[str, int]) -> dict[str, Any]:
    try:
        with warnings.catch_warnings(action="ignore"):
            parsed = environ.Env.db_url_config(f"postgres://{rest}")
    except (ValueError, ImproperlyConfigured):
        raise improper("DATABASE_URL", rest, TAKES) from None
    if not parsed["NAME"]:
        raise improper("DATABASE_URL", rest, TAKES)
    return {
        **parsed,
        "ENGINE": "mlapi.configuration.postgresql",
        # The pool keeps the connections; Django refuses to keep them as well.
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            # Django's None would forbid what the recorder asks for; nothing is prepared unasked.
            "prepare_threshold": NEVER_UNASKED,
            **parsed.get("OPTIONS", {}),
            "pool": pool,
        },
    }
