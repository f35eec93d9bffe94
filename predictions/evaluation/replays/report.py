"""The figures of a replay, computed from its results in the database."""

from collections.abc import Sequence

import orjson
from django.db import connection
from django.db.models import Count, Max, Q, Sum

from predictions.evaluation.intervals import wilson_interval
from predictions.evaluation.quality.labelled_predictions import (
    LabelledPredictions,
    labelled_predictions,
    tally,
)
from predictions.evaluation.quality.tasks import NoQuality, task_of
from predictions.evaluation.statistics import quantiles_by_index
from predictions.models import Prediction, Replay, ReplayResult
from predictions.models.replays import ReplayResultQuerySet
from registry.database import statements
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion

MAX_WORST = 10
MAX_UNANSWERED = 10
MAX_CLASSES = 100
MAX_CLASS_PAIRS = 20
MAX_TEXT_LENGTH = 200

RESULTS = ReplayResult._meta.db_table
PREDICTIONS = Prediction._meta.db_table


def report_of(replay: Replay) -> JSONObject:
    """All figures of the results so far, as JSON.

    `agreement` is the share of all rows whose answers agree. A row that the new version refuses,
    fails on, or answers with something that cannot be compared does not agree. `deleted` counts the
    rows whose prediction has been deleted since, and the result with it.
    """
    results = ReplayResult.objects.filter(replay=replay)
    counts = _counts(results)
    rows, agreed = counts.pop("rows"), counts.pop("agreed")
    return {
        "rows": rows,
        **counts,
        "deleted": replay.rows_done - rows,
        "agreed": agreed,
        "agreement": agreed / rows if rows else None,
        "agreement_interval": wilson_interval(agreed, rows),
        "difference": _differences(results),
        "classes": _classes(replay),
        "quality": _quality(replay),
        "worst": [_pair(row) for row in with_originals(results.worst_first())[:MAX_WORST]],
        "unanswered": [
            {"prediction_id": row.original_id, "status": row.status, "error": _shorten(row.error)}
            for row in results.unanswered()[:MAX_UNANSWERED]
        ],
    }


def with_originals(results: ReplayResultQuerySet) -> ReplayResultQuerySet:
    """Results with the recorded answers, but without the inputs."""
    rows = results.select_related("original__model")
    return rows.defer("original__input_data", "original__metadata", "original__model__signature")


def _counts(results: ReplayResultQuerySet) -> dict[str, int]:
    groups = (
        results.order_by()
        .values("status")
        .annotate(rows=Count("pk"), agreed=Count("pk", filter=Q(agrees=True)))
    )
    by_status = {group["status"]: group["rows"] for group in groups}
    return {
        "rows": sum(by_status.values()),
        "agreed": sum(group["agreed"] for group in groups),
        **{status: by_status.get(status, 0) for status in ReplayResult.Status.values},
    }


def _differences(results: ReplayResultQuerySet) -> JSONObject | None:
    """Mean, quantiles and maximum of the differences between the answers."""
    measured = results.worst_first().filter(difference__isnull=False)
    # Sums, because they stay finite: PostgreSQL's avg() squares its input and may overflow.
    totals = measured.order_by().aggregate(
        rows=Count("pk"), sum=Sum("difference"), absolute=Sum("distance"), max=Max("distance")
    )
    rows = totals["rows"]
    if not rows:
        return None
    return {
        "rows": rows,
        "mean": totals["sum"] / rows,
        "mean_absolute": totals["absolute"] / rows,
        **quantiles_by_index(measured, "distance", rows),
        "max": totals["max"],
    }


def _classes(replay: Replay) -> JSONObject | None:
    """Agreement by recorded label, and the pairs of labels that differ most often."""
    key = "'label'" if connection.vendor == "postgresql" else "'$.label'"
    label = f"CAST(original.output -> {key} AS text)"
    new_label = f"CAST(result.output -> {key} AS text)"
    joined = f"""
        FROM {RESULTS} result JOIN {PREDICTIONS} original ON original.id = result.original_id
        WHERE result.replay_id = %s AND original.output -> {key} IS NOT NULL
    """
    by_class = statements.fetch(
        f"SELECT {label}, count(*), sum(CASE WHEN agrees THEN 1 ELSE 0 END) {joined}"
        f" GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MAX_CLASSES}",
        [replay.pk],
    )
    pairs = statements.fetch(
        f"SELECT {label}, {new_label}, count(*) {joined} AND NOT agrees"
        f" AND result.status = 'compared' GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
        f" LIMIT {MAX_CLASS_PAIRS}",
        [replay.pk],
    )
    if not by_class:
        return None
    return {
        "agreement": [
            {"label": _label(text), "rows": rows, "agreed": agreed, "agreement": agreed / rows}
            for text, rows, agreed in by_class
        ],
        "pairs": [
            {"recorded": _label(recorded), "new": _label(new), "rows": rows}
            for recorded, new, rows in pairs
        ],
    }


def _label(text: str) -> object:
    return _shorten(orjson.loads(text))


def _quality(replay: Replay) -> JSONObject | None:
    """The quality of both versions on the rows with outcomes; None if there are no such rows."""
    recorded = labelled_predictions({"replayed__replay": replay})
    if not any(part.outcomes.exists() for part in recorded):
        return None
    new = labelled_predictions({"replay": replay}, path="replayed")
    return {
        "recorded": _quality_of(replay.from_version, recorded),
        "new": _quality_of(replay.to_version, new),
    }


def _quality_of(version: ModelVersion, parts: Sequence[LabelledPredictions]) -> JSONObject | None:
    """The same figures as live quality; None for a version without quality."""
    try:
        task = task_of(version)
    except NoQuality:
        return None
    total, _ = tally(task, parts)
    return {
        "task": task.name,
        "with_outcome": total.with_outcome,
        "scored": total.scored,
        "figures": total.figures() if total.scored else None,
    }


def _pair(row: ReplayResult) -> JSONObject:
    """The recorded and the new answer to one input, in short."""
    return {
        "prediction_id": row.original_id,
        "difference": row.difference,
        "agrees": row.agrees,
        "recorded": _summary(row.original),
        "new": _summary(row),
        "recorded_confidence": row.original.confidence,
        "new_confidence": row.confidence,
    }


def _summary(answer: Prediction | ReplayResult) -> object:
    """The label of a classifier, else the number; None for several outputs."""
    if isinstance(answer.output, dict) and "label" in answer.output:
        return _shorten(answer.output["label"])
    return answer.prediction


def _shorten(value: object) -> object:
    if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH:
        return value[: MAX_TEXT_LENGTH - 1] + "…"
    return value
