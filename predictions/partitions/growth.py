"""Partitions made before they are needed: a row without one would be refused."""

from functools import partial

from django.db import connection

from predictions.partitions.catalog import KEPT_AHEAD, TABLE, find_layout
from predictions.partitions.locking import attempt, execute, execute_all
from predictions.partitions.structure import Details

DEFAULT_ROWS = 50_000_000
MIN_ROWS, MAX_ROWS = 1000, 10**12
# Not the lock of `exclusively`, which may be held for hours, by an archive.
LOCK_ID = 0x6D6C7067


def create_ahead(rows_per_partition: int | None = None, *, ahead: int = KEPT_AHEAD) -> list[str]:
    """Create what is missing of the partitions ahead; their names. Does nothing for a plain table.

    New ones are as large as the newest unless `rows_per_partition` says otherwise. Raises
    TableBusy or PartitionsUnavailable.
    """
    created: list[str] = []
    while (layout := find_layout(connection)) is not None and layout.ahead < ahead:
        if name := attempt(partial(_create_next, rows_per_partition, ahead)):
            created.append(name)
    if created:
        # Autovacuum analyses partitions, but never the table that has them.
        execute(f"ANALYZE {TABLE}")
    return created


def partition_name(first_id: int | None) -> str:
    return f"{TABLE}_from_{first_id or 0}"


def _create_next(rows_per_partition: int | None, ahead: int) -> str | None:
    """In a transaction: create the next partition, unless another process was faster; its name."""
    execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_ID])
    layout = find_layout(connection)
    if layout is None or layout.ahead >= ahead:
        return None
    rows = rows_per_partition or layout.rows_per_partition or DEFAULT_ROWS
    first_id = layout.end_id
    if first_id + rows <= layout.last_id:
        # The partitions are full: the next one begins where rows are refused now.
        rows = layout.last_id + rows - first_id
    name = partition_name(first_id)
    options = execute(
        "SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = %s::regclass",
        [layout.partitions[-1].name] if layout.partitions else [TABLE],
    )[0][0]

    # Created apart and then attached: unlike PARTITION OF, that keeps nobody from reading, and
    # writers wait only while the catalog changes.
    execute_all(
        [
            f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)"
            + (f" WITH ({options})" if options else ""),
            f"ALTER TABLE {name} OWNER TO {Details.of(TABLE).owner}",
            f"ALTER TABLE {TABLE} ATTACH PARTITION {name}"
            f" FOR VALUES FROM ({first_id}) TO ({first_id + rows})",
        ]
    )
    return name
