"""Reads rows of the log as columns, some rows at a time, and counts them."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from predictions.evaluation.counting.hours import HOUR, hour_of
from predictions.evaluation.counting.plans import Plan
from predictions.evaluation.counting.segments import SegmentedRows
from predictions.evaluation.drift.counts import Counts, count_segments
from predictions.evaluation.drift.tables import BoolArray
from predictions.evaluation.references.tables import Rows
from predictions.models import Prediction
from predictions.models.predictions import PredictionQuerySet
from registry.database.statements import fetch_columns, row_compared

CHUNK_ROWS = 10_000
# Inputs may be large: a chunk that has this much text is handed on before it is full.
CHUNK_BYTES = 16 * 2**20

FIELDS = [
    "transaction_id",
    "id",
    "model_id",
    "created_at",
    "status",
    "prediction",
    "confidence",
    "latency_ms",
    "subject",
    "arm",
    "input_data",
    "output",
    "metadata",
    "flags",
]
_JSON = frozenset({"input_data", "output", "metadata", "flags"})
# The segment of every row.
ALL_ROWS = ""
# The order of time, which an index has.
_TIME = ("created_at", "id")


class LogColumns:
    """Some rows, by column. JSON is parsed when it is first used."""

    def __init__(
        self,
        columns: dict[str, Sequence[Any]],
        unparsed: set[str],
        places: Sequence[int] | None = None,
    ) -> None:
        self._columns, self._unparsed, self._places = columns, unparsed, places

    def __len__(self) -> int:
        return len(self._columns["id"] if self._places is None else self._places)

    def __getitem__(self, name: str) -> Sequence[Any]:
        places = self._places
        if name in self._unparsed:
            # For all parts at once.
            self._columns[name] = [text and orjson.loads(text) for text in self._columns[name]]
            self._unparsed.remove(name)
        column = self._columns[name]
        if places is None:
            return column
        if isinstance(places, range):
            return column[places.start : places.stop]
        return [column[place] for place in places]

    def part(self, places: Sequence[int]) -> "LogColumns":
        """The rows at these places, which ascend. Not for columns that are a part themselves."""
        if places and places[-1] - places[0] + 1 == len(places):
            # A slice takes a fraction of the time.
            places = range(places[0], places[-1] + 1)
        return LogColumns(self._columns, self._unparsed, places)

    def by_hour(self) -> Iterator[tuple[datetime, "LogColumns"]]:
        """The rows, which must be in the order of time, by their hour."""
        times = self["created_at"]
        start = 0
        while start < len(times):
            hour = hour_of(times[start])
            end = bisect_left(times, hour + HOUR, lo=start)
            yield hour, self.part(range(start, end))
            start = end

    def as_rows(self, *, with_outputs: bool) -> Rows:
        return Rows(
            inputs=self["input_data"],
            predictions=self["prediction"],
            confidences=self["confidence"],
            outputs=self["output"] if with_outputs else None,
            failed=[status == _FAILED for status in self["status"]],
            latencies=self["latency_ms"],
            subjects=self["subject"],
            flags=self["flags"],
        )


_FAILED = Prediction.Status.FAILED.value


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows that were read together.

    size_bytes: of their inputs, answers and metadata.
    is_last: whether no rows follow.
    """

    columns: LogColumns
    size_bytes: int
    is_last: bool


def read_chunk(
    rows: PredictionQuerySet,
    max_rows: int = CHUNK_ROWS,
    *,
    fields: Sequence[str] = FIELDS,
) -> Chunk:
    """The first of these rows, which have an order."""
    read = fetch_columns(rows[:max_rows], fields, max_bytes=CHUNK_BYTES)
    is_last = read.rows < max_rows and read.size_bytes <= CHUNK_BYTES
    columns = LogColumns(dict(read.values), set(_JSON & read.values.keys()))
    return Chunk(columns, read.size_bytes, is_last)


def chunks(
    rows: PredictionQuerySet,
    *,
    fields: Sequence[str] = FIELDS,
    newest_first: bool = False,
    max_rows: int | None = None,
) -> Iterator[Chunk]:
    """The rows in the order of time, some at a time, each in a statement of its own."""
    ordered = rows.newest_first() if newest_first else rows.order_by(*_TIME)
    operator = "<" if newest_first else ">"
    key: tuple[Any, ...] | None = None
    n_rows = 0
    while max_rows is None or n_rows < max_rows:
        following = ordered
        if key is not None:
            following = ordered.filter(row_compared(_TIME, operator, key))
        limit = CHUNK_ROWS if max_rows is None else min(CHUNK_ROWS, max_rows - n_rows)
        chunk = read_chunk(following, limit, fields=fields)
        if len(chunk.columns):
            key = tuple(chunk.columns[name][-1] for name in _TIME)
            n_rows += len(chunk.columns)
            yield chunk
        if chunk.is_last:
            return


def joined(parts: Sequence[LogColumns], fields: Sequence[str]) -> LogColumns:
    """The rows of all parts."""
    columns: dict[str, Sequence[Any]] = {
        name: [value for part in parts for value in part[name]] for name in fields
    }
    return LogColumns(columns, set())


def count_rows(plan: Plan, columns: LogColumns) -> dict[str, Counts]:
    """The counts of rows of the plan's version by segment, for segments that have any."""
    table = plan.reader.table(columns.as_rows(with_outputs=plan.needs_outputs))
    metadata = columns["metadata"] if plan.needs_metadata else None
    masks: dict[str, BoolArray | None] = {ALL_ROWS: None}
    if plan.segments:
        segmented = SegmentedRows(table, metadata, columns["arm"])
        for segment in plan.segments:
            mask = segmented.mask(segment)
            if mask.any():
                masks[segment.text] = mask
    return count_segments(plan.profile, table, masks)
