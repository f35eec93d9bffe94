"""The statistics of a version, from the prediction log, in the format of Triton's statistics
extension.
"""

from typing import TypedDict

from django.db.models import Count, Max, Q, Sum

from predictions.models import Prediction
from registry.models import ModelVersion

# Only the newest predictions are read, by the index `prediction_newest_of_model`, so that the query
# costs the same at any size of the log.
NEWEST = 10_000
# Reported as 0: mlapi does not measure them, or has no cache.
UNMEASURED = ("queue", "compute_input", "compute_output", "cache_hit", "cache_miss")


class Duration(TypedDict):
    """How often something happened, and how long it took in all, in nanoseconds."""

    count: int
    ns: int


class ModelStatistics(TypedDict):
    name: str
    version: str
    last_inference: int
    """In milliseconds since 1970, 0 for never."""
    inference_count: int
    execution_count: int
    inference_stats: dict[str, Duration]
    batch_stats: list[object]


def statistics_of(version: ModelVersion) -> ModelStatistics:
    """Counts and durations of the version's newest predictions, at most NEWEST of them.

    Each row of a batch has the latency of the whole batch, so `ns` is the time that callers waited.
    """
    rows = Prediction.objects.filter(model=version).newest_first()[:NEWEST]
    has_failed = Q(status=Prediction.Status.FAILED)
    totals = rows.aggregate(
        succeeded=Count("pk", filter=~has_failed),
        failed=Count("pk", filter=has_failed),
        succeeded_ms=Sum("latency_ms", filter=~has_failed),
        failed_ms=Sum("latency_ms", filter=has_failed),
        last=Max("created_at"),
    )
    success = _duration(totals["succeeded"], totals["succeeded_ms"])
    return {
        "name": version.name,
        "version": version.version,
        "last_inference": round(totals["last"].timestamp() * 1000) if totals["last"] else 0,
        "inference_count": totals["succeeded"],
        "execution_count": totals["succeeded"],
        "inference_stats": {
            "success": success,
            "fail": _duration(totals["failed"], totals["failed_ms"]),
            "compute_infer": success,
            **dict.fromkeys(UNMEASURED, _duration(0, None)),
        },
        "batch_stats": [],
    }


def _duration(count: int, total_ms: float | None) -> Duration:
    return {"count": count, "ns": round((total_ms or 0) * 1_000_000)}
