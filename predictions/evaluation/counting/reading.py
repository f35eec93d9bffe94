"""Reads what has been counted of a window."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice

from predictions.evaluation.counting.plans import profile_of
from predictions.evaluation.drift.counts import Counts
from predictions.models import HourCounts, Reference, StaleHour
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


def is_current(reference: Reference, since: datetime, until: datetime) -> bool:
    """Whether what `counts_of` has returned of this window is still what there is to count.

    Whoever sets another reference, changes segments or deletes rows marks the hours in the same
    transaction, so nobody has to wait while counts are read.
    """
    hours = StaleHour.objects.filter(model=reference.model_id, hour__gte=since, hour__lt=until)
    in_force = Reference.objects.filter(model=reference.model_id).order_by("-id")
    return in_force.values_list("pk", flat=True).first() == reference.pk and not hours.exists()
