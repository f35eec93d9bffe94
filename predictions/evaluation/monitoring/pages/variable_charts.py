"""The charts of a variable: its histogram, and how it changed from day to day."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import numpy as np

from predictions.evaluation.charts import Chart, Series
from predictions.evaluation.drift.bins import CategoryBins, NumberBins, VariableProfile
from predictions.evaluation.drift.counts import VariableCounts
from predictions.evaluation.drift.reasons import quantile, representatives
from predictions.evaluation.figures import number, percent
from predictions.evaluation.monitoring.pages.bars import (
    MAX_NAMED_BINS,
    Bar,
    histogram_bars,
    named_bars,
    number_bars,
    special_bars,
)

QUANTILES = {"10 % quantile": 0.1, "median": 0.5, "90 % quantile": 0.9}
MAX_CHARTED_CATEGORIES = 25
# A share of one in a thousand must not fill a chart.
SMALLEST_AXIS = (0.0, 0.05)

LinkOf = Callable[[Bar], str]


def histograms(
    bins: VariableProfile, window: VariableCounts, reference: VariableCounts, link: LinkOf
) -> list[Chart]:
    """The values of the window and of the reference, and those that no histogram has.

    `link` leads to the window's rows behind a bar.
    """
    charts = []
    if isinstance(bins, CategoryBins):
        bars = _largest(named_bars(bins), window, reference)
        charts.append(_named("Values", bars, window, reference, link))
    elif len(bins.edges) > MAX_NAMED_BINS:
        charts.append(_histogram(bins, window, reference, link))
    elif len(bins.edges):
        charts.append(_named("Values", number_bars(bins), window, reference, link))
    title = "Missing" if isinstance(bins, CategoryBins) else "Missing or outside of the range"
    charts.append(_named(title, special_bars(bins), window, reference, link, SMALLEST_AXIS))
    return charts


def courses(
    bins: VariableProfile, by_day: Mapping[datetime, VariableCounts], reference: VariableCounts
) -> list[Chart]:
    """The variable from day to day, beside the reference."""
    days = sorted(by_day)
    if not days:
        return []
    series = (
        _quantile_series(bins, [by_day[day] for day in days], reference)
        if isinstance(bins, NumberBins)
        else _category_series(bins, [by_day[day] for day in days], reference)
    )
    shared = {
        "row_title": "Day",
        "rows": [f"{day:%Y-%m-%d}" for day in days],
        "axis": "time",
        "positions": [day.timestamp() for day in days],
    }
    is_number = isinstance(bins, NumberBins)
    charts = [
        Chart(
            title="Quantiles by day" if is_number else "Most frequent values by day",
            series=series,
            is_percentage=not is_number,
            **shared,  # type: ignore[arg-type]
        ),
        Chart(
            title="Missing or outside of the range by day"
            if is_number
            else "Missing or new by day",
            series=_outside_series(bins, [by_day[day] for day in days]),
            is_percentage=True,
            include=SMALLEST_AXIS,
            **shared,  # type: ignore[arg-type]
        ),
    ]
    return [chart for chart in charts if not chart.is_empty]


def segment_chart(
    bins: NumberBins,
    by_segment: Mapping[str, VariableCounts],
    reference: VariableCounts,
    links: Mapping[str, str],
) -> Chart:
    """The quantiles of segments, such as the arms of an alias, beside the reference's."""
    counts = {
        "reference": reference,
        **{segment or "all rows": each for segment, each in by_segment.items()},
    }
    return Chart(
        title="Segments side by side",
        row_title="Segment",
        rows=list(counts),
        series=[
            Series(
                name=name,
                values=[_quantile(bins, each, share) for each in counts.values()],
                shape="dots",
            )
            for name, share in QUANTILES.items()
        ],
        axis="names",
        links=[None, *(links[segment] for segment in by_segment)],
    )


def _named(
    title: str,
    bars: Sequence[Bar],
    window: VariableCounts,
    reference: VariableCounts,
    link: LinkOf,
    include: Sequence[float] = (),
) -> Chart:
    return Chart(
        title=title,
        row_title="Value",
        rows=[bar.label for bar in bars],
        series=[
            _shares("reference", bars, reference, is_background=True),
            _shares("window", bars, window),
            _rows_of(bars, window),
        ],
        axis="names",
        include=include,
        is_percentage=True,
        links=_links(bars, window, link),
    )


