"""The comparisons of one variable: its distribution, and values that should not be there."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from predictions.evaluation.drift import measures, reasons
from predictions.evaluation.drift.bins import CategoryBins, NumberBins, VariableProfile
from predictions.evaluation.drift.comparisons import (
    MIN_ROWS,
    Comparison,
    Kind,
    Limits,
    Sample,
    grown_share,
)
from predictions.evaluation.drift.counts import VariableCounts
from predictions.evaluation.drift.tables import (
    CONFIDENCE,
    LATENCY,
    PREDICTION,
    FloatArray,
    IntArray,
)
from predictions.evaluation.figures import number

# Bins that expect fewer rows are joined: W. G. Cochran, "Some methods for strengthening the common
# chi-squared tests", Biometrics 10 (1954), 417-451.
MIN_EXPECTED = 5
DECILES = 10
# Of categories with more values than these, a single one that grew matters as well.
MANY_CATEGORIES = 20

PSI_LIMITS = Limits(0.1, 0.25)
L_INFINITY_LIMITS = Limits(0.1, 0.25)


def compared_variable(bins: VariableProfile, sample: Sample) -> list[Comparison]:
    """The comparisons of one variable."""
    key = bins.variable.key
    now, before = sample.now.variables[key], sample.before.variables[key]
    if not now.bins.sum() or not before.bins.sum():
        return []
    found = []
    if bins.variable.is_input:
        found += _absent(bins, sample, now, before)
    if isinstance(bins, NumberBins):
        present = slice(0, bins.above + 1)
        if bins.variable.is_input or key == PREDICTION:
            found += _out_of_range(bins, sample, now, before)
    else:
        present = slice(0, bins.missing)
        found += _new_categories(bins, sample, now)
    a = now.bins[present].astype(np.float64) * sample.independent
    b = before.bins[present].astype(np.float64) * sample.independent_before
    if not b.sum():
        return found
    if a.sum() < MIN_ROWS:
        return [*found, _without_verdict(_drift_kind(key), bins, int(now.bins[present].sum()))]
    return [*found, _drift(bins, now, before, a, b)]


def _without_verdict(kind: Kind, bins: VariableProfile, values: int) -> Comparison:
    reason = f"{bins.variable.label}: too few values, {values:,} of at least {MIN_ROWS}"
    return Comparison(kind, reason, bins.variable.key)


def _drift_kind(key: str) -> Kind:
    kinds = {
        PREDICTION: Kind.PREDICTION_DRIFT,
        CONFIDENCE: Kind.CONFIDENCE_DRIFT,
        LATENCY: Kind.LATENCY,
    }
    return kinds.get(key, Kind.INPUT_DRIFT)


def _drift(
    bins: VariableProfile,
    now: VariableCounts,
    before: VariableCounts,
    a: FloatArray,
    b: FloatArray,
) -> Comparison:
    """Whether the values are distributed as in the reference, given scaled counts of both."""
    key = bins.variable.key
    groups = deciles(b) if isinstance(bins, NumberBins) else np.arange(len(b))
    grouped_a, grouped_b = measures.merge_sparse(a, b, groups, MIN_EXPECTED)
    statistic, p_value, degrees = measures.homogeneity(grouped_a, grouped_b)
    psi = measures.psi(grouped_a, grouped_b)
    bias = measures.psi_bias(len(grouped_a), float(a.sum()), float(b.sum()))
    figures: dict[str, Any] = {
        "rows": int(now.bins.sum()),
        "chi_squared": statistic,
        "chi_squared_p": p_value,
        "degrees_of_freedom": degrees,
        "psi": psi,
        "jensen_shannon": measures.jensen_shannon(a, b),
        "l_infinity": measures.l_infinity(a, b),
    }
    effect, value, limits = "psi", psi - bias, PSI_LIMITS
    if isinstance(bins, NumberBins):
        reason, of_numbers = _figures_of_numbers(bins, now, before, a, b)
        figures |= of_numbers
        # Two tests of one question: the smaller p-value, doubled (Bonferroni).
        p_value = min(1.0, 2 * min(p_value, of_numbers["rank_sum_p"]))
    else:
        reason = reasons.categories_moved(bins, now, before)
        if bins.distinct > MANY_CATEGORIES and not limits.severity(value):
            effect, value, limits = "l_infinity", figures["l_infinity"], L_INFINITY_LIMITS
    severity = limits.severity(value)
    if key == LATENCY and not _is_slower(figures):
        severity = None
    tested = p_value if degrees else None
    measured = effect, value, limits.warning
    return Comparison(_drift_kind(key), reason, key, tested, severity, *measured, figures)


def _figures_of_numbers(
    bins: NumberBins, now: VariableCounts, before: VariableCounts, a: FloatArray, b: FloatArray
) -> tuple[str, dict[str, Any]]:
    """What happened in words, and figures of bins that have an order."""
    reason, quantiles = reasons.number_moved(bins, now, before)
    distance = measures.kolmogorov_smirnov(a, b)
    # Of values near the largest numbers there are, the distance may be none.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        values = reasons.representatives(bins, now)
        spread = measures.wasserstein(a, b, values) / bins.sd if bins.sd else math.nan
    return reason, {
        "kolmogorov_smirnov": distance,
        "rank_sum_p": measures.rank_sum(a, b),
        "wasserstein_per_sd": spread if math.isfinite(spread) else None,
        **quantiles,
    }


def deciles(reference: FloatArray) -> IntArray:
    """Which tenth of the reference each of its fine bins belongs to, by the bin's middle."""
    ends = np.cumsum(reference)
    middles = (ends - reference / 2) / ends[-1]
    tenths: IntArray = np.minimum((middles * DECILES).astype(np.int64), DECILES - 1)
    return tenths


