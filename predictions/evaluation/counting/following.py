"""Counts the rows that were committed since, in the order of commits."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from predictions.evaluation.counting import hours, ledger
from predictions.evaluation.counting.hours import HOUR, hour_of
from predictions.evaluation.counting.ledger import Position
from predictions.evaluation.counting.log import ALL_ROWS, Chunk, LogColumns, count_rows, read_chunk
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

# Of one step.
MAX_ROWS = 20_000
# Rows that came late are spread over many hours, each of which would be read and written for a few
# rows, step after step. Beyond this number in a step, hours are counted again, once.
MAX_HOURS = 200

NEVER = datetime.max.replace(tzinfo=UTC)
HourOfVersion: TypeAlias = tuple[int, datetime]
Committing: TypeAlias = Callable[[int], object]
"""Called in a transaction that counts rows, with their number."""


def follow(committing: Committing = lambda rows: None) -> bool:
    """Count the next rows and move the position behind them, in one transaction; whether that was
    all there is for now.

    Calls `committing` with the number of rows in that transaction, which its exceptions roll back.
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
        return True
    if start.is_initial:
        _begin(start, end, reached_at)
        return True
    tracked = list(Reference.objects.values_list("model_id", flat=True).distinct())
    chunk = _read(start, end, tracked) if tracked else None
    columns = None if chunk is None else chunk.columns
    if chunk is not None and not chunk.is_last:
        end = (chunk.columns["transaction_id"][-1], chunk.columns["id"][-1])
        reached_at = None
    _commit(start, end, reached_at, columns, committing)
    return chunk is None or chunk.is_last


def _newest() -> tuple[int, int] | None:
    rows = Prediction.objects.in_commit_order().reverse()
    return rows.values_list("transaction_id", "id").first()


def _note_reached(start: Position, reached_at: datetime | None) -> None:
    if reached_at is not None:
        with ledger.changing(start) as row:
            row.changes, row.reached_at = start.changes, reached_at


def _begin(start: Position, end: tuple[int, int], reached_at: datetime | None) -> None:
    """Go to the end of the log at once: what is there is counted by the hour."""
    with ledger.changing(start) as row:
        hours.mark_versions(Reference.objects.values_list("model_id", flat=True).distinct())
        _move(row, end, reached_at)


def _move(row: CountedTo, end: tuple[int, int], reached_at: datetime | None) -> None:
    row.transaction_id, row.prediction_id = end
    if reached_at is not None:
        row.reached_at = reached_at


def _read(start: Position, end: tuple[int, int], version_ids: Sequence[int]) -> Chunk:
    """The next rows of these versions up to `end`, in the order of commits."""
    rows = Prediction.objects.order_by("transaction_id", "id").filter(
        is_after(*start.key), is_up_to(*end), model_id__in=version_ids
    )
    return read_chunk(rows, MAX_ROWS)


def _commit(
    start: Position,
    end: tuple[int, int],
    reached_at: datetime | None,
    columns: LogColumns | None,
    committing: Committing,
) -> None:
    groups = {} if columns is None else _by_version_and_hour(columns)
    counted: dict[int, tuple[Plan, Sequence[HourCounts]]] = {}
    late: list[HourOfVersion] = []
    for version_id, hours_of_version in groups.items():
        plan = plan_of(version_id)
        if plan is None:
            continue
        if len(hours_of_version) > MAX_HOURS:
            late += [(version_id, hour) for hour in hours_of_version]
            continue
        counted[version_id] = (
            plan,
            [
                # As JSON, which is small for a few rows: there may be thousands.
                row_of(plan, segment, hour, counts)
                for hour, own in hours_of_version.items()
                for segment, counts in count_rows(plan, own).items()
            ],
        )
    with ledger.changing(start) as position:
        StaleHour.objects.mark(late)
        n_rows = sum(
            _add(version_id, plan, counts) for version_id, (plan, counts) in counted.items()
        )
        _move(position, end, reached_at)
        if n_rows:
            committing(n_rows)


def _by_version_and_hour(columns: LogColumns) -> dict[int, dict[datetime, LogColumns]]:
    places: dict[HourOfVersion, list[int]] = defaultdict(list)
    version_id, hour, end, own = 0, NEVER, NEVER, list[int]()
    pairs = zip(columns["model_id"], columns["created_at"], strict=True)
    for place, (row_version_id, time) in enumerate(pairs):
        # Mostly of the same version and hour as the row before.
        if row_version_id != version_id or not hour <= time < end:
            version_id, hour = row_version_id, hour_of(time)
            end = hour + HOUR
            own = places[version_id, hour]
        own.append(place)
    groups: dict[int, dict[datetime, LogColumns]] = defaultdict(dict)
    for (version_id, hour), own in places.items():
        groups[version_id][hour] = columns.part(own)
    return groups


def _add(version_id: int, plan: Plan, counted: Sequence[HourCounts]) -> int:
    """Add to what has been counted of these hours, apart from those to be counted again; how many
    rows.
    """
    starts = {row.hour for row in counted}
    stale = set(
        StaleHour.objects.filter(model=version_id, hour__in=starts).values_list("hour", flat=True)
    )
    own = HourCounts.objects.filter(reference=plan.reference_id, hour__in=starts)
    before = {(row.segment, row.hour): row.counts for row in own}
    changed, n_rows = [], 0
    for row in counted:
        if row.hour in stale:
            continue
        n_rows += row.rows if row.segment == ALL_ROWS else 0
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
    return n_rows


def row_of(plan: Plan, segment: str, hour: datetime, counts: Counts) -> HourCounts:
    return HourCounts(
        reference_id=plan.reference_id,
        segment=segment,
        hour=hour,
        rows=counts.rows,
        counts=counts.as_json(),
    )
