"""What the log of predictions tells of a version, in the shape of Triton's statistics extension."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, Max, Q, Sum

from predictions.models import Prediction
from registry.models import ModelVersion

# So that it costs the same at the ten-millionth prediction: the newest of them are read, by
# `prediction_newest_of_model`.
NEWEST = 10_000
# What nobody measures here, or has no meaning.
UNKNOWN: Sequence[str] = ("queue", "compute_input", "compute_output", "cache_hit", "cache_miss")


def statistics_of(version: ModelVersion) -> dict[str, Any]:
    """Counts and times of the version's newest predictions, at most NEWEST of them.

    Rows that were scored together each have the time of all: `ns` is what callers waited.
    """
    rows = Prediction.objects.filter(model=version).newest_first()[:NEWEST]
    has_failed = Q(status=Prediction.Status.FAILED)
    told = rows.aggregate(
        succeeded=Count("pk", filter=~has_failed),
        failed=Count("pk", filter=has_failed),
        succeeded_ms=Sum("latency_ms", filter=~has_failed),
        failed_ms=Sum("latency_ms", filter=has_failed),
        last=Max("created_at"),
    )
    success = _duration(told["succeeded"], told["succeeded_ms"])
    return {
        "name": version.name,
        "version": version.version,
        "last_inference": round(told["last"].timestamp() * 1000) if told["last"] else 0,
        "inference_count": told["succeeded"],
        "execution_count": told["succeeded"],
        "inference_stats": {
            "success": success,
            "fail": _duration(told["failed"], told["failed_ms"]),
            "compute_infer": success,
            **dict.fromkeys(UNKNOWN, _duration(0, None)),
        },
        "batch_stats": [],
    }


def _duration(count: int, milliseconds: float | None) -> dict[str, int]:
    return {"count": count, "ns": round((milliseconds or 0) * 1_000_000)}
