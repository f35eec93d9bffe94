"""Which partitions the log has, as the database's catalog describes them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from predictions.models import Prediction
from predictions.partitions.errors import PartitionsUnavailable

TABLE = Prediction._meta.db_table
# Two partitions without rows are kept ahead of the one that is being filled.
KEPT_AHEAD = 2
# Nothing is ahead, and less than this part of the last partition's ids is left.
NEARLY_FULL = 0.05

PARTITIONS = """
    SELECT child.relname, pg_get_expr(child.relpartbound, child.oid),
        pg_total_relation_size(child.oid), child.reltuples::bigint
    FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = %(table)s::regclass AND child.relpartbound IS NOT NULL
"""
# Partitioned tables are of the kind `p`. Without the table, there is no row.
STATE = """
    SELECT relkind = 'p',
        coalesce(pg_sequence_last_value(pg_get_serial_sequence(%(table)s, 'id')::regclass), 0)
    FROM pg_class WHERE oid = to_regclass(%(table)s)
"""
BOUND = re.compile(r"FOR VALUES FROM \('?(MINVALUE|-?\d+)'?\) TO \('?(\d+)'?\)")


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition: the ids from `first_id`, None for all lower ones, to below `end_id`."""

    name: str
    first_id: int | None
    end_id: int
    size_bytes: int
    # As of the last ANALYZE; -1 before the first one.
    estimated_rows: int

    @property
    def condition(self) -> str:
        """SQL for the ids of a column `{id}` that lie in it."""
        lower = "" if self.first_id is None else f"{{id}} >= {self.first_id} AND "
        return f"{lower}{{id}} < {self.end_id}"

    def times(self) -> tuple[datetime | None, datetime | None]:
        """When its oldest and its newest row were made; both None if it is empty."""
        with connections["default"].cursor() as cursor:
            cursor.execute(f"SELECT min(created_at), max(created_at) FROM {self.name}")  # noqa: S608
            oldest, newest = cursor.fetchone()
        return oldest, newest


@dataclass(frozen=True, slots=True)
class Layout:
    """The partitions of the log in the order of their ids, and the highest id given out."""

    partitions: Sequence[Partition]
    last_id: int

    @property
    def ahead(self) -> int:
        """How many partitions have no row yet."""
        return sum(
            partition.first_id is not None and partition.first_id > self.last_id
            for partition in self.partitions
        )

    @property
    def ids_left(self) -> int:
        """How many rows the partitions can still take."""
        return max(self.end_id - self.last_id - 1, 0)

    @property
    def end_id(self) -> int:
        return self.partitions[-1].end_id if self.partitions else 0

    @property
    def rows_per_partition(self) -> int | None:
        """How many ids the newest partition has; None if its size says nothing."""
        if not self.partitions or (first_id := self.partitions[-1].first_id) is None:
            return None
        return self.partitions[-1].end_id - first_id

    @property
    def state(self) -> str:
        """`ok`, `few ahead` or, if rows will soon be refused, `nearly full`."""
        if self._is_nearly_full:
            return "nearly full"
        return "ok" if self.ahead >= KEPT_AHEAD else "few ahead"

    @property
    def _is_nearly_full(self) -> bool:
        if not self.partitions:
            return True
        newest = self.partitions[-1]
        width = newest.end_id - (newest.first_id or 0)
        return not self.ahead and self.ids_left < width * NEARLY_FULL


def find_layout(connection: BaseDatabaseWrapper) -> Layout | None:
    """The partitions of the log; None if it is a plain table, as on SQLite.

    Raises PartitionsUnavailable if somebody else has made one of another kind, such as DEFAULT.
    """
    if (last_id := _last_id_if_partitioned(connection)) is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(PARTITIONS, {"table": TABLE})
        partitions = [_partition(*row) for row in cursor.fetchall()]
    partitions.sort(key=lambda partition: partition.end_id)
    return Layout(partitions, last_id)


def is_partitioned(connection: BaseDatabaseWrapper) -> bool:
    """Whether the log has partitions, of whatever kind."""
    return _last_id_if_partitioned(connection) is not None


def _last_id_if_partitioned(connection: BaseDatabaseWrapper) -> int | None:
    """The highest id given out; None if the log is a plain table."""
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(STATE, {"table": TABLE})
        state = cursor.fetchone()
    return int(state[1]) if state and state[0] else None


def _partition(name: str, bound: str, size_bytes: int, estimated_rows: int) -> Partition:
    match = BOUND.fullmatch(bound)
    if match is None:
        raise PartitionsUnavailable(
            f"The partition {name} is not one of a range of ids, but {bound}: move its rows, if it"
            " has any, and detach it"
        )
    first_id = None if match[1] == "MINVALUE" else int(match[1])
    return Partition(name, first_id, int(match[2]), size_bytes, estimated_rows)
