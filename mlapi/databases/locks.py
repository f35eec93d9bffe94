"""A lock between processes, for work on a database that must not be done twice at once."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from mlapi.databases.probes import separate_connection


@contextmanager
def process_lock(name: str, *, using: str, on_wait: Callable[[], object]) -> Iterator[None]:
    """Hold the lock `name` of a database; calls `on_wait` if another process holds it.

    The lock ends with the process, however that ends. On PostgreSQL it holds for all machines, on
    SQLite for all processes that see the same folder.
    """
    connection = connections[using]
    lock = _postgresql_lock if connection.vendor == "postgresql" else _file_lock
    with lock(connection, name, on_wait):
        yield


@contextmanager
def _postgresql_lock(
    connection: BaseDatabaseWrapper, name: str, on_wait: Callable[[], object]
) -> Iterator[None]:
    """An advisory lock of a transaction: behind PgBouncer, one of a session would go astray."""
    with separate_connection(connection) as other, other.cursor() as cursor:
        # It waits for as long as the other process works, and then idles while this one does.
        for timeout in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            cursor.execute(f"SET LOCAL {timeout} = 0")
        key = f"mlapi {name}"
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [key])
        if not cursor.fetchone()[0]:
            on_wait()
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
        yield


@contextmanager
def _file_lock(
    connection: BaseDatabaseWrapper, name: str, on_wait: Callable[[], object]
) -> Iterator[None]:
    """A lock on a file beside the database, which exists only while somebody holds the lock."""
    path = Path(f"{connection.settings_dict['NAME']}-{name}")
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_at(path, descriptor):
                # The holder before has removed it, and another process may lock a new one.
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False
