"""Changes of tables that writers never wait long for."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from django.db import DatabaseError, OperationalError, connection, transaction

from predictions.partitions.errors import PartitionsUnavailable, TableBusy

Result = TypeVar("Result")

# How long writers may wait behind an attempt to get a lock. Below PostgreSQL's deadlock_timeout of
# 1 s: an attempt that is part of a deadlock gives up before a writer is chosen as its victim.
LOCK_MILLISECONDS = 400
AUTOVACUUM_MILLISECONDS = 30_000
ATTEMPTS = 60
# Between attempts, so that those who have waited can go on.
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 1.5
# Keeps this advisory lock apart from other applications' locks in the same database.
LOCK_ID = 0x6D6C7074


def execute(statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Run a statement; its rows, none if it returns nothing."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def execute_all(statements: Sequence[str]) -> None:
    """Run statements without parameters, sent to the server at once."""
    execute("; ".join(statements))


def attempt(
    change: Callable[[], Result], *, tables: Sequence[str] = (), attempts: int = ATTEMPTS
) -> Result:
    """Run `change` in a transaction that gives up rather than wait long for a lock, until it gets
    all its locks; raises TableBusy.

    `tables` are those that autovacuum may be working on. It gives way, but only after
    deadlock_timeout; nobody else waits behind the lock for which it is asked.
    """
    for number in range(attempts):
        if number:
            _pause()
        try:
            with transaction.atomic():
                execute(f"SET LOCAL lock_timeout = {AUTOVACUUM_MILLISECONDS}")
                for table in tables:
                    execute(f"LOCK TABLE ONLY {table} IN SHARE UPDATE EXCLUSIVE MODE")
                execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
                return change()
        except OperationalError as error:
            if not _is_lock_timeout(error):
                raise
    raise TableBusy(f"A lock was not free in {attempts} attempts: a transaction is open for long")


def _pause() -> None:
    time.sleep(random.uniform(MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS))  # noqa: S311 -- no secret


def _is_lock_timeout(error: OperationalError) -> bool:
    return isinstance(
        error.__cause__, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected
    )


@contextmanager
def exclusively() -> Iterator[None]:
    """Keep other processes from changing partitions; raises PartitionsUnavailable if one does.

    The lock is that of a transaction on a connection of its own: behind PgBouncer, the lock of a
    session could end up with another client.
    """
    if connection.vendor != "postgresql":
        raise PartitionsUnavailable("Only PostgreSQL has partitions.")
    other = connection.copy()
    other.settings_dict["OPTIONS"].pop("pool", None)
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            # Idle until the work is done.
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK_ID])
            if not cursor.fetchone()[0]:
                raise PartitionsUnavailable("Another process is changing the partitions.")
        yield
    finally:
        with suppress(DatabaseError):
            other.close()
