"""The bars of a variable's histogram: neighbouring bins of its profile, joined for the eye."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from predictions.evaluation.drift.bins import CategoryBins, NumberBins
from predictions.evaluation.drift.tables import IntArray
from predictions.evaluation.figures import number

# A number with at most so many bins has few distinct values: each is a bar with a name.
MAX_NAMED_BINS = 20
# About so many bars of equal width lie between the reference's 1 % and 99 % quantiles.
BARS = 20


@dataclass(frozen=True, slots=True)
class Bar:
    """The rows in the bins `first` to `last` of a profile, drawn from `low` to `high`.

    width: how much of the axis the rows lie on. The ends of a histogram are drawn narrower, so that
        an outlier does not squeeze the rest. A bar with a name has no place on an axis.
    """

    label: str
    first: int
    last: int
    low: float = 0.0
    high: float = 0.0
    width: float = 0.0

    def rows(self, bins: IntArray) -> int:
        return int(bins[self.first : self.last + 1].sum())


def named_bars(bins: CategoryBins) -> list[Bar]:
    """One bar for each category of the reference, and one for all others."""
    bars = [Bar(value or "(empty)", code, code) for code, value in enumerate(bins.values)]
    return [*bars, Bar("other categories", bins.other, bins.other)]


def number_bars(bins: NumberBins) -> list[Bar]:
    """A bar for each bin within the reference's range, of a number with few of them."""
    edges = bins.edges.tolist()
    lows = [bins.minimum, *edges]
    return [
        Bar(
            _text(high) if _is_one_value(bins, code) else f"{_text(low)} to {_text(high)}",
            code,
            code,
        )
        for code, (low, high) in enumerate(zip(lows, edges, strict=False), start=1)
    ]


def histogram_bars(bins: NumberBins, shown: IntArray) -> list[Bar]:
    """Bars of about equal width, in ascending order and without gaps.

    The bars below and above the reference's range are there if `shown` has rows in them.
    """
    assert bins.minimum is not None
    low, high = _quantile(bins, 0.01), _quantile(bins, 0.99)
    unit = (high / BARS - low / BARS) or abs(high) / BARS or 1.0
    bars = _joined(bins, low, unit)
    bars[0] = replace(bars[0], low=max(bars[0].low, bars[0].high - 2 * unit))
    bars[-1] = replace(bars[-1], high=min(bars[-1].high, bars[-1].low + 2 * unit))
    if shown[0]:
        end = bars[0].low
        bars.insert(0, Bar(f"below {_text(bins.minimum)}", 0, 0, end - unit, end, unit))
    if shown[bins.above]:
        start, label = bars[-1].high, f"above {_text(bins.maximum)}"
        bars.append(Bar(label, bins.above, bins.above, start, start + unit, unit))
    return bars


def special_bars(bins: NumberBins | CategoryBins) -> list[Bar]:
    """The bins that no histogram has."""
    missing = Bar("missing", bins.missing, bins.missing)
    if isinstance(bins, CategoryBins):
        return [missing]
    bars = [missing, Bar("not a number", bins.unparsable, bins.unparsable)]
    if bins.minimum is None or bins.maximum is None:
        return bars
    return [
        Bar(f"below {_text(bins.minimum)}", 0, 0),
        Bar(f"above {_text(bins.maximum)}", bins.above, bins.above),
        *bars,
    ]


def _joined(bins: NumberBins, start: float, width: float) -> list[Bar]:
    """Fine bins up to `start`, then up to each multiple of the width after it, then the rest."""
    assert bins.minimum is not None
    edges = bins.edges
    lines = start + width * np.arange(BARS + 1)
    # The edge that is nearest to each line, so that bars are as equal as the bins allow.
    after = np.clip(np.searchsorted(edges, lines), 1, len(edges) - 1)
    nearest = np.where(lines - edges[after - 1] < edges[after] - lines, after - 1, after)
    ends = sorted({*nearest.tolist(), len(edges) - 1})
    bars = []
    first, low = 1, bins.minimum
    for end in ends:
        high = float(edges[end])
        bars.append(Bar(f"{_text(low)} to {_text(high)}", first, end + 1, low, high, high - low))
        first, low = end + 2, high
    return bars


def _is_one_value(bins: NumberBins, code: int) -> bool:
    """Whether the reference has only the bin's end in it."""
    return bool(bins.means[code - 1] == bins.edges[code - 1])


def _quantile(bins: NumberBins, share: float) -> float:
    inside = bins.counts[1 : bins.above]
    reached: Sequence[bool] = np.cumsum(inside) >= share * inside.sum()
    return float(bins.edges[int(np.argmax(reached))])


def _text(value: float | None) -> str:
    return "" if value is None else number(value, 6)
