"""Connections to the database that are outside the pool."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def separate_connection(
    connection: BaseDatabaseWrapper, *, timeout_seconds: int | None = None
) -> Iterator[BaseDatabaseWrapper]:
    """Another connection to the same database, outside the pool, closed at the end.

    On PostgreSQL it is in a transaction, which is rolled back. `timeout_seconds` limits how long
    connecting takes and, on SQLite, how long a statement waits for another writer.
    """
    other = connection.copy()
    options: dict[str, object] = other.settings_dict["OPTIONS"]
    is_postgresql = other.vendor == "postgresql"
    if is_postgresql:
        options.pop("pool", None)
    if timeout_seconds is not None:
        options["connect_timeout" if is_postgresql else "timeout"] = timeout_seconds
    try:
        if is_postgresql:
            other.set_autocommit(False)
        yield other
    finally:
        # A connection that the server has closed cannot be closed properly.
        with suppress(DatabaseError):
            if is_postgresql:
                # Behind PgBouncer, a transaction that is only cut off ends a little later, and its
                # locks with it.
                other.rollback()
            other.close()
