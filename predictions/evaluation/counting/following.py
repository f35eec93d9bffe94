"""Counts the rows that were committed since, in the order of commits."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from predictions.evaluation.counting import hours, ledger
from predictions.evaluation.counting.hours import HOUR, hour_of
from predictions.evaluation.counting.ledger import Position
from predictions.evaluation.counting.log import PLACES, chunks, count_rows
from predictions.evaluation.counting.plans import Plan, plan_of
from predictions.evaluation.drift.counts import Counts
from predictions.following import is_after, is_up_to, require_continued_numbers
from predictions.models import (
    CountedTo,
    HourCounts,
    Prediction,
    Reference,
    StaleHour,
    await_horizon,
)
from registry.database import clock
from registry.database.statements import Row

# Of one step.
MAX_ROWS = 20_000
# Rows that came late are spread over many hours, each of which would be read and written for a few
# rows, step after step. Beyond this number in a step, hours are counted again, once.
MAX_HOURS = 200

NEVER = datetime.max.replace(tzinfo=UTC)
HourOfVersion: TypeAlias = tuple[int, datetime]


@dataclass(frozen=True, slots=True)
class Step:
    """How many rows were counted, and whether that was all there is for now."""

    rows: int
    is_at_end: bool


def follow() -> Step:
    """Count the next rows and move the position behind them, in one transaction.

    Raises ledger.Outdated if somebody else has changed counts, LogRestored after a restore.
    """
    using = Prediction.objects.db
    require_continued_numbers(using)
    start, started_at = ledger.position(), clock.now()
    _, is_complete = await_horizon(using, max_seconds=0)
    reached_at = started_at if is_complete else None
    end = _newest()
    if end is None or end <= start.key:
        _note_reached(start, reached_at)
        return Step(0, is_at_end=True)
    if start.is_initial:
        return _begin(start, end, reached_at)
    tracked = list(Reference.objects.values_list("model_id", flat=True).distinct())
    rows, is_cut = _read(start, end, tracked) if tracked else ([], False)
    if is_cut:
        end, reached_at = (rows[-1][PLACES["transaction_id"]], rows[-1][PLACES["id"]]), None
    _commit(start, end, reached_at, rows)
    return Step(len(rows), is_at_end=not is_cut)


def _newest() -> tuple[int, int] | None:
    rows = Prediction.objects.in_commit_order().reverse()
    return rows.values_list("transaction_id", "id").first()


def _note_reached(start: Position, reached_at: datetime | None) -> None:
    if reached_at is not None:
        with ledger.changing(start) as row:
            row.changes, row.reached_at = start.changes, reached_at


def _begin(start: Position, end: tuple[int, int], reached_at: datetime | None) -> Step:
    """Go to the end of the log at once: what is there is counted by the hour."""
    with ledger.changing(start) as row:
        hours.mark_versions(Reference.objects.values_list("model_id", flat=True).distinct())
        _move(row, end, reached_at)
    return Step(0, is_at_end=True)


def _move(row: CountedTo, end: tuple[int, int], reached_at: datetime | None) -> None:
    row.transaction_id, row.prediction_id = end
    if reached_at is not None:
        row.reached_at = reached_at


def _read(
    start: Position, end: tuple[int, int], version_ids: Sequence[int]
) -> tuple[list[Row], bool]:
    """The next rows of these versions, and whether more of them may follow up to `end`."""
    rows = Prediction.objects.order_by("transaction_id", "id").filter(
        is_after(*start.key), is_up_to(*end), model_id__in=version_ids
    )
    read: list[Row] = []
    for number, chunk in enumerate(chunks(rows[:MAX_ROWS])):
        read += chunk
        if len(read) >= MAX_ROWS or number:
            return read, True
    return read, False


def _commit(
    start: Position, end: tuple[int, int], reached_at: datetime | None, rows: Sequence[Row]
) -> None:
    by_version: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_version[row[PLACES["model_id"]]].append(row)
    counted: dict[int, tuple[Plan, Sequence[HourCounts]]] = {}
    late: list[HourOfVersion] = []
    for version_id, own in by_version.items():
        plan = plan_of(version_id)
        groups = _by_hour(own)
        if plan is None:
            continue
        if len(groups) > MAX_HOURS:
            late += [(version_id, hour) for hour in groups]
            continue
        counted[version_id] = (
            plan,
            [
                # As JSON, which is small for a few rows: there may be thousands.
                row_of(plan, segment, hour, counts)
                for hour, rows_of_hour in groups.items()
                for segment, counts in count_rows(plan, rows_of_hour).items()
            ],
        )
    with ledger.changing(start) as position:
        StaleHour.objects.mark(late)
        for version_id, (plan, counts) in counted.items():
            _add(version_id, plan, counts)
        _move(position, end, reached_at)


def _by_hour(rows: Sequence[Row]) -> dict[datetime, list[Row]]:
    groups: dict[datetime, list[Row]] = defaultdict(list)
    place, hour, end, own = PLACES["created_at"], NEVER, NEVER, list[Row]()
    for row in rows:
        # Mostly of the same hour as the row before.
        if not hour <= row[place] < end:
            hour = hour_of(row[place])
            end = hour + HOUR
            own = groups[hour]
        own.append(row)
    return groups


def _add(version_id: int, plan: Plan, counted: Sequence[HourCounts]) -> None:
    """Add to what has been counted of these hours, apart from those to be counted again."""
    starts = {row.hour for row in counted}
    stale = set(
        StaleHour.objects.filter(model=version_id, hour__in=starts).values_list("hour", flat=True)
    )
    own = HourCounts.objects.filter(reference=plan.reference_id, hour__in=starts)
    before = {(row.segment, row.hour): row.counts for row in own}
    changed = []
    for row in counted:
        if row.hour in stale:
            continue
        if (document := before.get((row.segment, row.hour))) is not None:
            parts = [Counts.from_json(plan.profile, each) for each in (document, row.counts)]
            row = row_of(plan, row.segment, row.hour, parts[0] + parts[1])
        changed.append(row)
    HourCounts.objects.bulk_create(
        changed,
        batch_size=500,
        update_conflicts=True,
        update_fields=["rows", "counts"],
        unique_fields=["reference", "segment", "hour"],
    )


def row_of(plan: Plan, segment: str, hour: datetime, counts: Counts) -> HourCounts:
    return HourCounts(
        reference_id=plan.reference_id,
        segment=segment,
        hour=hour,
        rows=counts.rows,
        counts=counts.as_json(),
    )
