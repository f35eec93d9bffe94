"""Charts of a replay as SVG. Their colours are the page's: readable in light and dark."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH = 560
LABEL_WIDTH, FIGURE_WIDTH = 150, 110
ROW_HEIGHT, BAR_HEIGHT = 26, 14


def bars(rows: Sequence[tuple[str, float, str]], *, title: str, most: float) -> SafeString | str:
    """Horizontal bars: a label, a size out of `most`, and the size as it is read."""
    room = WIDTH - LABEL_WIDTH - FIGURE_WIDTH
    drawn = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="end">{}</text>'
        '<rect x="{}" y="{}" width="{}" height="{}" rx="2"/>'
        '<text x="{}" y="{}" class="figure">{}</text>',
        (
            (
                LABEL_WIDTH - 8,
                row * ROW_HEIGHT + 18,
                label if len(label) <= 20 else label[:19] + "…",
                LABEL_WIDTH,
                row * ROW_HEIGHT + (ROW_HEIGHT - BAR_HEIGHT) // 2,
                f"{max(1.0, room * size / most if most else 0.0):.1f}",
                BAR_HEIGHT,
                f"{LABEL_WIDTH + room * (size / most if most else 0.0) + 8:.1f}",
                row * ROW_HEIGHT + 18,
                figure,
            )
            for row, (label, size, figure) in enumerate(rows)
        ),
    )
    return format_html(
        '<svg class="chart" viewBox="0 0 {} {}" width="{}" height="{}" role="img"'
        ' aria-label="{}">{}</svg>',
        *(WIDTH, len(rows) * ROW_HEIGHT, WIDTH, len(rows) * ROW_HEIGHT),
        title,
        drawn,
    )


def difference_chart(report: Mapping[str, Any]) -> SafeString | str:
    """How far apart the answers are: the mean and the quantiles of the distance."""
    found = report["difference"]
    if not found:
        return "-"
    names = {"mean_absolute": "mean", "p50": "half within", "p90": "90 % within"}
    names |= {"p99": "99 % within", "max": "furthest"}
    rows = [(said, found[name], f"{found[name]:.6g}") for name, said in names.items()]
    return bars(rows, title="How far apart the answers are", most=found["max"])


def class_chart(report: Mapping[str, Any], limit: int = 20) -> SafeString | str:
    """The agreement of each recorded class."""
    if not report["classes"]:
        return "-"
    rows = [
        (str(one["label"]), one["agreement"], f"{one['agreement']:.1%} of {one['rows']:,}")
        for one in report["classes"]["agreement"][:limit]
    ]
    return bars(rows, title="Agreement by recorded class", most=1.0)
