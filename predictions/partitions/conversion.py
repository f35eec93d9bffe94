"""Turns a plain table into partitions, and back, while rows are written.

The table becomes the first partition of a new one that takes its name. Its rows are not moved, and
what takes long happens before or after, beside the writers: a CHECK constraint is validated that
proves in advance that every id fits the partition, and foreign keys are validated afterwards. In
between, the tables are locked for as long as the catalog changes. Each step looks at what is there,
so that the next conversion continues one that was interrupted.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from django.db import connection

from predictions.partitions import structure
from predictions.partitions.catalog import TABLE, Partition, find_layout
from predictions.partitions.discarding import discard_leftovers, leftover
from predictions.partitions.errors import ConversionRefused
from predictions.partitions.growth import DEFAULT_ROWS, create_ahead, partition_name
from predictions.partitions.locking import attempt, exclusively, execute, execute_all
from predictions.partitions.structure import ForeignKey

BOUND = "predictions_partition_bound"
NUMBERS = "predictions_partition_numbers"

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
                attempt(lambda: _switch(end_id), tables=_tables())
            finally:
                # Without the switch, rows beyond the bound would be refused.
                _drop_bound()
        # First: the worker creates what is missing, too, but in another size.
        create_ahead(rows_per_partition)
        has_finished = finish(report)
    return is_plain or has_finished


def finish(report: Report = lambda step: None) -> bool:
    """Validate the foreign keys that the switch has left unvalidated, and give the table those that
    only its first partition has; whether there were any.
    """
    discard_leftovers()
    has_validated = _validate_foreign_keys(report)
    layout = find_layout(connection)
    if layout is None or not layout.partitions:
        return has_validated
    first = layout.partitions[0].name
    keys = [key for key in structure.foreign_keys(first) if key.table == first]
    for key in keys:
        attempt(partial(_adopt, key))
    return has_validated or bool(keys)


def _adopt(key: ForeignKey) -> None:
    """In a transaction: give the table a foreign key, of which its partition's becomes a part.

    For that, PostgreSQL locks the referenced table as for DROP. It is locked first, as by the
    statement that records predictions: in the other order they would wait for each other.
    """
    execute_all(
        [
            f"LOCK TABLE ONLY {key.referenced} IN ACCESS EXCLUSIVE MODE",
            f"LOCK TABLE ONLY {TABLE} IN SHARE ROW EXCLUSIVE MODE",
            _add_foreign_key(replace(key, table=TABLE)),
        ]
    )


def revert(report: Report = lambda step: None) -> None:
    """Turn the log into a plain table again, if no partition but the first one has rows; or finish
    what an earlier call has begun.

    Raises PartitionsUnavailable, ConversionRefused or TableBusy.
    """
    with exclusively():
        layout = find_layout(connection)
        if layout is None:
            if finish(report):
                return
            raise ConversionRefused("The log is a plain table.")
        # Those of an earlier conversion that was interrupted would have the names of these.
        discard_leftovers()
        first, *others = layout.partitions
        if any(partition.times() != (None, None) for partition in others):
            raise ConversionRefused(
                "More than one partition has rows, which would have to be moved: dump the table and"
                " restore its rows into a plain one."
            )
        report("the first partition becomes the table")
        attempt(lambda: _switch_back(first, others), tables=[first.name])
        discard_leftovers()
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
    last_id = _last_id()
    highest = execute(f"SELECT max(id) FROM {TABLE}")[0][0] or 0  # noqa: S608
    # The sequence is read again, since rows may have been written after it was read first.
    if highest > max(last_id, _last_id()):
        raise ConversionRefused(
            f"The highest id is {highest}, but the sequence of the ids is at {last_id}, so that it"
            " would give out ids that are in use. Set it first: SELECT"
            f" setval(pg_get_serial_sequence('{TABLE}', 'id'), {highest})"
        )
    end_id = -(-(last_id + rows // 2 + 1) // rows) * rows
    add = f"ALTER TABLE {TABLE} ADD CONSTRAINT {BOUND} CHECK (id < {end_id}) NOT VALID"
    attempt(lambda: execute(add), tables=[TABLE])
    report(f"all ids are checked to be below {end_id}")
    execute(f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT {BOUND}")
    return end_id


def _drop_bound() -> None:
    has_bound = execute(
        "SELECT 1 FROM pg_constraint WHERE conrelid = %s::regclass AND conname = %s",
        [TABLE, BOUND],
    )
    if has_bound:
        drop = f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {BOUND}"
        attempt(lambda: execute(drop), tables=[TABLE])


def _switch(end_id: int) -> None:
    """In a transaction: put a partitioned table in the place of the table, which becomes its first
    partition.

    It keeps its foreign keys to other tables, which are given to the new one later: those tables
    would have to be locked, too. Everything is sent at once, so that the locks are not held while
    this process waits for the processor.
    """
    first, incoming = partition_name(None), _incoming_keys()
    indexes, triggers = structure.indexes(TABLE), structure.triggers(TABLE)
    primary_key = structure.primary_key(TABLE)
    # Before PostgreSQL 18, a partitioned table cannot have a key that is not validated.
    unvalidated = [
        replace(key, table=first if key.table == TABLE else key.table) for key in incoming
    ]
    execute_all(
        [
            *_locks(incoming),
            *(f"ALTER TABLE {key.table} DROP CONSTRAINT {key.name}" for key in incoming),
            *(f"DROP TRIGGER {trigger.name} ON {TABLE}" for trigger in triggers),
            *_renames(TABLE, first, primary_key, f"{first}_pkey"),
            *(f"ALTER INDEX {index.name} RENAME TO {index.name_in(first)}" for index in indexes),
            f"CREATE TABLE {TABLE} (LIKE {first} INCLUDING ALL EXCLUDING INDEXES"
            " EXCLUDING IDENTITY) PARTITION BY RANGE (id)",
            f"ALTER TABLE {TABLE} DROP CONSTRAINT {BOUND}",
            *structure.Details.of(TABLE).statements(TABLE),
            *_move_numbers(first, TABLE),
            f"ALTER TABLE {TABLE} ADD CONSTRAINT {primary_key} PRIMARY KEY (id)",
            # Instant on the empty table; attaching finds the same ones of the partition.
            *(statement for index in indexes for statement in index.statements()),
            # No scan: the constraint that was validated proves that all ids fit.
            f"ALTER TABLE {TABLE} ATTACH PARTITION {first}"
            f" FOR VALUES FROM (MINVALUE) TO ({end_id})",
            f"ALTER TABLE {first} DROP CONSTRAINT {BOUND}",
            *(f"{_add_foreign_key(key)} NOT VALID" for key in unvalidated),
            *(statement for trigger in triggers for statement in trigger.statements(TABLE)),
        ]
    )


def _switch_back(first: Partition, others: Sequence[Partition]) -> None:
    """In a transaction: put the first partition in the place of the table."""
    partitions = {partition.name for partition in (first, *others)}
    incoming = [key for key in _incoming_keys() if key.table not in partitions]
    execute_all(_locks(incoming))
    for partition in others:
        if partition.times() != (None, None):
            raise ConversionRefused(f"The partition {partition.name} has rows by now.")
    indexes, triggers = structure.indexes(TABLE), structure.triggers(TABLE)
    primary_key, own_key = structure.primary_key(TABLE), structure.primary_key(first.name)
    details, old = structure.Details.of(TABLE), leftover("table")
    execute_all(
        [
            *(f"ALTER TABLE {key.table} DROP CONSTRAINT {key.name}" for key in incoming),
            f"ALTER TABLE {TABLE} DETACH PARTITION {first.name}",
            *_move_numbers(TABLE, first.name),
            *_renames(TABLE, old, primary_key, f"{old}_pkey"),
            *(f"ALTER INDEX {index.name} RENAME TO {index.name_in(old)}" for index in indexes),
            *_renames(first.name, TABLE, own_key, primary_key),
            *(
                f"ALTER INDEX {index.name_in(first.name)} RENAME TO {index.name}"
                for index in indexes
            ),
            *details.statements(TABLE),
            *(f"{_add_foreign_key(key)} NOT VALID" for key in incoming),
            *(statement for trigger in triggers for statement in trigger.statements(TABLE)),
        ]
    )


def _tables() -> list[str]:
    """The table, and those whose foreign keys refer to it."""
    return sorted({key.table for key in _incoming_keys()} | {TABLE})


def _incoming_keys() -> list[ForeignKey]:
    """The foreign keys that refer to the table."""
    return [key for key in structure.foreign_keys(TABLE) if key.referenced == TABLE]


def _locks(incoming: Sequence[ForeignKey]) -> list[str]:
    """Lock the table and those that refer to it.

    The table itself comes last: its writers wait for nothing but it.
    """
    tables = [*sorted({key.table for key in incoming} - {TABLE}), TABLE]
    return [f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE" for table in tables]


def _add_foreign_key(key: ForeignKey) -> str:
    return f"ALTER TABLE {key.table} ADD CONSTRAINT {key.name} {key.definition}"


def _renames(table: str, new: str, primary_key: str, new_primary_key: str) -> list[str]:
    return [
        f"ALTER TABLE {table} RENAME TO {new}",
        f"ALTER TABLE {new} RENAME CONSTRAINT {primary_key} TO {new_primary_key}",
    ]


def _move_numbers(old: str, new: str) -> list[str]:
    """Let the ids of the new table go on where those of the old one end. One of the two is named
    TABLE when this is called.

    They come from a sequence that the column owns: before PostgreSQL 17, the partitions of a table
    with an identity column have none.
    """
    sequence, identity = execute(
        "SELECT pg_get_serial_sequence(%s, 'id'), attidentity FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attname = 'id'",
        [TABLE, TABLE],
    )[0]
    moved = [
        f"ALTER SEQUENCE {sequence} OWNED BY {new}.id",
        f"ALTER TABLE {new} ALTER COLUMN id SET DEFAULT nextval('{sequence}')",
    ]
    if not identity:
        return [f"ALTER TABLE {old} ALTER COLUMN id DROP DEFAULT", *moved]
    name = sequence.rpartition(".")[2]
    return [
        f"CREATE SEQUENCE {NUMBERS} AS bigint",
        f"SELECT setval('{NUMBERS}', last_value, is_called) FROM {sequence}",  # noqa: S608
        # This drops its sequence.
        f"ALTER TABLE {old} ALTER COLUMN id DROP IDENTITY",
        f"ALTER SEQUENCE {NUMBERS} RENAME TO {name}",
        *structure.Details.of(sequence).statements(sequence),
        *moved,
    ]
