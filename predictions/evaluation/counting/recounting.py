"""Counts whole hours again, from their rows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from predictions.evaluation.counting import ledger
from predictions.evaluation.counting.following import Committing, row_of
from predictions.evaluation.counting.hours import HOUR
from predictions.evaluation.counting.ledger import Position
from predictions.evaluation.counting.log import ALL_ROWS, LogColumns, chunks, count_rows
from predictions.evaluation.counting.plans import Plan, plan_of
from predictions.evaluation.drift.counts import Counts
from predictions.following import is_after
from predictions.models import HourCounts, Prediction, Reference, StaleHour
from predictions.models.predictions import PredictionQuerySet

# Hours that follow each other are counted together, if there are no more of them, and until they
# have this many rows.
MAX_HOURS = 24
MAX_ROWS = 200_000
# How often rows that are committed during a count are added to it, before it is given up.
MAX_CATCHING_UP = 10


def recount(
    committing: Committing = lambda rows: None,
    may_continue: Callable[[], bool] = lambda: True,
) -> bool:
    """Count the oldest stale hours of a version again; whether there were any.

    Calls `committing` in the transaction that keeps the counts, and `may_continue` between chunks
    of rows; once that says no, the hours that are complete are kept. Raises ledger.Outdated if rows
    of the hours were deleted meanwhile, or are counted by other bins or segments now.
    """
    start = ledger.position()
    stale = _next()
    if not stale:
        return False
    plan = plan_of(stale[0].model_id)
    if plan is None:
        _forget(stale)
        return True
    counting = _Counting(plan)
    rows = _rows(plan, stale).filter(start.condition())
    for chunk in chunks(rows, fields=plan.fields):
        for hour, own in chunk.columns.by_hour():
            if counting.rows >= MAX_ROWS and hour != counting.hour:
                stale = counting.cut(stale, hour)
                break
            counting.add(hour, own)
        else:
            if may_continue():
                continue
            stale = counting.cut(stale, counting.hour)
        break
    if stale:
        _catch_up(start, counting, stale, committing)
    return True


def _rows(plan: Plan, stale: Sequence[StaleHour]) -> PredictionQuerySet:
    return Prediction.objects.filter(
        model=plan.version_id,
        created_at__gte=stale[0].hour,
        created_at__lt=stale[-1].hour + HOUR,
    )


def _catch_up(
    start: Position, counting: "_Counting", stale: Sequence[StaleHour], committing: Committing
) -> None:
    """Write what was counted up to a position, with the rows that were committed since.

    A follower of the log leaves stale hours out, so these rows are counted here alone. They are
    few, so that a count that took long is not lost because of them.
    """
    for _ in range(MAX_CATCHING_UP):
        try:
            return _commit(start, counting.plan, stale, counting.rows_of(stale), committing)
        except ledger.Outdated:
            # First: what is changed after this makes the next attempt outdated as well.
            end = ledger.position()
            if not (_is_in_force(counting.plan) and _are_untouched(stale)):
                raise
        since = _rows(counting.plan, stale).filter(is_after(*start.key), end.condition())
        for chunk in chunks(since, fields=counting.plan.fields):
            for hour, own in chunk.columns.by_hour():
                counting.add(hour, own)
        start = end
    return _commit(start, counting.plan, stale, counting.rows_of(stale), committing)


@dataclass(slots=True)
class _Counting:
    """Adds up the counts of hours."""

    plan: Plan
    rows: int = 0
    hour: datetime | None = None
    _totals: dict[str, Counts] = field(default_factory=dict)  # of this hour, by segment
    # As JSON, which is smaller: there may be thousands.
    _complete: dict[tuple[datetime, str], HourCounts] = field(default_factory=dict)

    def add(self, hour: datetime, rows: LogColumns) -> None:
        if hour != self.hour:
            self._finish()
            self.hour = hour
        self.rows += len(rows)
        for segment, counts in count_rows(self.plan, rows).items():
            before = self._totals.get(segment)
            self._totals[segment] = counts if before is None else before + counts

    def cut(self, stale: Sequence[StaleHour], hour: datetime | None) -> list[StaleHour]:
        """Those before this hour, up to which everything has been counted."""
        return [row for row in stale if hour is not None and row.hour < hour]

    def rows_of(self, stale: Sequence[StaleHour]) -> Sequence[HourCounts]:
        """What has been counted of these hours."""
        self._finish()
        hours = {row.hour for row in stale}
        return [row for (hour, _), row in self._complete.items() if hour in hours]

    def _finish(self) -> None:
        for segment, counts in self._totals.items():
            assert self.hour is not None
            key = self.hour, segment
            if (before := self._complete.get(key)) is not None:
                counts = Counts.from_json(self.plan.profile, before.counts) + counts
            self._complete[key] = row_of(self.plan, segment, self.hour, counts)
        self._totals = {}


def _next() -> list[StaleHour]:
    """The oldest stale hour of a version, and those that follow it without a gap."""
    first = StaleHour.objects.order_by("model", "hour").first()
    if first is None:
        return []
    rows = StaleHour.objects.filter(
        model=first.model_id, hour__gte=first.hour, hour__lt=first.hour + MAX_HOURS * HOUR
    ).order_by("hour")
    return [row for number, row in enumerate(rows) if row.hour == first.hour + number * HOUR]


def _forget(stale: Iterable[StaleHour]) -> None:
    """Drop the marks of a version without a reference."""
    with ledger.changing():
        unused = StaleHour.objects.filter(pk__in=_lock(stale))
        unused.exclude(model__in=Reference.objects.values("model")).delete()


def _is_in_force(plan: Plan) -> bool:
    now = plan_of(plan.version_id)
    return (
        now is not None
        and now.reference_id == plan.reference_id
        and list(now.segments) == list(plan.segments)
    )


def _are_untouched(stale: Iterable[StaleHour]) -> bool:
    tokens = {row.pk: row.token for row in stale}
    marks = StaleHour.objects.filter(pk__in=list(tokens))
    return dict(marks.values_list("pk", "token")) == tokens


def _lock(stale: Iterable[StaleHour]) -> dict[int, int]:
    """Wait for those who are deleting rows of the hours; the tokens that their marks have by then.

    In the order of time, as they are marked: a DELETE alone would lock them in any order, and so
    deadlock with those who mark them.
    """
    marks = StaleHour.objects.select_for_update().filter(pk__in=[row.pk for row in stale])
    return dict(marks.order_by("hour").values_list("pk", "token"))


def _commit(
    start: Position,
    plan: Plan,
    stale: Sequence[StaleHour],
    counted: Sequence[HourCounts],
    committing: Committing,
) -> None:
    with ledger.changing(start):
        tokens = _lock(stale)
        if tokens != {row.pk: row.token for row in stale}:
            raise ledger.Outdated
        StaleHour.objects.filter(pk__in=tokens).delete()
        hours = [row.hour for row in stale]
        HourCounts.objects.filter(reference__model=plan.version_id, hour__in=hours).delete()
        HourCounts.objects.bulk_create(counted, batch_size=500)
        if n_rows := sum(row.rows for row in counted if row.segment == ALL_ROWS):
            committing(n_rows)
