"""The way from a plain table to partitions and back, while rows are written.

The table becomes the first partition of a new one that takes its name. Its rows are not moved, and
what takes long happens before or after, beside the writers: a CHECK constraint is validated that
proves in advance that every id fits the partition, and foreign keys are validated afterwards. In
between, the tables are locked for as long as the catalog changes. Each step finds out what is
there, so that a conversion that was interrupted is continued by the next one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from django.db import connection

from predictions.partitions import structure
from predictions.partitions.catalog import TABLE, Partition, find_layout
from predictions.partitions.errors import ConversionRefused
from predictions.partitions.growth import DEFAULT_ROWS, create_ahead, partition_name
from predictions.partitions.locking import attempt, exclusively, execute
from predictions.partitions.structure import ForeignKey

BOUND = "predictions_partition_bound"

Report = Callable[[str], object]


def convert(rows_per_partition: int | None = None, report: Report = lambda step: None) -> bool:
    """Turn the log into partitions, or finish what an earlier call has begun; whether it did.

    Raises PartitionsUnavailable, ConversionRefused or TableBusy; then the log is as it was, or
    partitioned, and can be converted again.
    """
    with exclusively():
        is_plain = find_layout(connection) is None
        if is_plain:
            structure.require_convertible(TABLE, BOUND)
            try:
                end_id = _prove_bound(rows_per_partition or DEFAULT_ROWS, report)
                report("the table becomes the first partition")
                attempt(lambda: _switch(end_id))
            finally:
                # Without the switch, rows beyond the bound would be refused.
                _drop_bound()
        has_finished = finish(report)
        create_ahead(rows_per_partition)
    return is_plain or has_finished


def finish(report: Report = lambda step: None) -> bool:
    """Validate the foreign keys that the switch has left unvalidated; whether there were any."""
    has_validated = _validate_foreign_keys(report)
    layout = find_layout(connection)
    names = {partition.name for partition in layout.partitions} if layout else set()
    of_partitions = [key for key in structure.foreign_keys(TABLE) if key.table in names]
    if not of_partitions:
        return has_validated
    # A table inherits no foreign key from its partitions, but adopts those that are the same.
    key = replace(of_partitions[0], table=TABLE)
    attempt(lambda: _add_foreign_key(key))
    return True


def revert(report: Report = lambda step: None) -> None:
    """Turn the log into a plain table again, if no partition but the first one has rows.

    Raises PartitionsUnavailable, ConversionRefused or TableBusy.
    """
    with exclusively():
        layout = find_layout(connection)
        if layout is None:
            raise ConversionRefused("The log is a plain table.")
        first, *others = layout.partitions
        if any(partition.times() != (None, None) for partition in others):
            raise ConversionRefused(
                "More than one partition has rows, which would have to be moved: dump the table and"
                " restore its rows into a plain one."
            )
        report("the first partition becomes the table")
        attempt(lambda: _switch_back(first, others))
        _validate_foreign_keys(report)


def _validate_foreign_keys(report: Report) -> bool:
    pending = execute(
        "SELECT quote_ident(conname), conrelid::regclass::text FROM pg_constraint"
        " WHERE contype = 'f' AND NOT convalidated AND conparentid = 0"
        " AND confrelid = %s::regclass ORDER BY conname",
        [TABLE],
    )
    for name, table in pending:
        report(f"the foreign key {name} is validated")
        execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
    return bool(pending)


def _last_id() -> int:
    found = execute(
        "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence(%s, 'id')::regclass), 0)",
        [TABLE],
    )
    return int(found[0][0])


def _prove_bound(rows: int, report: Report) -> int:
    """Make the constraint that every id is below the end of the first partition; that end.

    At least half a partition of ids is left, so that it is not reached meanwhile.
    """
    _drop_bound()
    end_id = -(-(_last_id() + rows // 2 + 1) // rows) * rows
    attempt(
        lambda: execute(
            f"ALTER TABLE {TABLE} ADD CONSTRAINT {BOUND} CHECK (id < {end_id}) NOT VALID"
        )
    )
    report(f"all ids are checked to be below {end_id}")
    execute(f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT {BOUND}")
    return end_id


def _drop_bound() -> None:
    has_bound = execute(
        "SELECT 1 FROM pg_constraint WHERE conrelid = %s::regclass AND conname = %s",
        [TABLE, BOUND],
    )
    if has_bound:
        attempt(lambda: execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {BOUND}"))


def _switch(end_id: int) -> None:
    """In a transaction: put a partitioned table in the place of the table, which becomes its first
    partition.
    """
    first = partition_name(None)
    own, incoming = _lock_with_related()
    indexes, triggers = structure.indexes(TABLE), structure.triggers(TABLE)
    details, primary_key = structure.Details.of(TABLE), structure.primary_key(TABLE)
    for key in incoming:
        execute(f"ALTER TABLE {key.table} DROP CONSTRAINT {key.name}")
    for trigger in triggers:
        execute(f"DROP TRIGGER {trigger.name} ON {TABLE}")
    _rename(TABLE, first, primary_key, f"{first}_pkey")
    for index in indexes:
        execute(f"ALTER INDEX {index.name} RENAME TO {index.name_in(first)}")
    execute(
        f"CREATE TABLE {TABLE} (LIKE {first} INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)"
        " PARTITION BY RANGE (id)"
    )
    execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT {BOUND}")
    details.give(TABLE)
    _move_numbers(first, TABLE)
    execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {primary_key} PRIMARY KEY (id)")
    # Instant on the empty table; attaching finds the same ones of the partition.
    for index in indexes:
        index.create()
    for key in own:
        _add_foreign_key(key)
    # No scan: the constraint that was validated proves that all ids fit.
    execute(
        f"ALTER TABLE {TABLE} ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO ({end_id})"
    )
    execute(f"ALTER TABLE {first} DROP CONSTRAINT {BOUND}")
    for key in incoming:
        # Before PostgreSQL 18, a partitioned table cannot have a key that is not validated.
        table = first if key.table == TABLE else key.table
        _add_foreign_key(replace(key, table=table), " NOT VALID")
    for trigger in triggers:
        trigger.create(TABLE)


def _switch_back(first: Partition, others: Sequence[Partition]) -> None:
    """In a transaction: put the first partition in the place of the table."""
    _, incoming = _lock_with_related()
    for partition in others:
        if execute(f"SELECT 1 FROM {partition.name} LIMIT 1"):  # noqa: S608 -- a name of the catalog
            raise ConversionRefused(f"The partition {partition.name} has got rows meanwhile.")
    names = {partition.name for partition in (first, *others)}
    indexes, triggers = structure.indexes(TABLE), structure.triggers(TABLE)
    details, primary_key = structure.Details.of(TABLE), structure.primary_key(TABLE)
    for key in incoming:
        if key.table not in names:
            execute(f"ALTER TABLE {key.table} DROP CONSTRAINT {key.name}")
    execute(f"ALTER TABLE {TABLE} DETACH PARTITION {first.name}")
    _move_numbers(TABLE, first.name)
    execute(f"DROP TABLE {TABLE}")
    _rename(first.name, TABLE, structure.primary_key(first.name), primary_key)
    for index in indexes:
        execute(f"ALTER INDEX {index.name_in(first.name)} RENAME TO {index.name}")
    details.give(TABLE)
    for key in incoming:
        if key.table not in names:
            _add_foreign_key(key, " NOT VALID")
    for trigger in triggers:
        trigger.create(TABLE)


def _lock_with_related() -> tuple[Sequence[ForeignKey], Sequence[ForeignKey]]:
    """Lock the table and those that its foreign keys connect it with; its keys to other tables, and
    the keys that refer to it.

    The table itself is locked last: its writers wait for nothing but it.
    """
    keys = structure.foreign_keys(TABLE)
    own = [key for key in keys if key.referenced != TABLE]
    incoming = [key for key in keys if key.referenced == TABLE]
    for table in sorted({key.referenced for key in own}):
        execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
    for table in sorted({key.table for key in incoming} - {TABLE}):
        execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
    return own, incoming


def _add_foreign_key(key: ForeignKey, suffix: str = "") -> None:
    execute(f"ALTER TABLE {key.table} ADD CONSTRAINT {key.name} {key.definition}{suffix}")


def _rename(table: str, new: str, primary_key: str, new_primary_key: str) -> None:
    execute(f"ALTER TABLE {table} RENAME TO {new}")
    execute(f"ALTER TABLE {new} RENAME CONSTRAINT {primary_key} TO {new_primary_key}")


def _move_numbers(old: str, new: str) -> None:
    """Let the ids of the new table go on where those of the old one end.

    They come from a sequence that the column owns: before PostgreSQL 17, the partitions of a table
    with an identity column have none.
    """
    sequence, identity = execute(
        "SELECT pg_get_serial_sequence(%s, 'id'), attidentity FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attname = 'id'",
        [old, old],
    )[0]
    if identity:
        last, is_called = execute(f"SELECT last_value, is_called FROM {sequence}")[0]  # noqa: S608
        details = structure.Details.of(sequence)
        execute(f"ALTER TABLE {old} ALTER COLUMN id DROP IDENTITY")
        execute(f"CREATE SEQUENCE {sequence} AS bigint")
        execute("SELECT setval(%s, %s, %s)", [sequence, last, is_called])
        details.give(sequence)
    else:
        execute(f"ALTER TABLE {old} ALTER COLUMN id DROP DEFAULT")
    execute(f"ALTER SEQUENCE {sequence} OWNED BY {new}.id")
    execute(f"ALTER TABLE {new} ALTER COLUMN id SET DEFAULT nextval('{sequence}')")
