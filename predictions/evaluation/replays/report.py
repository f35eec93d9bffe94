"""The figures of a replay, from its results in the database."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from django.db import connection
from django.db.models import Count, Max, Q, Sum

from predictions.evaluation.quality.labelled_predictions import Pairs, pairs_of, tally
from predictions.evaluation.quality.tasks import NoQuality, task_of
from predictions.evaluation.statistics import wilson_interval
from predictions.models import Prediction, Replay, ReplayResult
from predictions.models.replays import ReplayResultQuerySet
from registry.models import ModelVersion

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
MAX_WORST = 10
MAX_UNANSWERED_SHOWN = 10
# Of classes and of pairs of them, as many as someone reads.
MAX_CLASSES = 100
MAX_PAIRS = 20
MAX_SHOWN_CHARACTERS = 200

RESULTS = ReplayResult._meta.db_table
PREDICTIONS = Prediction._meta.db_table


def report_of(replay: Replay) -> dict[str, Any]:
    """All figures of the results that there are, as JSON.

    `agreement` is the share of all rows that agree: a row that the new version refuses, fails on or
    answers with something else altogether does not. `deleted` counts the rows whose prediction, and
    result with it, was deleted since.
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
        "worst": [_shown_pair(row) for row in with_originals(results.worst_first())[:MAX_WORST]],
        "unanswered": [
            {"prediction_id": row.original_id, "status": row.status, "error": _shown(row.error)}
            for row in results.unanswered()[:MAX_UNANSWERED_SHOWN]
        ],
    }


def with_originals(results: ReplayResultQuerySet) -> ReplayResultQuerySet:
    """Results with the recorded answers, without the inputs."""
    return results.select_related("original").defer("original__input_data", "original__metadata")


def answer_of(row: Prediction | ReplayResult) -> Any:
    """An answer in short: the label where there is one, else the number; None for several."""
    if isinstance(row.output, dict) and "label" in row.output:
        return _shown(row.output["label"])
    return row.prediction


def _counts(results: ReplayResultQuerySet) -> dict[str, int]:
    found = (
        results.order_by()
        .values("status")
        .annotate(rows=Count("pk"), agreed=Count("pk", filter=Q(agrees=True)))
    )
    by_status = {row["status"]: row["rows"] for row in found}
    return {
        "rows": sum(by_status.values()),
        "agreed": sum(row["agreed"] for row in found),
        **{status: by_status.get(status, 0) for status in ReplayResult.Status.values},
    }


def _differences(results: ReplayResultQuerySet) -> dict[str, Any] | None:
    """Mean and quantiles of the differences; a quantile between two rows is interpolated."""
    measured = results.worst_first().filter(difference__isnull=False)
    # Sums, which are finite: PostgreSQL's avg() squares what it is given, and may overflow.
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
        **{name: _quantile(measured, rows, share) for name, share in QUANTILES.items()},
        "max": totals["max"],
    }


def _quantile(measured: ReplayResultQuerySet, rows: int, share: float) -> float:
    """Of distances, sorted by their index: linear between neighbours, as numpy's default is."""
    place = (rows - 1) * share
    below = math.floor(place)
    # The furthest come first.
    first = max(0, rows - 2 - below)
    found = list(measured.values_list("distance", flat=True)[first : rows - below])
    high, low = found[0], found[-1]
    return float(low + (high - low) * (place - below))


def _classes(replay: Replay) -> dict[str, Any] | None:
    """Agreement by recorded label, and the pairs of labels that differ most often."""
    label, new_label = "original.output -> {}", "result.output -> {}"
    key = "'label'" if connection.vendor == "postgresql" else "'$.label'"
    label, new_label = (f"CAST({side.format(key)} AS text)" for side in (label, new_label))
    joined = f"""
        FROM {RESULTS} result JOIN {PREDICTIONS} original ON original.id = result.original_id
        WHERE result.replay_id = %s AND original.output -> {key} IS NOT NULL
    """
    by_class = _rows(
        f"SELECT {label}, count(*), sum(CASE WHEN agrees THEN 1 ELSE 0 END) {joined}"
        f" GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MAX_CLASSES}",
        replay.pk,
    )
    pairs = _rows(
        f"SELECT {label}, {new_label}, count(*) {joined} AND NOT agrees"
        f" AND result.status = 'compared' GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT {MAX_PAIRS}",
        replay.pk,
    )
    if not by_class:
        return None
    return {
        "agreement": [
            {
                "label": _shown(orjson.loads(name)),
                "rows": rows,
                "agreed": agreed,
                "agreement": agreed / rows,
            }
            for name, rows, agreed in by_class
        ],
        "pairs": [
            {
                "recorded": _shown(orjson.loads(recorded)),
                "new": _shown(orjson.loads(new)),
                "rows": rows,
            }
            for recorded, new, rows in pairs
        ],
    }


def _quality(replay: Replay) -> dict[str, Any] | None:
    """How good both versions were on the rows whose outcomes are known; None where none is."""
    recorded = pairs_of({"replayed__replay": replay})
    if not any(part.outcomes.exists() for part in recorded):
        return None
    new = pairs_of({"replay": replay}, row="replayed")
    return {
        "recorded": _quality_of(replay.from_version, recorded),
        "new": _quality_of(replay.to_version, new),
    }


def _quality_of(version: ModelVersion, pairs: Sequence[Pairs]) -> dict[str, Any] | None:
    """As live quality tells it; None of a version whose answers have none."""
    try:
        task = task_of(version)
    except NoQuality:
        return None
    total, _ = tally(task, pairs)
    return {
        "task": task.name,
        "with_outcome": total.with_outcome,
        "scored": total.scored,
        "figures": total.figures() if total.scored else None,
    }


def _rows(statement: str, replay_id: int) -> Sequence[Sequence[Any]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [replay_id])
        return list(cursor.fetchall())


def _shown_pair(row: ReplayResult) -> Mapping[str, Any]:
    return {
        "prediction_id": row.original_id,
        "difference": row.difference,
        "agrees": row.agrees,
        "recorded": answer_of(row.original),
        "new": answer_of(row),
        "recorded_confidence": row.original.confidence,
        "new_confidence": row.confidence,
    }


def _shown(value: Any) -> Any:
    """A label or message, cut where it is longer than someone reads."""
    if isinstance(value, str) and len(value) > MAX_SHOWN_CHARACTERS:
        return value[: MAX_SHOWN_CHARACTERS - 1] + "…"
    return value
