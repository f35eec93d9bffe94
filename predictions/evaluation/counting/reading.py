"""Reads what has been counted of a window."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice

from predictions.evaluation.counting.plans import profile_of
from predictions.evaluation.drift.counts import Counts
from predictions.models import CountedTo, HourCounts, Reference, StaleHour
from registry.exact_json.values import JSONObject

# A month of many segments and features would be gigabytes.
ADDED_ROWS = 50


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
    read = rows.values_list("segment", "counts").iterator(ADDED_ROWS)
    while some := list(islice(read, ADDED_ROWS)):
        by_segment: dict[str, list[JSONObject]] = defaultdict(list)
        for segment, counts in some:
            by_segment[segment].append(counts)
        for segment, documents in by_segment.items():
            totals[segment] += Counts.sum_json(profile, documents)
    return totals


def is_counted(version_id: int, since: datetime, until: datetime) -> bool:
    """Whether everything that was committed before `until` is in the counts of this window.

    Rows of transactions that were open then, and rows that are imported, may still come.
    """
    reached_at = CountedTo.objects.values_list("reached_at", flat=True).first()
    if reached_at is None or reached_at < until:
        return False
    return not StaleHour.objects.filter(model=version_id, hour__gte=since, hour__lt=until).exists()
