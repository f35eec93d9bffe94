"""Counts whole hours again, from their rows."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from predictions.evaluation.counting import ledger
from predictions.evaluation.counting.following import row_of
from predictions.evaluation.counting.hours import HOUR, hour_of
from predictions.evaluation.counting.ledger import Position
from predictions.evaluation.counting.log import PLACES, chunks, count_rows
from predictions.evaluation.counting.plans import Plan, plan_of
from predictions.evaluation.drift.counts import Counts
from predictions.models import HourCounts, Prediction, Reference, StaleHour
from registry.database.statements import Row

# Hours that follow each other are counted together, if there are no more of them, and until they
# have this many rows.
MAX_HOURS = 24
MAX_ROWS = 200_000


def recount(progress: Callable[[int], object] = lambda rows: None) -> bool:
    """Count the oldest stale hours of a version again; whether there were any.

    Raises ledger.Outdated if somebody else has changed counts, or rows of the hours.
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
    rows = Prediction.objects.filter(
        start.condition(),
        model=plan.version_id,
        created_at__gte=stale[0].hour,
        created_at__lt=stale[-1].hour + HOUR,
    )
    for chunk in chunks(rows.order_by("created_at", "id")):
        for hour, own in _by_hour(chunk):
            if counting.rows >= MAX_ROWS and hour != counting.hour:
                # Those before it are complete.
                stale = [row for row in stale if row.hour < hour]
                break
            counting.add(hour, own)
        else:
            progress(len(chunk))
            continue
        break
    _commit(start, plan, stale, counting.finish())
    return True


def _by_hour(rows: Sequence[Row]) -> Iterator[tuple[datetime, Sequence[Row]]]:
    """Rows in the order of time, by their hour."""
    start = 0
    while start < len(rows):
        hour = hour_of(_time_of(rows[start]))
        end = bisect_left(rows, hour + HOUR, lo=start, key=_time_of)
        yield hour, rows[start:end]
        start = end


def _time_of(row: Row) -> datetime:
    time: datetime = row[PLACES["created_at"]]
    return time


@dataclass(slots=True)
class _Counting:
    """Adds up the counts of hours in their order."""

    plan: Plan
    rows: int = 0
    hour: datetime | None = None
    _totals: dict[str, Counts] = field(default_factory=dict)  # of this hour, by segment
    _complete: list[HourCounts] = field(default_factory=list)

    def add(self, hour: datetime, rows: Sequence[Row]) -> None:
        if hour != self.hour:
            self.finish()
            self.hour = hour
        self.rows += len(rows)
        for segment, counts in count_rows(self.plan, rows).items():
            before = self._totals.get(segment)
            self._totals[segment] = counts if before is None else before + counts

    def finish(self) -> Sequence[HourCounts]:
        """What has been counted; the hour is complete."""
        if self.hour is not None:
            # As JSON, which is smaller: there may be thousands.
            self._complete += [
                row_of(self.plan, segment, self.hour, counts)
                for segment, counts in self._totals.items()
            ]
            self._totals = {}
        return self._complete


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


def _lock(stale: Iterable[StaleHour]) -> dict[int, int]:
    """Wait for those who are deleting rows of the hours; the tokens that their marks have by then.

    In the order of time, as they are marked: a DELETE alone would lock them in any order, and so
    deadlock with those who mark them.
    """
    marks = StaleHour.objects.select_for_update().filter(pk__in=[row.pk for row in stale])
    return dict(marks.order_by("hour").values_list("pk", "token"))


def _commit(
    start: Position, plan: Plan, stale: Sequence[StaleHour], counted: Sequence[HourCounts]
) -> None:
    with ledger.changing(start):
        tokens = _lock(stale)
        if tokens != {row.pk: row.token for row in stale}:
            raise ledger.Outdated
        StaleHour.objects.filter(pk__in=tokens).delete()
        hours = [row.hour for row in stale]
        HourCounts.objects.filter(reference__model=plan.version_id, hour__in=hours).delete()
        HourCounts.objects.bulk_create(counted, batch_size=500)
