"""The predictions behind a bar of a histogram.

What is in a bar depends on how a version reads its inputs, which no database knows. So rows are
read as they are counted, newest first, and those in the bar are kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import Q

from predictions.evaluation.counting.log import LogColumns, chunks
from predictions.evaluation.counting.plans import Plan
from predictions.evaluation.counting.segments import SegmentedRows
from predictions.evaluation.drift.tables import BoolArray, Categories, Numbers, Table
from predictions.evaluation.figures import number
from predictions.models import Prediction, attach_outcomes
from registry.models import ModelVersion

PAGE_ROWS = 50
# Of one page. The next page goes on from there.
MAX_READ_ROWS = 20_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class BarRows:
    """Rows of a bar, each with its value of the variable.

    next_key: where the next page begins; empty if the window has no older rows.
    """

    rows: Sequence[tuple[Prediction, str]]
    rows_read: int
    next_key: str


def bar_rows(
    version: ModelVersion,
    plan: Plan,
    *,
    variable: str,
    first: int,
    last: int,
    segment: str,
    since: datetime,
    until: datetime,
    before: str = "",
) -> BarRows:
    """The newest rows of the window in the bins `first` to `last`, from the key `before` on.

    The index `prediction_newest_of_model` finds the rows. At most MAX_READ_ROWS are read.
    """
    log = Prediction.objects.filter(model=version, created_at__gte=since, created_at__lt=until)
    if before:
        log = log.filter(_older_than(before))
    found: list[tuple[int, str]] = []
    rows_read = 0
    key = ""
    for chunk in chunks(log, fields=plan.fields, newest_first=True, max_rows=MAX_READ_ROWS):
        columns = chunk.columns
        for place, text in _matching(plan, columns, variable, first, last, segment):
            if len(found) == PAGE_ROWS:
                return BarRows(_shown(found), rows_read + place, key)
            found.append((columns["id"][place], text))
            key = _key(columns, place)
        rows_read += len(columns)
        key = _key(columns, -1)
    return BarRows(_shown(found), rows_read, key if rows_read == MAX_READ_ROWS else "")


def _matching(
    plan: Plan, columns: LogColumns, variable: str, first: int, last: int, segment: str
) -> list[tuple[int, str]]:
    """The places of rows in the bins, with the texts of their values."""
    table = plan.reader.table(columns.as_rows(with_outputs=False))
    column, bins = table.columns.get(variable), plan.profile.variables[variable]
    if column is None or column.kind != bins.kind:
        return []
    codes = bins.codes(column)  # type: ignore[arg-type]
    mask = (codes >= first) & (codes <= last) & _segment_mask(plan, columns, table, segment)
    return [(place, _text(column, place)) for place in np.flatnonzero(mask).tolist()]


def _segment_mask(plan: Plan, columns: LogColumns, table: Table, segment: str) -> BoolArray:
    if not segment:
        return np.ones(table.rows, np.bool_)
    metadata = columns["metadata"] if plan.needs_metadata else None
    rows = SegmentedRows(table, metadata, columns["arm"])
    named = [each for each in plan.segments if each.text == segment]
    return rows.mask(named[0]) if named else np.zeros(table.rows, np.bool_)


def _text(column: Numbers | Categories, place: int) -> str:
    if isinstance(column, Categories):
        category = column.values[place]
        return "missing" if category is None else category
    if column.unparsable is not None and column.unparsable[place]:
        return "not a number"
    value = float(column.values[place])
    return "missing" if math.isnan(value) else number(value, 6)


def _shown(found: Sequence[tuple[int, str]]) -> list[tuple[Prediction, str]]:
    rows = Prediction.objects.select_related("model", "user").in_bulk([pk for pk, _ in found])
    # One may have been deleted by now.
    shown = [(rows[pk], text) for pk, text in found if pk in rows]
    attach_outcomes([row for row, _ in shown])
    return shown


def _key(columns: LogColumns, place: int) -> str:
    created_at: Any = columns["created_at"][place]
    return f"{(created_at - EPOCH) // MICROSECOND}.{columns['id'][place]}"


def _older_than(key: str) -> Q:
    microseconds, _, pk = key.partition(".")
    moment = EPOCH + int(microseconds) * MICROSECOND
    return Q(created_at__lte=moment) & (Q(created_at__lt=moment) | Q(id__lt=int(pk)))
