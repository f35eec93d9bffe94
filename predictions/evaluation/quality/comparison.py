"""The versions of an alias side by side: answers, latency, agreement and quality of each arm."""

from datetime import datetime
from typing import TypeAlias

from django.db.models import (
    Avg,
    Count,
    ExpressionWrapper,
    F,
    FloatField,
    Q,
    QuerySet,
    Sum,
)
from django.db.models.expressions import Combinable

from predictions.evaluation.agreement_sql import count_agreement
from predictions.evaluation.intervals import (
    Interval,
    Moments,
    difference_interval,
    wilson_interval,
)
from predictions.evaluation.quality.labelled_predictions import labelled_predictions, tally
from predictions.evaluation.quality.tasks import NoQuality, Task, task_of
from predictions.evaluation.quality.version_quality import counted_figures
from predictions.evaluation.statistics import can_be_squared, quantiles
from predictions.models import Prediction
from registry.exact_json.values import JSONObject
from registry.models import Alias, ModelVersion

Window: TypeAlias = tuple[datetime, datetime]


def compare_arms(name: str, alias: str, *, since: datetime, until: datetime) -> JSONObject:
    """The champion, canary and shadows of an alias, on the rows of their arm in the window.

    What the same version answered on another arm, or outside the alias, is not counted. The index
    `prediction_newest_of_model` finds all rows. Raises AliasNotFound.
    """
    arms = Alias.objects.find(name, alias).arms
    window = (since, until)
    champion = _Arm(arms.version, Prediction.Arm.PRIMARY, alias, window)
    canary = arms.canary and _Arm(arms.canary, Prediction.Arm.CANARY, alias, window)
    shadows = [_Arm(version, Prediction.Arm.SHADOW, alias, window) for version in arms.shadows]
    return {
        "name": name,
        "alias": alias,
        "from": since,
        "to": until,
        "canary_percent": arms.canary_percent,
        "champion": champion.figures(),
        "canary": canary
        and {**canary.figures(), "difference": _difference_of_means(canary, champion)},
        "shadows": [
            {
                **shadow.figures(),
                "agreement": _agreement(shadow),
                "difference": _mean_of_differences(shadow),
            }
            for shadow in shadows
        ],
    }


class _Arm:
    """The rows of one version on one arm of an alias."""

    def __init__(
        self, version: ModelVersion, arm: Prediction.Arm, alias: str, window: Window
    ) -> None:
        self.version, self.arm = version, arm
        since, until = window
        self.conditions = {
            "model": version,
            "created_at__gte": since,
            "created_at__lt": until,
            "alias": alias,
            "arm": arm,
        }
        self.rows = Prediction.objects.filter(**self.conditions).order_by()
        try:
            self.task: Task | None = task_of(version)
        except NoQuality:
            self.task = None

    @property
    def compared_column(self) -> str:
        """The column whose means are compared. Class indices are not numbers to average."""
        is_regressor = self.task is not None and not self.task.is_classification
        return "prediction" if is_regressor else "confidence"

    def figures(self) -> JSONObject:
        counts = self.rows.aggregate(
            rows=Count("pk"), failed=Count("pk", filter=Q(status=Prediction.Status.FAILED))
        )
        rows, failed = counts["rows"], counts["failed"]
        total = tally(self.task, labelled_predictions(self.conditions))[0] if self.task else None
        return {
            "model_id": self.version.pk,
            "version": self.version.version,
            "arm": self.arm,
            "task": self.task and self.task.name,
            **counted_figures(self.task or Task(), {"rows": rows, "failed": failed}, total),
            "failure_rate": failed / rows if rows else None,
            "failure_rate_interval": wilson_interval(failed, rows),
            "latency_ms": quantiles(self.rows.filter(latency_ms__isnull=False), "latency_ms"),
            "agreement": None,
            "difference": None,
        }


def _agreement(shadow: _Arm) -> JSONObject | None:
    """How often a shadow agrees with its primary, by the rule of `agreement`."""
    if shadow.task is None:
        return None
    compared, agreed = count_agreement(shadow.rows, shadow.task)
    return {
        "compared": compared,
        "agreed": agreed,
        "share": agreed / compared if compared else None,
        "share_interval": wilson_interval(agreed, compared),
    }


def _mean_of_differences(shadow: _Arm) -> JSONObject:
    """The mean over rows of the shadow's number less its primary's: the samples are paired."""
    own, primary = shadow.compared_column, f"primary__{shadow.compared_column}"
    difference = ExpressionWrapper(F(own) - F(primary), FloatField())
    moments = _moments(shadow.rows.filter(can_be_squared(own), can_be_squared(primary)), difference)
    if moments is None:
        return _difference(shadow, 0, None, None)
    return _difference(shadow, moments.n, moments.mean, moments.interval)


def _difference_of_means(canary: _Arm, champion: _Arm) -> JSONObject:
    """The canary's mean less the champion's; they score different rows, so these are not paired."""
    column = canary.compared_column
    canary_moments, champion_moments = (
        _moments(arm.rows.filter(can_be_squared(column)), F(column)) for arm in (canary, champion)
    )
    if canary_moments is None or champion_moments is None:
        return _difference(canary, 0, None, None)
    return _difference(
        canary,
        canary_moments.n,
        canary_moments.mean - champion_moments.mean,
        difference_interval(canary_moments, champion_moments),
    )


def _difference(arm: _Arm, rows: int, mean: float | None, interval: Interval | None) -> JSONObject:
    of = "value" if arm.compared_column == "prediction" else "confidence"
    return {"of": of, "rows": rows, "mean": mean, "mean_interval": interval}


def _moments(rows: QuerySet[Prediction], measured: Combinable) -> Moments | None:
    """In two passes, so that large values that lie close together keep their digits."""
    rows = rows.annotate(measured=measured)
    mean = rows.aggregate(mean=Avg("measured"))["mean"]
    if mean is None:
        return None
    distance = ExpressionWrapper(F("measured") - mean, FloatField())
    sums = rows.annotate(distance=distance).aggregate(
        n=Count("pk"), total=Sum("distance"), squares=Sum(F("distance") * F("distance"))
    )
    return Moments.from_sums(sums["n"], sums["total"], sums["squares"], origin=mean)
