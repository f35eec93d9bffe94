"""An alias's versions side by side: what each answered, how quickly, how alike and how well."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import (
    Aggregate,
    Avg,
    Count,
    ExpressionWrapper,
    F,
    FloatField,
    Q,
    QuerySet,
    Sum,
    Value,
)
from django.db.models.functions import Abs, Greatest

from predictions.evaluation.agreement import ROUNDING
from predictions.evaluation.quality.labelled_predictions import index_of_class, pairs_of, tally
from predictions.evaluation.quality.tasks import NoQuality, Task, label_text, task_of
from predictions.evaluation.quality.version_quality import counted
from predictions.evaluation.statistics import Moments, difference_interval, wilson_interval
from predictions.models import MAX_OUTCOME_VALUE, Prediction
from registry.models import Alias, ModelVersion

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class PercentileCont(Aggregate):
    """PostgreSQL's continuous percentile, which interpolates between rows."""

    function = "percentile_cont"
    template = "%(function)s(%(fraction)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


def compare(name: str, alias: str, *, since: datetime, until: datetime) -> dict[str, Any]:
    """The alias's champion, canary and shadows, by what each was asked under it in the window.

    A version's rows on other arms are not counted. All rows are found by the index
    `prediction_newest_of_model`. Raises AliasNotFound.
    """
    arms = Alias.objects.find(name, alias).arms
    window = {"created_at__gte": since, "created_at__lt": until, "alias": alias}
    champion = _Arm(arms.version, Prediction.Arm.PRIMARY, window)
    canary = _Arm(arms.canary, Prediction.Arm.CANARY, window) if arms.canary else None
    shadows = [_Arm(version, Prediction.Arm.SHADOW, window) for version in arms.shadows]
    return {
        "name": name,
        "alias": alias,
        "from": since,
        "to": until,
        "canary_percent": arms.canary_percent,
        "champion": champion.figures(),
        "canary": canary and {**canary.figures(), "difference": _unpaired(canary, champion)},
        "shadows": [
            {**shadow.figures(), "agreement": _agreement(shadow), "difference": _paired(shadow)}
            for shadow in shadows
        ],
    }


class _Arm:
    """One version's rows on one arm of an alias."""

    def __init__(self, version: ModelVersion, arm: str, window: Mapping[str, Any]) -> None:
        self.version, self.arm = version, arm
        self.conditions = {"model": version, **window, "arm": arm}
        self.rows = Prediction.objects.filter(**self.conditions).order_by()
        try:
            self.task: Task | None = task_of(version)
        except NoQuality:
            self.task = None

    @property
    def measured(self) -> str:
        """What is compared as a number: class indices are none."""
        is_regressor = self.task is not None and not self.task.is_classification
        return "prediction" if is_regressor else "confidence"

    def figures(self) -> dict[str, Any]:
        numbers = self.rows.aggregate(
            rows=Count("pk"), failed=Count("pk", filter=Q(status=Prediction.Status.FAILED))
        )
        judged = tally(self.task, pairs_of(self.conditions))[0] if self.task else None
        rows, failed = numbers["rows"], numbers["failed"]
        return {
            "model_id": self.version.pk,
            "version": self.version.version,
            "arm": self.arm,
            "task": self.task and self.task.name,
            **counted(self.task or Task(), numbers, judged),
            "failure_rate": failed / rows if rows else None,
            "failure_rate_interval": wilson_interval(failed, rows),
            "latency_ms": _quantiles(self.rows.filter(latency_ms__isnull=False), "latency_ms"),
            "agreement": None,
            "difference": None,
        }


def _quantiles(rows: QuerySet[Prediction], column: str) -> dict[str, float | None]:
    """Quantiles of a column, interpolated between neighbours."""
    if connection.vendor == "postgresql":
        return rows.aggregate(
            **{
                name: PercentileCont(F(column), fraction=fraction)
                for name, fraction in QUANTILES.items()
            }
        )
    last = rows.count() - 1
    values = rows.order_by(column).values_list(column, flat=True)
    quantiles: dict[str, float | None] = {}
    for name, fraction in QUANTILES.items():
        place = max(last, 0) * fraction
        near = list(values[math.floor(place) : math.floor(place) + 2])
        share = place - math.floor(place)
        quantiles[name] = near[0] + share * (near[-1] - near[0]) if near else None
    return quantiles


