"""Findings in words, for people who get an alert."""

from collections.abc import Mapping

import numpy as np

from predictions.evaluation.drift.bins import CategoryBins, NumberBins
from predictions.evaluation.drift.counts import VariableCounts
from predictions.evaluation.drift.tables import FloatArray
from predictions.evaluation.figures import number, percent

MAX_NAMED_CATEGORIES = 5
# A share of a tail is worth a word if it grew by this much.
NOTABLE_GROWTH = 0.05


def representatives(bins: NumberBins, counts: VariableCounts) -> FloatArray:
    """A value for each bin of numbers, ascending, for bins 0 to K + 1 of a profile with K > 0.

    The mean of the reference's values in it; below and above the reference's range, the mean of
    the values that were counted there.
    """
    assert bins.minimum is not None
    assert bins.maximum is not None
    steps = [
        total / rows if rows else 0.0
        for total, rows in zip(
            counts.beyond, (int(counts.bins[0]), int(counts.bins[bins.above])), strict=True
        )
    ]
    limit = float(np.finfo(np.float64).max)
    below = max(bins.minimum - steps[0] * bins.step, -limit)
    above = min(bins.maximum + steps[1] * bins.step, limit)
    return np.concatenate(([below], bins.means, [above]))


def quantile(values: FloatArray, rows: FloatArray, share: float) -> float:
    """The value of the first bin up to which at least this share of the rows lies."""
    reached = np.cumsum(rows) >= share * rows.sum() * (1 - 1e-12)
    return float(values[int(np.argmax(reached))])


def number_moved(
    bins: NumberBins, now: VariableCounts, before: VariableCounts
) -> tuple[str, dict[str, float]]:
    """What happened to a number, and its quantiles in the window and in the reference."""
    present = slice(0, bins.above + 1)
    a, b = now.bins[present].astype(np.float64), before.bins[present].astype(np.float64)
    values, reference_values = representatives(bins, now), representatives(bins, before)
    figures = {}
    for name, share in (("p10", 0.1), ("median", 0.5), ("p90", 0.9)):
        figures[name] = quantile(values, a, share)
        figures[f"reference_{name}"] = quantile(reference_values, b, share)
    label = bins.variable.label
    old, new = number(figures["reference_median"]), number(figures["median"])
    moved = f"moved from a median of {old} to {new}" if old != new else f"kept its median of {old}"
    tails = _tails(a, b)
    figures |= {
        "share_below_p10": tails["below", 10][0],
        "share_above_p90": tails["above", 90][0],
    }
    notable = [
        f"{percent(share)} lie {side} the reference's {level} % quantile"
        for (side, level), (share, growth) in tails.items()
        if growth >= NOTABLE_GROWTH
    ]
    if not notable and old == new:
        notable = ["its values are spread differently"]
    return "; ".join([f"{label} {moved}", " and ".join(notable)]).rstrip("; "), figures


def _tails(a: FloatArray, b: FloatArray) -> dict[tuple[str, int], tuple[float, float]]:
    """The window's shares beyond the reference's outer deciles, and by how much they grew."""
    p, q = np.cumsum(a) / a.sum(), np.cumsum(b) / b.sum()
    low = int(np.argmax(q >= 0.1 - 1e-12))
    high = int(np.argmax(q >= 0.9 - 1e-12))
    below = (float(p[low - 1]), float(q[low - 1])) if low else (0.0, 0.0)
    above = (1 - float(p[high]), 1 - float(q[high]))
    return {
        ("above", 90): (above[0], above[0] - above[1]),
        ("below", 10): (below[0], below[0] - below[1]),
    }


def categories_moved(bins: CategoryBins, now: VariableCounts, before: VariableCounts) -> str:
    """The categories whose shares changed most."""
    p = now.bins[: bins.missing] / max(int(now.bins[: bins.missing].sum()), 1)
    q = before.bins[: bins.missing] / max(int(before.bins[: bins.missing].sum()), 1)
    names = [*(f"“{value}”" for value in bins.values), "other categories"]
    changes = []
    for code in np.argsort(-np.abs(p - q), kind="stable")[:2].tolist():
        if p[code] != q[code]:
            verb = "rose" if p[code] > q[code] else "fell"
            changes.append(f"{names[code]} {verb} from {percent(q[code])} to {percent(p[code])}")
    return f"{bins.variable.label}: {' and '.join(changes)}"


def named(new: Mapping[str, int]) -> str:
    """The most frequent new categories, and how many rows have each."""
    ranked = sorted(new.items(), key=lambda item: (-item[1], item[0]))
    names = ", ".join(f"“{name}” ({rows:,} rows)" for name, rows in ranked[:MAX_NAMED_CATEGORIES])
    return f"{names}, ..." if len(ranked) > MAX_NAMED_CATEGORIES else names
