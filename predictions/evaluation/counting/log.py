"""Reads rows of the log in chunks, as columns of what is counted."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import orjson

from predictions.evaluation.counting.plans import Plan
from predictions.evaluation.counting.segments import SegmentedRows
from predictions.evaluation.drift.counts import Counts, count_segments
from predictions.evaluation.drift.tables import BoolArray
from predictions.evaluation.references.tables import Rows
from predictions.models import Prediction
from predictions.models.predictions import PredictionQuerySet
from registry.database.statements import Row, stream

CHUNK_ROWS = 10_000
# Inputs may be large: a chunk that has this much text is handed on before it is full.
CHUNK_BYTES = 16 * 2**20

# Columns of the table. JSON stays the text it is.
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
PLACES = {name: place for place, name in enumerate(FIELDS)}
TEXTS = [PLACES[name] for name in ("input_data", "output", "metadata")]


def chunks(rows: PredictionQuerySet) -> Iterator[list[Row]]:
    """The rows, with the columns of FIELDS, some at a time."""
    chunk: list[Row] = []
    size_bytes = 0
    with closing(stream(rows, FIELDS)) as remaining:
        for row in remaining:
            chunk.append(row)
            for place in TEXTS:
                if (text := row[place]) is not None:
                    size_bytes += len(text)
            if len(chunk) >= CHUNK_ROWS or size_bytes >= CHUNK_BYTES:
                yield chunk
                chunk, size_bytes = [], 0
    if chunk:
        yield chunk


def size_of(rows: Sequence[Row]) -> int:
    """How much text rows with the columns of FIELDS have, in characters."""
    return sum(len(row[place]) for row in rows for place in TEXTS if row[place] is not None)


@dataclass(frozen=True, slots=True)
class LogColumns:
    """Some rows of one version, by column."""

    values: Sequence[Sequence[Any]]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "LogColumns":
        return cls(list(zip(*rows, strict=True)) if rows else [()] * len(FIELDS))

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self.values[PLACES[name]]

    def parsed(self, name: str) -> list[Any]:
        """The values of a column of JSON; None for null."""
        return [None if text is None else orjson.loads(text) for text in self[name]]

    def rows(self, *, with_outputs: bool) -> Rows:
        return Rows(
            inputs=self.parsed("input_data"),
            predictions=self["prediction"],
            confidences=self["confidence"],
            outputs=self.parsed("output") if with_outputs else None,
            failed=[status == Prediction.Status.FAILED.value for status in self["status"]],
            latencies=self["latency_ms"],
            subjects=self["subject"],
            flags=self.parsed("flags"),
        )


def count_rows(plan: Plan, rows: Sequence[Row]) -> dict[str, Counts]:
    """The counts of rows of the plan's version by segment, for segments that have any."""
    columns = LogColumns.of(rows)
    table = plan.reader.table(columns.rows(with_outputs=plan.needs_outputs))
    metadata = columns.parsed("metadata") if plan.needs_metadata else None
    segmented = SegmentedRows(table, metadata, columns["arm"])
    masks: dict[str, BoolArray | None] = {"": None}
    for segment in plan.segments:
        mask = segmented.mask(segment)
        if mask.any():
            masks[segment.text] = mask
    return count_segments(plan.profile, table, masks)
