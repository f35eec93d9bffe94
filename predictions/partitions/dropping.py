"""Partitions dropped whole, instead of deleting their rows one by one."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db import connection

from predictions.models import Prediction
from predictions.partitions.catalog import TABLE, Partition, find_layout
from predictions.partitions.discarding import leftover
from predictions.partitions.locking import execute, execute_all

# How long writers may wait while PostgreSQL makes sure that nothing refers to a dropped row.
CHECK_MILLISECONDS = 3000

NEWEST = """
    SELECT * FROM (
        SELECT version.id, (
            SELECT max(created_at) FROM {partition} WHERE model_id = version.id
        ) AS newest FROM model_versions version
    ) AS versions WHERE newest IS NOT NULL
"""
# From hour to hour through the index of the lists: there are far fewer hours than rows.
HOURS = """
    WITH RECURSIVE hours (model_id, hour) AS (
        SELECT version.id, (
            SELECT date_trunc('hour', min(created_at), 'UTC') FROM {partition}
            WHERE model_id = version.id
        ) FROM model_versions version
        UNION ALL
        SELECT hours.model_id, (
            SELECT date_trunc('hour', min(created_at), 'UTC') FROM {partition} AS row
            WHERE row.model_id = hours.model_id AND row.created_at >= hours.hour + interval '1 hour'
        ) FROM hours WHERE hour IS NOT NULL
    )
    SELECT model_id, hour FROM hours WHERE hour IS NOT NULL
"""


def closed_partitions() -> list[Partition] | None:
    """Those that get no more rows, oldest first; None if the log is a plain table.

    Raises PartitionsUnavailable.
    """
    layout = find_layout(connection)
    if layout is None:
        return None
    return [partition for partition in layout.partitions if partition.end_id <= layout.last_id + 1]


def newest_by_version(partition: Partition) -> Mapping[int, datetime]:
    """When the newest row of each version in it was made, by the version's id."""
    return dict(execute(NEWEST.format(partition=partition.name)))


def rows_by_version(partition: Partition) -> Mapping[int, int]:
    """How many rows of each version it has. Reads all of it."""
    counts = f"SELECT model_id, count(*) FROM {partition.name} GROUP BY model_id"  # noqa: S608
    return dict(execute(counts))


def hours_of(partition: Partition) -> Iterable[tuple[int, datetime]]:
    """The hours in which it has rows, each with the version's id."""
    return execute(HOURS.format(partition=partition.name))


def delete_outcomes_and_results(partition: Partition, max_rows: int) -> int:
    """Delete a chunk of the rows of other tables that refer to it; how many."""
    for relation in Prediction._meta.related_objects:
        related = relation.related_model
        if related is Prediction:
            continue
        table, column = related._meta.db_table, relation.field.column
        within = partition.condition.format(id=column)
        deleted = execute(
            f"WITH deleted AS (DELETE FROM {table} WHERE ctid = ANY (ARRAY("  # noqa: S608
            f"SELECT ctid FROM {table} WHERE {within} LIMIT {max_rows} FOR UPDATE)) RETURNING 1)"
            " SELECT count(*) FROM deleted"
        )[0][0]
        if deleted:
            return int(deleted)
    return 0


def keep_unchanged(partition: Partition) -> None:
    """In a transaction: let nobody write to the partition until it ends, and wait for those who do.

    Somebody may have taken ids of a partition that is full by now, and commit their rows later.
    """
    execute(f"LOCK TABLE ONLY {partition.name} IN SHARE MODE")


def drop(partition: Partition) -> None:
    """In a transaction of `attempt`: take the partition out of the log, to be discarded.

    PostgreSQL checks with the tables locked that no row refers to one of the partition; if that
    takes longer than CHECK_MILLISECONDS, it raises OperationalError.

    Not CONCURRENTLY: a partition that is detached by one transaction, while the audit trail says so
    in another, could be missing from the log with no record of it.
    """
    # Now, since a table with deferred checks cannot be altered.
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute(f"SET LOCAL statement_timeout = {CHECK_MILLISECONDS}")
    execute_all(
        [
            *(f"LOCK TABLE {table} IN SHARE MODE" for table in referring_tables()),
            f"LOCK TABLE ONLY {TABLE} IN ACCESS EXCLUSIVE MODE",
            f"ALTER TABLE {TABLE} DETACH PARTITION {partition.name}",
            f"ALTER TABLE {partition.name} RENAME TO {leftover(partition.first_id or 0)}",
        ]
    )


def referring_tables() -> list[str]:
    """The other tables whose foreign keys refer to the log."""
    related = (relation.related_model for relation in Prediction._meta.related_objects)
    return sorted({model._meta.db_table for model in related} - {TABLE})
