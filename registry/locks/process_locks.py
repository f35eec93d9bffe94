"""A lock between processes, for work that must not be done twice at once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from registry.locks.file_locks import locked_file
from registry.locks.separate_connections import separate_connection


class LockHeld(Exception):
    """Another process holds the lock."""


def refuse_to_wait() -> None:
    """For `on_wait`: raises LockHeld."""
    raise LockHeld


@contextmanager
def process_lock(
    name: str, *, using: str = DEFAULT_DB_ALIAS, on_wait: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Hold the lock `name` of a database; calls `on_wait` before it waits for another holder.

    What `on_wait` raises ends the attempt. The lock ends with the process, however that ends. On
    PostgreSQL it holds for all machines, on SQLite for all processes that see the same folder. It
    also keeps apart the threads of a process. Raises Django's database errors.
    """
    connection = connections[using]
    lock = _postgresql_lock if connection.vendor == "postgresql" else _file_lock
    with lock(connection, name, on_wait):
        yield


@contextmanager
def _postgresql_lock(
    connection: BaseDatabaseWrapper, name: str, on_wait: Callable[[], object]
) -> Iterator[None]:
    """An advisory lock of a transaction: PgBouncer does not keep sessions apart."""
    with separate_connection(connection) as other, other.cursor() as cursor:
        # The transaction waits while the other process works, and idles while this one does.
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
    """A lock on a file beside the database."""
    path = Path(f"{connection.settings_dict['NAME']}-{name}")
    with ExitStack() as stack:
        try:
            stack.enter_context(locked_file(path, on_wait=on_wait))
        except OSError as error:
            # SQLite says the same of the files that it needs beside the database.
            raise OperationalError(f"unable to open the lock {path.name}: {error}") from error
        yield
