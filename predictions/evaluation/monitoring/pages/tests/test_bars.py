"""How the fine bins of a profile become the bars of a histogram."""

from itertools import pairwise

import numpy as np
import pytest

from predictions.evaluation.drift.bins import NumberBins
from predictions.evaluation.drift.tables import Numbers, Variable
from predictions.evaluation.monitoring.pages.bars import (
    MAX_NAMED_BINS,
    histogram_bars,
    number_bars,
)


def bins_of(values: list[float]) -> NumberBins:
    return NumberBins.of(Variable("input:x", "number"), Numbers(np.array(values, np.float64)))


def random_values(kind: str) -> list[float]:
    rng = np.random.default_rng(3)
    values: dict[str, list[float]] = {
        "normal": rng.normal(50, 10, 2000).tolist(),
        "skewed": rng.lognormal(0, 3, 2000).tolist(),
        "huge": (rng.normal(0, 1, 2000) * 1e307).tolist(),
        "tiny": (rng.normal(0, 1, 2000) * 1e-307).tolist(),
        "mostly one value": [0.0] * 1500 + rng.normal(0, 1, 500).tolist(),
    }
    return values[kind]


@pytest.mark.parametrize("kind", ["normal", "skewed", "huge", "tiny", "mostly one value"])
def test_bars_hold_every_bin_once_and_have_no_gaps(kind: str) -> None:
    bins = bins_of(random_values(kind))

    bars = histogram_bars(bins, bins.counts)

    assert [code for bar in bars for code in range(bar.first, bar.last + 1)] == list(
        range(1, bins.above)
    )
    assert all(left.high == right.low for left, right in pairwise(bars))
    assert all(bar.low < bar.high for bar in bars)
    assert np.isfinite([edge for bar in bars for edge in (bar.low, bar.high, bar.width)]).all()
    assert sum(bar.rows(bins.counts) for bar in bars) == 2000


def test_bars_of_even_values_are_about_equally_wide() -> None:
    bars = histogram_bars(bins_of(np.arange(2000.0).tolist()), np.zeros(104, np.int64))

    widths = [bar.width for bar in bars[1:-1]]
    assert 15 <= len(bars) <= 22
    assert max(widths) <= 2 * min(widths)


def test_an_outlier_does_not_squeeze_the_rest() -> None:
    bars = histogram_bars(bins_of([*random_values("normal"), 1e9]), np.zeros(104, np.int64))

    assert bars[-1].high < 100
    assert bars[-1].width > 1e8


def test_rows_beyond_the_range_have_bars_at_the_ends() -> None:
    bins = bins_of(random_values("normal"))
    shown = np.zeros(bins.size, np.int64)
    shown[[0, bins.above]] = 1

    bars = histogram_bars(bins, shown)

    assert bars[0].label.startswith("below ")
    assert bars[-1].label.startswith("above ")


def test_few_distinct_numbers_are_bars_with_names() -> None:
    bins = bins_of([1.0] * 50 + [2.0] * 30 + [5.0] * 20)

    assert len(bins.edges) <= MAX_NAMED_BINS
    assert [bar.label for bar in number_bars(bins)] == ["1", "2", "5"]
