"""Reads what has been counted of a window."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from predictions.evaluation.counting.plans import profile_of
from predictions.evaluation.drift.counts import Counts
from predictions.models import CountedTo, HourCounts, Reference, StaleHour


def counts_of(
    reference: Reference, segments: Iterable[str], since: datetime, until: datetime
) -> Mapping[str, Counts]:
    """The counts of the hours from `since` until before `until`, by segment; "" is all rows.

    Both times must be full hours. Segments without rows have counts of zero.
    """
    profile = profile_of(reference.pk)
    rows = HourCounts.objects.filter(
        reference=reference, segment__in=list(segments), hour__gte=since, hour__lt=until
    )
    documents: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for segment, counts in rows.values_list("segment", "counts").iterator(500):
        documents[segment].append(counts)
    return {segment: Counts.total(profile, documents[segment]) for segment in segments}


def is_counted(version_id: int, since: datetime, until: datetime) -> bool:
    """Whether everything that was committed before `until` is in the counts of this window.

    Rows of transactions that were open then, and rows that are imported, may still come.
    """
    reached_at = CountedTo.objects.values_list("reached_at", flat=True).first()
    if reached_at is None or reached_at < until:
        return False
    return not StaleHour.objects.filter(model=version_id, hour__gte=since, hour__lt=until).exists()
