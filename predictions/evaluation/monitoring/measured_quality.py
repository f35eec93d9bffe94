"""The finding of measured quality: the outcomes recorded in a window, against the reference.

They are those that were recorded in the window, whenever their predictions were made: labels may
arrive weeks later, and would otherwise never be looked at.
"""

import math
from dataclasses import replace
from datetime import datetime
from statistics import NormalDist

from predictions.evaluation.drift.comparisons import (
    ACCURACY_LIMITS,
    ALPHA,
    MIN_ROWS,
    Comparison,
    Kind,
    Limits,
)
from predictions.evaluation.drift.findings import Finding
from predictions.evaluation.drift.quality import Quality
from predictions.evaluation.figures import number, percent
from predictions.evaluation.intervals import Moments
from predictions.evaluation.quality.labelled_predictions import Tally, labelled_predictions, tally
from predictions.evaluation.quality.scores import ClassifierTally, RegressorTally
from predictions.evaluation.quality.tasks import NoQuality, task_of
from registry.models import ModelVersion

# By what share of the reference's the mean absolute error grew.
ERROR_LIMITS = Limits(0.10, 0.25)
# Of a reference without any error, no error is a share.
MAX_GROWTH = 1e9


def measured_quality(
    version: ModelVersion,
    reference: Quality | None,
    since: datetime,
    until: datetime,
    *,
    independent: float = 1.0,
) -> Finding | None:
    """The finding, without a value where the outcomes are too few; None if the reference has no
    labels, or the version no single answer to judge.

    `independent` is the share of rows that are independent: rows of one subject depend on each
    other. Costs as much as the window has outcomes.
    """
    if reference is None:
        return None
    try:
        task = task_of(version)
    except NoQuality:
        return None
    parts = [
        replace(part, outcomes=part.outcomes.filter(created_at__gte=since, created_at__lt=until))
        for part in labelled_predictions({"model": version})
    ]
    total, _ = tally(task, parts)
    n = total.scored * min(independent, 1.0)
    if n < MIN_ROWS:
        return _without_verdict(total.scored, n)
    comparison = _compared(reference, total, n)
    return None if comparison is None else _finding(comparison)


def _compared(reference: Quality, total: Tally, n: float) -> Comparison | None:
    if isinstance(total, ClassifierTally):
        return _of_accuracy(reference, total, n)
    return _of_error(reference, total, n)


def _of_accuracy(reference: Quality, total: ClassifierTally, n: float) -> Comparison | None:
    """The z test of two proportions with their pooled share."""
    before, figures = reference.accuracy, total.figures()
    after = figures["accuracy"]
    if before is None or not isinstance(after, float):
        return None
    pooled = (before * reference.rows + after * n) / (reference.rows + n)
    error = math.sqrt(pooled * (1 - pooled) * (1 / reference.rows + 1 / n))
    drop = before - after
    return Comparison(
        Kind.MEASURED_QUALITY,
        f"The accuracy is {percent(after)} on {total.scored:,} outcomes, in the reference"
        f" {percent(before)}",
        p_value=_tail(drop, error),
        severity=ACCURACY_LIMITS.severity(drop),
        effect="accuracy_drop",
        value=drop,
        threshold=ACCURACY_LIMITS.warning,
        figures={**figures, "rows": total.scored, "reference_accuracy": before},
    )


def _of_error(reference: Quality, total: RegressorTally, n: float) -> Comparison | None:
    """Welch's test in its limit of large samples, of the mean absolute errors."""
    before, variance = reference.absolute_error, reference.absolute_error_variance
    errors = Moments.from_sums(total.scored, total.absolute_errors, total.squared_errors)
    if errors is None or before is None or variance is None:
        return None
    error = math.sqrt(errors.variance / n + variance / reference.rows)
    grown = errors.mean - before
    growth = min(grown / before, MAX_GROWTH) if before else MAX_GROWTH if grown else 0.0
    return Comparison(
        Kind.MEASURED_QUALITY,
        f"The mean absolute error is {number(errors.mean)} on {total.scored:,} outcomes, in the"
        f" reference {number(before)}",
        p_value=_tail(grown, error),
        severity=ERROR_LIMITS.severity(growth),
        effect="absolute_error_growth",
        value=growth,
        threshold=ERROR_LIMITS.warning,
        figures={**total.figures(), "rows": total.scored, "reference_mae": before},
    )


def _tail(worse: float, error: float) -> float:
    """The chance of being worse by this much or more, of a normal distribution."""
    if error == 0:
        return 0.0 if worse > 0 else 1.0
    return NormalDist().cdf(-worse / error)


def _finding(comparison: Comparison) -> Finding:
    """One test a report: nothing to adjust the p-value for."""
    p_value = comparison.p_value
    is_significant = p_value is not None and p_value < ALPHA
    return Finding(
        kind=comparison.kind,
        variable="",
        segment="",
        severity=comparison.severity if is_significant else None,
        p_value=p_value,
        adjusted_p=p_value,
        effect=comparison.effect,
        value=comparison.value,
        threshold=comparison.threshold,
        figures=comparison.figures,
        reason=comparison.reason,
    )


def _without_verdict(scored: int, n: float) -> Finding:
    reason = f"{scored:,} outcomes were recorded"
    if scored >= MIN_ROWS:
        reason += f", which say as much as {n:.0f} independent ones"
    reason += f"; a verdict takes {MIN_ROWS}"
    comparison = Comparison(Kind.MEASURED_QUALITY, reason, figures={"rows": scored})
    return _finding(comparison)
