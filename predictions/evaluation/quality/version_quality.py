"""How good a version's predictions are, judged by the outcomes known so far."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias, TypedDict

from django.db.models import Count, Q, QuerySet

from predictions.evaluation.quality.labelled_predictions import (
    Bucket,
    Tally,
    bucket_start,
    labelled_predictions,
    tally,
)
from predictions.evaluation.quality.scores import ClassifierTally, Figures
from predictions.evaluation.quality.tasks import Task, task_of
from predictions.models import Prediction
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion


class RowCounts(TypedDict):
    rows: int
    failed: int


class CountedFigures(TypedDict):
    """How many rows there are, how many have an outcome, and the figures of those."""

    rows: int
    failed: int
    with_outcome: int
    scored: int
    coverage: float | None
    classification: Figures | None
    regression: Figures | None


# By the start of a bucket; without buckets there is one entry, for None.
CountsByStart: TypeAlias = dict[datetime | None, RowCounts]


def quality_of(
    version: ModelVersion, *, since: datetime, until: datetime, bucket: Bucket | None = None
) -> JSONObject:
    """The figures of a version's rows from `since` until before `until`, shadow rows included.

    The index `prediction_newest_of_model` finds all rows by version and time, so the cost depends
    on the window and not on the length of the log. Raises NoQuality.
    """
    task = task_of(version)
    # In the order of the index's columns.
    conditions = {"model": version, "created_at__gte": since, "created_at__lt": until}
    rows = Prediction.objects.filter(**conditions)
    total, by_start = tally(task, labelled_predictions(conditions), bucket)
    counts = _count_rows(rows, bucket)
    by_class, calibration = (
        (total.by_class(), total.calibration())
        if isinstance(total, ClassifierTally)
        else (None, None)
    )
    return {
        "model_id": version.pk,
        "name": version.name,
        "version": version.version,
        "task": task.name,
        "from": since,
        "to": until,
        "bucket": bucket,
        **counted_figures(task, _sum(counts), total),
        "classes": by_class,
        "calibration": calibration,
        "buckets": bucket
        and [
            {"start": start, **counted_figures(task, counts[start], by_start.get(start))}
            for start in sorted(start for start in counts if start is not None)
        ],
    }


def counted_figures(task: Task, counts: RowCounts, tally: Tally | None) -> CountedFigures:
    rows = counts["rows"]
    with_outcome = tally.with_outcome if tally else 0
    figures = tally.figures() if tally and tally.scored else None
    return {
        "rows": rows,
        "failed": counts["failed"],
        "with_outcome": with_outcome,
        "scored": tally.scored if tally else 0,
        # An outcome may arrive between the two statements.
        "coverage": min(with_outcome / rows, 1.0) if rows else None,
        "classification": figures if task.is_classification else None,
        "regression": None if task.is_classification else figures,
    }


def _count_rows(rows: QuerySet[Prediction], bucket: Bucket | None) -> CountsByStart:
    grouped = (
        rows.order_by()
        .annotate(start=bucket_start(bucket, "created_at"))
        .values("start")
        .annotate(rows=Count("pk"), failed=Count("pk", filter=Q(status="failed")))
    )
    return {row["start"]: {"rows": row["rows"], "failed": row["failed"]} for row in grouped}


def _sum(counts: Mapping[datetime | None, RowCounts]) -> RowCounts:
    return {
        "rows": sum(part["rows"] for part in counts.values()),
        "failed": sum(part["failed"] for part in counts.values()),
    }
