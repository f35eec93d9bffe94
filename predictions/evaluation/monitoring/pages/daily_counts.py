"""The counts of a version's days."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models.fields.json import KeyTransform

from predictions.evaluation.counting.plans import profile_of
from predictions.evaluation.counting.segments import key_of
from predictions.evaluation.drift.counts import Counts, VariableCounts
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.monitoring.pages.queries import day_of
from predictions.models import HourCounts, Reference

DAY = timedelta(days=1)
# More rows of a chart could hardly be told apart.
MAX_ALTERNATIVES = 30


@dataclass(frozen=True, slots=True)
class DailyCounts:
    """What was counted of one segment on each day of a window; days without rows have no counts.

    The first and the last day may be parts of days.
    """

    profile: Profile
    segment: str
    since: datetime
    until: datetime
    by_day: dict[datetime, Counts]

    @property
    def days(self) -> list[datetime]:
        """The beginnings of all days of the window."""
        days = []
        day = day_of(self.since)
        while day < self.until:
            days.append(day)
            day += DAY
        return days

    @property
    def total(self) -> Counts:
        total = Counts.empty(self.profile)
        for counts in self.by_day.values():
            total += counts
        return total


def daily_counts(
    reference: Reference, segment: str, since: datetime, until: datetime
) -> DailyCounts:
    """From the counts by hour, in one query, whose index is that of `hour_counts_unique`."""
    profile = profile_of(reference.pk)
    rows = HourCounts.objects.filter(
        reference=reference, segment=segment, hour__gte=since, hour__lt=until
    )
    by_day: dict[datetime, Counts] = {}
    for hour, document in rows.order_by("hour").values_list("hour", "counts").iterator(100):
        day = day_of(hour)
        counts = Counts.from_json(profile, document)
        by_day[day] = by_day[day] + counts if day in by_day else counts
    return DailyCounts(profile, segment, since, until, by_day)


def variable_counts(
    reference: Reference, variable: str, segments: Sequence[str], since: datetime, until: datetime
) -> dict[str, dict[datetime, VariableCounts]]:
    """The counts of one variable by segment and day.

    The database sends no other variables: there may be hundreds, and many segments.
    """
    size = profile_of(reference.pk).variables[variable].size
    rows = HourCounts.objects.filter(
        reference=reference, segment__in=segments, hour__gte=since, hour__lt=until
    )
    document = KeyTransform(variable, KeyTransform("variables", "counts"))
    found: dict[str, dict[datetime, VariableCounts]] = {segment: {} for segment in segments}
    values = rows.order_by("hour").values_list("segment", "hour", document)
    for segment, hour, counted in values.iterator(1000):
        day, by_day = day_of(hour), found[segment]
        counts = VariableCounts.from_json(size, counted)
        by_day[day] = by_day[day] + counts if day in by_day else counts
    return found


def counted_segments(reference: Reference, since: datetime, until: datetime) -> list[str]:
    """The segments that have rows in the window, in order; "" is all rows."""
    rows = HourCounts.objects.filter(reference=reference, hour__gte=since, hour__lt=until)
    return sorted(rows.order_by().values_list("segment", flat=True).distinct())


def alternatives(segments: Iterable[str], segment: str) -> list[str]:
    """The segments that a segment is shown beside: those by the same key, or all for all rows."""
    key = key_of(segment)
    same = [each for each in segments if each and (not segment or key_of(each) == key)]
    return same[:MAX_ALTERNATIVES]
