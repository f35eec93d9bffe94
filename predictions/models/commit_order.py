"""In which order the rows of the log were committed, as far as PostgreSQL knows it.

A row's transaction id says when its transaction began to write, and a snapshot says below which id
every transaction has ended. Rows below that horizon are complete: none can appear among them later.
Times cannot tell this, because they are taken before the commit. On SQLite, which has one writer at
a time, the order of ids is the order of commits.

A database that is restored into a new cluster has rows with higher ids than the cluster gives out.
So that the numbers go on rising, an offset is added to them, in a function of the database.
"""

import time
from typing import Any

from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, Func
from django.db.models.sql.compiler import SQLCompiler

POLL_SECONDS = 0.05
OFFSET_FUNCTION = "mlapi_transaction_offset"
CURRENT = f"(pg_current_xact_id()::text::bigint + {OFFSET_FUNCTION}())"
HORIZON = f"(pg_snapshot_xmin(pg_current_snapshot())::text::bigint + {OFFSET_FUNCTION}())"
# The id that the next transaction gets.
NEXT = f"(pg_snapshot_xmax(pg_current_snapshot())::text::bigint + {OFFSET_FUNCTION}())"


class _PostgreSQLNumber(Func):
    """A number that only PostgreSQL knows; elsewhere it is 0."""

    sql = ""
    arity = 0
    output_field = BigIntegerField()

    def as_sql(  # type: ignore[override]
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        return "0", ()

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        return self.sql, ()


class CurrentTransaction(_PostgreSQLNumber):
    """The number of the transaction that inserts a row."""

    sql = CURRENT


class Horizon(_PostgreSQLNumber):
    """Every transaction with a lower number has ended."""

    sql = HORIZON


def horizon(using: str) -> int:
    """Every transaction with a lower number has ended; 0 on SQLite."""
    if connections[using].vendor != "postgresql":
        return 0
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {HORIZON}")
        return int(cursor.fetchone()[0])


def await_horizon(using: str, *, max_seconds: float) -> tuple[int, bool]:
    """The horizon, and whether all that was committed before this call is below it.

    Waits at most this long for the transactions that are open now to end. Does not wait inside a
    transaction, which would wait for itself.
    """
    if connections[using].vendor != "postgresql":
        return 0, True
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {NEXT}")
        target = int(cursor.fetchone()[0])
    give_up_at = time.monotonic() + max_seconds
    while (reached := horizon(using)) < target:
        if connections[using].in_atomic_block or time.monotonic() >= give_up_at:
            return reached, False
        time.sleep(POLL_SECONDS)
    return reached, True


def create_offset_function(offset: int = 0) -> str:
    """The statement that creates or replaces the function that returns the offset."""
    return (
        f"CREATE OR REPLACE FUNCTION {OFFSET_FUNCTION}() RETURNS bigint LANGUAGE sql IMMUTABLE"
        f" PARALLEL SAFE AS 'SELECT {int(offset)}::bigint'"
    )


def has_rows_from_the_future(table: str, connection: BaseDatabaseWrapper) -> bool:
    """Whether the table has higher numbers than were given out, as after a restore."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max(transaction_id) >= {NEXT} FROM {table}")  # noqa: S608
        return bool(cursor.fetchone()[0])


def continue_numbers(model: type[models.Model], using: str) -> bool:
    """Raise the offset above the numbers of a restored table; returns whether that was necessary.

    Rows that were written since the restore are numbered anew, so that followers of the log get
    them. Does nothing on SQLite, nor before the migration that adds the numbers.
    """
    table = model._meta.db_table
    if not _has_numbers(using) or not has_rows_from_the_future(table, connections[using]):
        return False
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(
            f"SELECT max(transaction_id), (SELECT max(id) FROM {table}"  # noqa: S608
            f" WHERE transaction_id >= {NEXT}) FROM {table}"
        )
        highest, last_restored = cursor.fetchone()
        cursor.execute(create_offset_function(highest))
        cursor.execute(
            f"UPDATE {table} SET transaction_id = {CURRENT} WHERE id > %s",  # noqa: S608
            [last_restored],
        )
    return True


def _has_numbers(using: str) -> bool:
    if connections[using].vendor != "postgresql":
        return False
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT to_regprocedure(%s) IS NOT NULL", [f"{OFFSET_FUNCTION}()"])
        return bool(cursor.fetchone()[0])
