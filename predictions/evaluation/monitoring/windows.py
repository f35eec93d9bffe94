"""Which windows of which versions a monitor has to report."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Max, Min

from predictions.models import (
    CountedTo,
    HourCounts,
    Monitor,
    MonitorReport,
    Reference,
    StaleHour,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A row has its time before it is committed: by then, the request that made it has ended.
COMMIT_MARGIN = timedelta(minutes=2)
# After a longer pause, only --since makes up for the windows before.
MAX_WINDOWS_MADE_UP_FOR = 31


@dataclass(frozen=True, slots=True)
class Window:
    """A whole number of hours of one version, and the reference that they are compared with."""

    monitor: Monitor
    reference: Reference
    since: datetime
    until: datetime

    @property
    def counted(self) -> tuple[Reference, datetime, datetime]:
        """The reference and the times whose counts it compares."""
        return self.reference, self.since, self.until

    def __str__(self) -> str:
        since, until = (f"{time:%Y-%m-%d %H:%M}" for time in (self.since, self.until))
        return f"{self.reference.model} from {since} to {until}"


def due_windows(
    monitor: Monitor, counted_until: datetime, since: datetime | None = None
) -> Iterator[Window]:
    """The windows with rows that have ended, are counted and have no report, oldest first.

    By default those after the version's last report, and only the last one of a version without a
    report. With `since`, all that begin at that time or later.

    `counted_until` is the result of that function. Costs three queries for each version with a
    reference.
    """
    length = timedelta(hours=monitor.window_hours)
    end = _aligned(counted_until, length)
    references = Reference.objects.in_force().filter(model__name=monitor.registered_model.name)
    for reference in references.select_related("model").defer("profile", "background"):
        reports = MonitorReport.objects.filter(monitor=monitor, model=reference.model_id)
        begin = _begin(reports.aggregate(last=Max("until"))["last"], end, length, since)
        reported = set(reports.filter(until__gt=begin).values_list("until", flat=True))
        for start in _starts_with_rows(reference, begin, end, length):
            if start + length not in reported:
                yield Window(monitor, reference, start, start + length)


def counted_until() -> datetime | None:
    """The time before which all rows were made that are still to be counted; None if nothing has
    been counted.
    """
    reached_at = CountedTo.objects.values_list("reached_at", flat=True).first()
    return reached_at and reached_at - COMMIT_MARGIN


def _aligned(time: datetime, length: timedelta) -> datetime:
    """The end of the last whole window before this time."""
    return EPOCH + (time - EPOCH) // length * length


def _begin(
    last: datetime | None, end: datetime, length: timedelta, since: datetime | None
) -> datetime:
    if since is not None:
        begin = _aligned(since, length)
        return begin if begin >= since else begin + length
    # A monitor whose length was changed has reports whose end is no multiple of the new one.
    begin = end - length if last is None else _aligned(last, length)
    return max(begin, end - MAX_WINDOWS_MADE_UP_FOR * length)


def _starts_with_rows(
    reference: Reference, begin: datetime, end: datetime, length: timedelta
) -> list[datetime]:
    """The windows in which the version has rows, up to the first hour that must be counted again:
    windows are reported in their order.
    """
    hours = {"hour__gte": begin, "hour__lt": end}
    stale = StaleHour.objects.filter(model=reference.model_id, **hours)
    first_stale = stale.aggregate(first=Min("hour"))["first"]
    if first_stale is not None:
        hours["hour__lt"] = _aligned(first_stale, length)
    counted = HourCounts.objects.filter(reference=reference, segment="", **hours)
    return sorted({_aligned(hour, length) for hour in counted.values_list("hour", flat=True)})