def _is_slower(figures: Mapping[str, Any]) -> bool:
    return any(figures[name] > figures[f"reference_{name}"] for name in ("median", "p90"))


def _absent(
    bins: VariableProfile, sample: Sample, now: VariableCounts, before: VariableCounts
) -> list[Comparison]:
    """Values that are missing, and those that are no numbers."""
    label, key = bins.variable.label, bins.variable.key
    shares = [(Kind.MISSING_VALUES, bins.missing, "missing")]
    if isinstance(bins, NumberBins):
        shares.append((Kind.UNPARSABLE_VALUES, bins.unparsable, "no finite numbers"))
    return [
        grown_share(
            kind,
            key,
            f"of {label} are {word}",
            (int(now.bins[code]), int(now.bins.sum())),
            (int(before.bins[code]), int(before.bins.sum())),
            sample,
        )
        for kind, code, word in shares
    ]


def _out_of_range(
    bins: NumberBins, sample: Sample, now: VariableCounts, before: VariableCounts
) -> list[Comparison]:
    """Values beyond the reference's: of both sides, that with more of them."""
    present = slice(0, bins.above + 1)
    rows, rows_before = int(now.bins[present].sum()), int(before.bins[present].sum())
    if bins.minimum is None or bins.maximum is None:
        return []
    if rows * sample.independent < MIN_ROWS:
        return [_without_verdict(Kind.OUT_OF_RANGE, bins, rows)]
    sides = [
        (int(now.bins[0]), int(before.bins[0]), "below", bins.minimum, now.minimum),
        (
            int(now.bins[bins.above]),
            int(before.bins[bins.above]),
            "above",
            bins.maximum,
            now.maximum,
        ),
    ]
    hits, hits_before, side, end, farthest = max(sides)
    words = f"of {bins.variable.label} lie {side} the reference's range, which ends at"
    words = f"{words} {number(end)}"
    if hits and farthest is not None:
        words = f"{words}; the farthest is {number(farthest)}"
    key = bins.variable.key
    # Two sides are looked at: the p-value is doubled (Bonferroni).
    return [
        grown_share(
            Kind.OUT_OF_RANGE, key, words, (hits, rows), (hits_before, rows_before), sample, looks=2
        )
    ]


def _new_categories(bins: CategoryBins, sample: Sample, now: VariableCounts) -> list[Comparison]:
    """Categories that the reference lacks; nothing if it has more than a profile names.

    As many rows of unseen categories are expected as the reference has rows whose category occurs
    once: I. J. Good, "The population frequencies of species and the estimation of population
    parameters", Biometrika 40 (1953), 237-264.
    """
    if not bins.is_complete:
        return []
    hits, rows = int(now.bins[bins.other]), int(now.bins[: bins.missing].sum())
    if rows * sample.independent < MIN_ROWS:
        return [_without_verdict(Kind.NEW_CATEGORIES, bins, rows)]
    words = f"of {bins.variable.label} are categories that the reference lacks"
    if now.new:
        words = f"{words}: {reasons.named(now.new)}"
    known = bins.singletons, int(bins.counts[: bins.missing].sum())
    return [grown_share(Kind.NEW_CATEGORIES, bins.variable.key, words, (hits, rows), known, sample)]
