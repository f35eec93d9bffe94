"""Reads what has been counted of a window."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from predictions.evaluation.counting.plans import profile_of
from predictions.evaluation.drift.counts import Counts
from predictions.models import CountedTo, HourCounts, Reference, StaleHour

FETCHED_ROWS = 50


def counts_of(
    reference: Reference, segments: Iterable[str], since: datetime, until: datetime
) -> Mapping[str, Counts]:
    """The counts of the hours from `since` until before `until`, by segment; "" is all rows.

    Both times must be full hours. Segments without rows have counts of zero.
    """
    profile = profile_of(reference.pk)
    totals = {segment: Counts.empty(profile) for segment in segments}
    rows = HourCounts.objects.filter(
        reference=reference, segment__in=list(totals), hour__gte=since, hour__lt=until
    )
    # One by one: a month of many segments and features would be gigabytes.
    for segment, counts in rows.values_list("segment", "counts").iterator(FETCHED_ROWS):
        totals[segment] += Counts.from_json(profile, counts)
    return totals


def is_counted(version_id: int, since: datetime, until: datetime) -> bool:
    """Whether everything that was committed before `until` is in the counts of this window.

    Rows of transactions that were open then, and rows that are imported, may still come.
    """
    reached_at = CountedTo.objects.values_list("reached_at", flat=True).first()
    if reached_at is None or reached_at < until:
        return False
    return not StaleHour.objects.filter(model=version_id, hour__gte=since, hour__lt=until).exists()