def _agreement(shadow: _Arm) -> dict[str, Any] | None:
    """How often a shadow answered as its primary: the same label, or a value that a replay would
    count as the same (`agreement.agree`).
    """
    if shadow.task is None:
        return None
    answered = shadow.rows.filter(prediction__isnull=False, primary__prediction__isnull=False)
    if shadow.task.is_classification:
        compared, agreed = _same_labels(answered, shadow.task)
    else:
        nearness = Abs(F("prediction") - F("primary__prediction"))
        larger = Greatest(Value(1.0), Abs("prediction"), Abs("primary__prediction"))
        answered = answered.filter(_finite("prediction"), _finite("primary__prediction"))
        counts = answered.annotate(nearness=nearness, reach=larger * ROUNDING).aggregate(
            compared=Count("pk"), agreed=Count("pk", filter=Q(nearness__lte=F("reach")))
        )
        compared, agreed = counts["compared"], counts["agreed"]
    return {
        "compared": compared,
        "agreed": agreed,
        "share": agreed / compared if compared else None,
        "share_interval": wilson_interval(agreed, compared),
    }


def _same_labels(answered: QuerySet[Prediction], task: Task) -> tuple[int, int]:
    """How many rows were compared, and how many have the label of their primary.

    By label: another version's classes may stand in another order.
    """
    groups = list(
        answered.values_list("prediction", "primary__prediction", "primary__model").annotate(
            rows=Count("pk")
        )
    )
    versions = ModelVersion.objects.in_bulk({group[2] for group in groups})
    labels: dict[int, Sequence[Any]] = {}
    for pk, version in versions.items():
        try:
            labels[pk] = task_of(version).classes
        except NoQuality:
            labels[pk] = ()
    compared = agreed = 0
    for own, other, model_id, rows in groups:
        said, asked = _label(own, task.classes), _label(other, labels[model_id])
        if said is not None and asked is not None:
            compared += rows
            agreed += rows * (said == asked)
    return compared, agreed


def _label(index: float, classes: Sequence[Any]) -> str | None:
    place = index_of_class(index, len(classes))
    return None if place is None else label_text(classes[place])


def _paired(shadow: _Arm) -> dict[str, Any]:
    """The mean of what the shadow answered less its primary."""
    own, other = shadow.measured, f"primary__{shadow.measured}"
    difference = ExpressionWrapper(F(own) - F(other), FloatField())
    moments = _moments(shadow.rows.filter(_finite(own), _finite(other)), difference)
    if moments is None:
        return _difference(shadow, 0, None, None)
    return _difference(shadow, moments.n, moments.mean, moments.interval)


def _unpaired(canary: _Arm, champion: _Arm) -> dict[str, Any]:
    """The canary's mean less the champion's: they were asked about different subjects."""
    moments = [
        _moments(arm.rows.filter(_finite(canary.measured)), F(canary.measured))
        for arm in (canary, champion)
    ]
    own, other = moments
    if own is None or other is None:
        return _difference(canary, 0, None, None)
    return _difference(canary, own.n, own.mean - other.mean, difference_interval(own, other))


def _difference(arm: _Arm, rows: int, mean: float | None, interval: Any) -> dict[str, Any]:
    of = "value" if arm.measured == "prediction" else "confidence"
    return {"of": of, "rows": rows, "mean": mean, "mean_interval": interval}


def _finite(column: str) -> Q:
    # Larger ones can not be squared; a null is in no range.
    return Q(**{f"{column}__range": (-MAX_OUTCOME_VALUE, MAX_OUTCOME_VALUE)})


def _moments(rows: QuerySet[Prediction], measured: Any) -> Moments | None:
    """In two passes, so that large values near each other keep their digits."""
    rows = rows.annotate(measured=measured)
    mean = rows.aggregate(mean=Avg("measured"))["mean"]
    if mean is None:
        return None
    distance = ExpressionWrapper(F("measured") - mean, FloatField())
    sums = rows.annotate(distance=distance).aggregate(
        n=Count("pk"), total=Sum("distance"), squares=Sum(F("distance") * F("distance"))
    )
    return Moments.from_sums(sums["n"], sums["total"], sums["squares"], origin=mean)
