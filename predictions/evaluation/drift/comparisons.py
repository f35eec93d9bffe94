"""The comparisons of a window with its reference, before it is known which of them are alarms.

Each has a p-value, and a severity that holds if the p-value turns out to be significant.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from predictions.evaluation.drift.counts import Counts
from predictions.evaluation.drift.measures import excess, least_excess, normal_tail
from predictions.evaluation.figures import percent
from predictions.evaluation.intervals import wilson_interval

# The chance that a report with no change at all has an alarm, at most. Half of the promised 1 %: a
# rule with a chance of just 1 % gives more than four false alarms in 37 of 100 runs of 400 reports.
ALPHA = 0.005
# With fewer independent rows there is no verdict.
MIN_ROWS = 100


class Severity(StrEnum):
    WARNING = "warning"
    SEVERE = "severe"


class Kind(StrEnum):
    """What is compared, the worst first."""

    MEASURED_QUALITY = "measured_quality"
    ESTIMATED_QUALITY = "estimated_quality"
    FAILURES = "failures"
    MISSING_VALUES = "missing_values"
    UNPARSABLE_VALUES = "unparsable_values"
    CONSTRAINT = "constraint"
    PREDICTION_DRIFT = "prediction_drift"
    CONFIDENCE_DRIFT = "confidence_drift"
    NEW_CATEGORIES = "new_categories"
    OUT_OF_RANGE = "out_of_range"
    INPUT_DRIFT = "input_drift"
    LATENCY = "latency"
    NO_REFERENCE = "no_reference"
    TOO_FEW_ROWS = "too_few_rows"

    @property
    def rank(self) -> int:
        return list(Kind).index(self)


# What a share is compared with, in words, where it is not the reference's own.
EXPECTED_FROM = {Kind.NEW_CATEGORIES: "expected"}


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a difference is a warning, and severe."""

    warning: float
    severe: float

    def severity(self, value: float) -> Severity | None:
        if value >= self.severe:
            return Severity.SEVERE
        return Severity.WARNING if value >= self.warning else None


# By how much a share of rows grew.
SHARE_LIMITS = Limits(0.01, 0.1)
# Fewer independent rows raise no alarm, even if they are surely more than the reference had: they
# may be one caller who tries again. No alarm of drift rests on fewer rows either (MIN_EXPECTED).
MIN_HITS = 5
# By how much the accuracy fell.
ACCURACY_LIMITS = Limits(0.02, 0.05)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One difference; p_value is None if there is nothing to test."""

    kind: Kind
    reason: str
    variable: str = ""
    p_value: float | None = None
    severity: Severity | None = None
    effect: str = ""
    value: float | None = None
    threshold: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """The counts of a window and of its reference, and what part of their rows are independent."""

    now: Counts
    before: Counts
    independent: float
    independent_before: float

    @classmethod
    def of(cls, now: Counts, before: Counts) -> "Sample":
        return cls(
            now,
            before,
            now.n_effective / now.rows if now.rows else 1.0,
            before.n_effective / before.rows if before.rows else 1.0,
        )


def compared_rows(sample: Sample) -> list[Comparison]:
    """Failures, and constraints that rows break."""
    now, before = sample.now, sample.before
    rows, rows_before = (now.rows, before.rows)
    found = [
        grown_share(
            Kind.FAILURES,
            "",
            "of the predictions failed",
            (now.failed, rows),
            (before.failed, rows_before),
            sample,
        )
    ]
    for constraint in sorted({**now.violations, **before.violations}):
        hits = now.violations.get(constraint, 0), before.violations.get(constraint, 0)
        words = f"of the rows break the constraint {constraint}"
        found.append(
            grown_share(
                Kind.CONSTRAINT, constraint, words, (hits[0], rows), (hits[1], rows_before), sample
            )
        )
    return found


def grown_share(
    kind: Kind,
    variable: str,
    words: str,
    now: tuple[int, int],
    before: tuple[int, int],
    sample: Sample,
    *,
    looks: int = 1,
) -> Comparison:
    """Whether a share of rows grew, given its (hits, rows) in the window and in the reference.

    looks: of how many p-values this one is the smallest.
    """
    # Whole rows, rounded so that dependent ones never count for more than they are.
    hits, rows = (math.floor(count * sample.independent) for count in now)
    reference_hits = math.ceil(before[0] * sample.independent_before)
    reference_rows = max(math.floor(before[1] * sample.independent_before), reference_hits)
    share, reference_share = now[0] / now[1], before[0] / before[1] if before[1] else 0.0
    can_be_significant = least_excess(rows, reference_rows, hits + reference_hits) * looks < ALPHA
    p_value = min(1.0, looks * excess(hits, rows, reference_hits, reference_rows))
    return Comparison(
        kind,
        f"{percent(share)} {words} ({EXPECTED_FROM.get(kind, 'reference')}:"
        f" {percent(reference_share)})",
        variable,
        p_value if can_be_significant else None,
        SHARE_LIMITS.severity(share - reference_share) if hits >= MIN_HITS else None,
        "share_increase",
        share - reference_share,
        SHARE_LIMITS.warning,
        {
            "rows": now[1],
            "hits": now[0],
            "share": share,
            "interval": wilson_interval(now[0], now[1]),
            "reference_share": reference_share,
        },
    )


def compared_quality(sample: Sample) -> list[Comparison]:
    """Whether the estimated accuracy fell; nothing without an estimate of the reference."""
    now, before = sample.now.quality, sample.before.quality
    if before is None or before.accuracy is None:
        return []
    rows = 0 if now is None else now.rows
    n, m = rows * sample.independent, before.rows * sample.independent_before
    if now is None or now.accuracy is None or n < MIN_ROWS:
        reason = f"Estimated accuracy: too few answers with probabilities, {rows:,}"
        return [Comparison(Kind.ESTIMATED_QUALITY, reason)]
    drop = before.accuracy - now.accuracy
    # Welch's: the window's own variance, which grows as its answers become less certain.
    error = math.sqrt(now.variance / n + before.variance / m)
    figures = {
        "rows": now.rows,
        "accuracy": now.accuracy,
        "sampling_error": now.sampling_error(n),
        "f1": now.f1,
        "roc_auc": now.roc_auc,
        "reference_accuracy": before.accuracy,
        "reference_f1": before.f1,
        "reference_roc_auc": before.roc_auc,
    }
    reason = (
        f"The estimated accuracy is {percent(now.accuracy)}, in the reference"
        f" {percent(before.accuracy)}"
    )
    return [
        Comparison(
            Kind.ESTIMATED_QUALITY,
            reason,
            "",
            normal_tail(drop / error) if error else None,
            ACCURACY_LIMITS.severity(drop),
            "accuracy_drop",
            drop,
            ACCURACY_LIMITS.warning,
            figures,
        )
    ]
