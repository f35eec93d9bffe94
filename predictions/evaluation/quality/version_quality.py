"""How good a version was on the rows whose outcomes are known by now."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet

from predictions.evaluation.quality.labelled_predictions import (
    Bucket,
    Tally,
    pairs_of,
    start_of,
    tally,
)
from predictions.evaluation.quality.scores import ClassifierTally
from predictions.evaluation.quality.tasks import Task, task_of
from predictions.models import Prediction
from registry.models import ModelVersion


def quality_of(
    version: ModelVersion, *, since: datetime, until: datetime, bucket: Bucket | None = None
) -> dict[str, Any]:
    """The figures of a version's rows, shadow rows included, made from `since` to before `until`.

    The index `prediction_newest_of_model` finds all rows, by version and time: the work is that of
    the window, however long the log. Raises NoQuality.
    """
    task = task_of(version)
    # The order of these names is the index's.
    conditions = {"model": version, "created_at__gte": since, "created_at__lt": until}
    rows = Prediction.objects.filter(**conditions)
    total, parts = tally(task, pairs_of(conditions), bucket)
    counts = _counts(rows, bucket)
    answer = {
        "model_id": version.pk,
        "name": version.name,
        "version": version.version,
        "task": task.name,
        "from": since,
        "to": until,
        "bucket": bucket,
        **counted(task, _added(counts), total),
        "buckets": None,
    }
    if isinstance(total, ClassifierTally):
        answer |= {"classes": total.by_class(), "calibration": total.calibration()}
    else:
        answer |= {"classes": None, "calibration": None}
    if bucket is not None:
        answer["buckets"] = [
            {"start": start, **counted(task, numbers, parts.get(start))}
            for start, numbers in sorted(counts.items())
        ]
    return answer


def counted(task: Task, numbers: Mapping[str, int], judged: Tally | None) -> dict[str, Any]:
    """How many rows there are, how many have an outcome, and the figures of those."""
    rows = numbers["rows"]
    known = judged.with_outcome if judged else 0
    figures = judged.figures() if judged and judged.scored else None
    return {
        "rows": rows,
        "failed": numbers["failed"],
        "with_outcome": known,
        "scored": judged.scored if judged else 0,
        # An outcome may arrive between one statement and the next.
        "coverage": min(known / rows, 1.0) if rows else None,
        "classification": figures if task.is_classification else None,
        "regression": None if task.is_classification else figures,
    }


def _counts(rows: QuerySet[Prediction], bucket: Bucket | None) -> dict[Any, dict[str, int]]:
    grouped = (
        rows.order_by()
        .annotate(start=start_of(bucket, "created_at"))
        .values("start")
        .annotate(rows=Count("pk"), failed=Count("pk", filter=Q(status="failed")))
    )
    return {row["start"]: {"rows": row["rows"], "failed": row["failed"]} for row in grouped}


def _added(counts: Mapping[Any, Mapping[str, int]]) -> Mapping[str, int]:
    return {name: sum(numbers[name] for numbers in counts.values()) for name in ("rows", "failed")}
