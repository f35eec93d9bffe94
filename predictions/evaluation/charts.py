"""Charts of the admin's pages: a table of figures, which a script draws with uPlot.

The table is part of the page, folded up, and works without the script. Tooltips show its cells, so
that a chart and its table cannot differ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from django.forms import Media, Script
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from predictions.evaluation.figures import number, percent
from predictions.evaluation.intervals import Interval
from registry.exact_json.values import JSONObject

# A page with charts includes these; see static/predictions/vendor/README.md.
MEDIA = Media(
    css={"all": ["predictions/vendor/uPlot.min.css", "predictions/evaluation.css"]},
    js=[
        Script("predictions/vendor/uPlot.iife.min.js", defer=True),  # type: ignore[list-item]
        Script("predictions/charts.js", defer=True),  # type: ignore[list-item]
    ],
)

# How a series is drawn. "steps" are the outline of a histogram; "text" is in the table and the
# tooltips alone.
Shape: TypeAlias = Literal["line", "dashed", "dots", "bars", "steps", "text"]
# What the rows are: named things, one below the other; moments, as seconds since 1970 in UTC;
# numbers in ascending order; or bins, with one more edge than there are rows.
Axis: TypeAlias = Literal["names", "time", "numbers", "bins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One figure of each row, with its 95 % interval if there are `intervals`."""

    name: str
    values: Sequence[float | None]
    shape: Shape
    intervals: Sequence[Interval | None] = ()
    # What the table and the tooltips show in place of the figures.
    texts: Sequence[str] = ()
    # Grey, for what other series are compared with.
    is_background: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Series over the same rows.

    `positions` are where the rows lie on the axis, or the edges of bins; names have none. The other
    axis also includes the numbers `include`. `links`, one for each row, lead from a row to a page.
    """

    title: str
    row_title: str
    rows: Sequence[str]
    series: Sequence[Series]
    axis: Axis
    positions: Sequence[float] = ()
    include: Sequence[float] = ()
    is_percentage: bool = False
    links: Sequence[str | None] = ()
    note: str = ""

    def __post_init__(self) -> None:
        expected = {"names": 0, "bins": len(self.rows) + 1}.get(self.axis, len(self.rows))
        if len(self.positions) != expected:
            raise ValueError(f"{self.title}: {len(self.positions)} positions, not {expected}")

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be drawn."""
        return all(_finite(value) is None for one in self.series for value in one.values)

    @property
    def drawn(self) -> list[tuple[int, Series]]:
        """The series that have a colour, with their numbers."""
        return [(index, one) for index, one in enumerate(self.series) if one.shape != "text"]

    def html(self) -> SafeString:
        links = self.links or [None] * len(self.rows)
        table = [
            (name, link, [self._cell(one, index) for one in self.series])
            for index, (name, link) in enumerate(zip(self.rows, links, strict=True))
        ]
        context = {"chart": self, "table": table, "drawing": self._drawing()}
        return render_to_string("admin/predictions/chart.html", context)

    def _cell(self, series: Series, index: int) -> tuple[str, str]:
        """A figure and its interval as texts."""
        interval = series.intervals[index] if series.intervals else None
        beside = f"({self._text(interval[0])} to {self._text(interval[1])})" if interval else ""
        if series.texts:
            return series.texts[index], beside
        value = series.values[index]
        return "-" if value is None else self._text(value), beside

    def _text(self, figure: float) -> str:
        return percent(figure) if self.is_percentage else number(figure, 4)

    def _drawing(self) -> JSONObject:
        """What the script needs; JSON has no NaN or infinity."""
        return {
            "axis": self.axis,
            "rows": list(self.rows),
            "positions": _within_reach(self.positions),
            "include": [value for value in self.include if math.isfinite(value)],
            "is_percentage": self.is_percentage,
            "series": [
                {
                    "shape": one.shape,
                    "is_background": one.is_background,
                    "values": [_finite(value) for value in one.values],
                    "intervals": [_drawable(interval) for interval in one.intervals],
                }
                for one in self.series
            ],
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _drawable(interval: Interval | None) -> list[float] | None:
    return list(interval) if interval is not None and all(map(math.isfinite, interval)) else None


def _within_reach(positions: Sequence[float]) -> list[float]:
    """Positions that cannot be drawn are moved to the nearest that can: the rows stay in order."""
    finite = [position for position in positions if math.isfinite(position)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return [high if math.isnan(each) else min(max(each, low), high) for each in positions]
