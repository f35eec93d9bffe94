"""Tables that are no longer part of the log, and wait to be dropped.

A table that has foreign keys cannot be dropped while predictions are made: PostgreSQL would lock
the tables to which they refer, all at once, while statements that hold one of them wait for
another. So the table is first renamed, in the transaction that takes it out of the log; then its
foreign keys are dropped one after the other, each with a lock on one other table, and then the
table. Retention continues what was interrupted, and so does whoever drops something next.
"""

from functools import partial

from predictions.partitions import structure
from predictions.partitions.catalog import TABLE
from predictions.partitions.locking import attempt, execute

PREFIX = f"{TABLE}_dropped_"
LEFTOVERS = """
    SELECT relname FROM pg_class
    WHERE starts_with(relname, %s) AND relkind IN ('r', 'p') AND NOT relispartition
        AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = %s::regclass)
"""


def leftover(what: object) -> str:
    """The name of a table that waits to be dropped."""
    return f"{PREFIX}{what}"


def find_leftovers() -> list[str]:
    """The tables that wait to be dropped."""
    return [table for (table,) in execute(LEFTOVERS, [PREFIX, TABLE])]


def discard_leftovers() -> None:
    """Drop what waits to be dropped; raises TableBusy."""
    for table in find_leftovers():
        for key in structure.foreign_keys(table):
            if key.table == table:
                attempt(partial(execute, f"ALTER TABLE {table} DROP CONSTRAINT {key.name}"))
        attempt(partial(execute, f"DROP TABLE {table}"))