def _histogram(
    bins: NumberBins, window: VariableCounts, reference: VariableCounts, link: LinkOf
) -> Chart:
    bars = histogram_bars(bins, window.bins + reference.bins)
    # Shares by a common width, so that the area of a bar is its share of the rows.
    unit = float(np.median([bar.width for bar in bars])) or 1.0
    series = []
    for name, counts in (("reference", reference), ("window", window)):
        shares = _shares(name, bars, counts, is_background=counts is reference)
        heights = [
            (share or 0.0) * unit / (bar.width or unit)
            for share, bar in zip(shares.values, bars, strict=True)
        ]
        series.append(
            Series(
                name=name,
                values=heights,
                texts=[percent(share or 0.0) for share in shares.values],
                shape="steps",
                is_background=shares.is_background,
            )
        )
    return Chart(
        title=f"Values: share of the rows in each {number(unit)}",
        row_title="Values",
        rows=[bar.label for bar in bars],
        series=[*series, _rows_of(bars, window)],
        axis="bins",
        positions=[bars[0].low, *(bar.high for bar in bars)],
        is_percentage=True,
        links=_links(bars, window, link),
    )


def _shares(
    name: str, bars: Sequence[Bar], counts: VariableCounts, *, is_background: bool = False
) -> Series:
    rows = int(counts.bins.sum()) or 1
    return Series(
        name=name,
        values=[bar.rows(counts.bins) / rows for bar in bars],
        shape="bars",
        is_background=is_background,
    )


def _rows_of(bars: Sequence[Bar], counts: VariableCounts) -> Series:
    texts = [f"{bar.rows(counts.bins):,}" for bar in bars]
    return Series(name="rows", values=[None] * len(bars), shape="text", texts=texts)


def _links(bars: Sequence[Bar], counts: VariableCounts, link: LinkOf) -> list[str | None]:
    return [link(bar) if bar.rows(counts.bins) else None for bar in bars]


def _largest(
    bars: Sequence[Bar], window: VariableCounts, reference: VariableCounts
) -> Sequence[Bar]:
    """At most MAX_CHARTED_CATEGORIES, by their larger share, in their order."""
    if len(bars) <= MAX_CHARTED_CATEGORIES:
        return bars
    size = [
        max(bar.rows(counts.bins) / (int(counts.bins.sum()) or 1) for counts in (window, reference))
        for bar in bars
    ]
    kept = sorted(range(len(bars)), key=lambda index: -size[index])[:MAX_CHARTED_CATEGORIES]
    return [bars[index] for index in sorted(kept)]


def _quantile(bins: NumberBins, counts: VariableCounts, share: float) -> float | None:
    rows = counts.bins[: bins.above + 1].astype(np.float64)
    if bins.minimum is None or not rows.sum():
        return None
    return quantile(representatives(bins, counts), rows, share)


def _quantile_series(
    bins: NumberBins, days: Sequence[VariableCounts], reference: VariableCounts
) -> list[Series]:
    median = _quantile(bins, reference, 0.5)
    return [
        Series(
            name="reference's median",
            values=[median] * len(days),
            shape="dashed",
            is_background=True,
        ),
        *(
            Series(name=name, values=[_quantile(bins, day, share) for day in days], shape="line")
            for name, share in QUANTILES.items()
        ),
    ]


def _category_series(
    bins: CategoryBins, days: Sequence[VariableCounts], reference: VariableCounts
) -> list[Series]:
    total = reference.bins + sum((day.bins for day in days), np.zeros_like(reference.bins))
    codes = np.argsort(-total[: len(bins.values)], kind="stable")[:5].tolist()
    return [
        Series(
            name=bins.values[code] or "(empty)",
            values=[_share(day, code) for day in days],
            shape="line",
        )
        for code in codes
    ]


def _outside_series(bins: VariableProfile, days: Sequence[VariableCounts]) -> list[Series]:
    parts = {"missing": [bins.missing]}
    if isinstance(bins, NumberBins):
        parts["not a number"] = [bins.unparsable]
        parts["outside of the reference's range"] = [0, bins.above]
    else:
        parts["other categories"] = [bins.other]
    return [
        Series(
            name=name,
            values=[_sum([_share(day, code) for code in codes]) for day in days],
            shape="line",
        )
        for name, codes in parts.items()
    ]


def _share(counts: VariableCounts, code: int) -> float | None:
    rows = int(counts.bins.sum())
    return int(counts.bins[code]) / rows if rows else None


def _sum(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) if known else None
