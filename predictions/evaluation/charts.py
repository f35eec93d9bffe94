"""Small charts as SVG, drawn here. Their colours are the admin's own variables, by class, so that
light and dark follow by themselves.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 12, 28
TICKS = 4
# Figures nearer than this have no power of ten between them.
TINY = 1e-300
# More labels below a chart would touch each other.
MAX_LABELS = 6
# Charts of one figure a row have its name at the left.
ROW_HEIGHT, NAME_WIDTH = 28, 170
MAX_NAME, NAME_END = 22, 13


@dataclass(frozen=True, slots=True)
class Mark:
    """One figure under its name, and where it lies at 95 %."""

    name: str
    value: float | None
    interval: tuple[float, float] | None = None

    @property
    def reach(self) -> list[float]:
        return [number for number in (self.value, *(self.interval or ())) if number is not None]


class Axis:
    """A range of figures, widened to round numbers, and where each lies between two pixels."""

    def __init__(self, figures: Iterable[float], *, start: float, end: float) -> None:
        given = [*figures]
        low, high = min(given, default=0.0), max(given, default=1.0)
        if high - low < TINY:
            margin = (abs(low) if abs(low) > TINY else 1.0) / 2
            low, high = low - margin, high + margin
        step = _round_step((high - low) / TICKS)
        self._low = math.floor(low / step) * step
        count = max(1, math.ceil((high - self._low) / step - 1e-9))
        self.ticks = [self._low + step * i for i in range(count + 1)]
        self._start, self._end = start, end

    def __call__(self, figure: float) -> str:
        share = (figure - self._low) / (self.ticks[-1] - self._low)
        return f"{self._start + share * (self._end - self._start):.1f}"


def series(title: str, marks: Sequence[Mark], *, figures: Sequence[float] = ()) -> SafeString:
    """A line through figures in their order, with whiskers; the axis shows `figures` as well."""
    reach = [number for mark in marks for number in mark.reach]
    y = Axis([*figures, *reach], start=HEIGHT - BOTTOM, end=TOP)
    step = (WIDTH - LEFT - RIGHT) / max(len(marks), 1)
    places = [f"{LEFT + step * (i + 0.5):.1f}" for i in range(len(marks))]
    every = math.ceil(len(marks) / MAX_LABELS)
    labels = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle">{}</text>',
        [
            (place, HEIGHT - 8, mark.name)
            for place, mark in list(zip(places, marks, strict=True))[::every]
        ],
    )
    dots: list[SafeString] = []
    for place, mark in zip(places, marks, strict=True):
        if mark.value is not None:
            dots.append(_dot(place, y(mark.value), mark))
            if mark.interval:
                low, high = mark.interval
                dots.append(_line(place, y(low), place, y(high), "whisker"))
    path = " ".join(
        f"{place},{y(mark.value)}"
        for place, mark in zip(places, marks, strict=True)
        if mark.value is not None
    )
    line = format_html('<polyline class="trend" points="{}"/>', path)
    return _svg(title, HEIGHT, [_grid(y), labels, line, *dots])


def calibration(title: str, marks: Sequence[tuple[float, Mark]]) -> SafeString:
    """How often what was said with a confidence was right, beside how often it should be."""
    x = Axis([0.0, 1.0], start=LEFT, end=WIDTH - RIGHT)
    y = Axis([0.0, 1.0], start=HEIGHT - BOTTOM, end=TOP)
    labels = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle">{}</text>',
        [(x(tick), HEIGHT - 8, f"{tick:.0%}") for tick in x.ticks],
    )
    diagonal = _line(x(0.0), y(0.0), x(1.0), y(1.0), "ideal")
    dots = [
        _dot(x(confidence), y(mark.value), mark)
        for confidence, mark in marks
        if mark.value is not None
    ]
    return _svg(title, HEIGHT, [_grid(y), labels, diagonal, *dots])


def intervals(title: str, marks: Sequence[Mark], *, figures: Sequence[float] = ()) -> SafeString:
    """One figure a row, each with its interval, on one axis."""
    height = ROW_HEIGHT * len(marks) + BOTTOM + TOP
    reach = [number for mark in marks for number in mark.reach]
    x = Axis([*figures, *reach], start=NAME_WIDTH, end=WIDTH - RIGHT - 24)
    grid = [
        _line(x(tick), str(TOP), x(tick), str(height - BOTTOM), "grid")
        + format_html(
            '<text x="{}" y="{}" text-anchor="middle">{}</text>', x(tick), height - 8, f"{tick:g}"
        )
        for tick in x.ticks
    ]
    rows = []
    for i, mark in enumerate(marks):
        y = f"{TOP + ROW_HEIGHT * (i + 0.5):.1f}"
        rows.append(_name(mark.name, y))
        if mark.interval:
            rows.append(_line(x(mark.interval[0]), y, x(mark.interval[1]), y, "whisker"))
        if mark.value is not None:
            rows.append(_dot(x(mark.value), y, mark))
    return _svg(title, height, [*grid, *rows])


def bars(title: str, rows: Sequence[tuple[str, float, str]], *, most: float) -> SafeString:
    """One bar a row: its name, its size out of `most`, and the size as it is read."""
    room = WIDTH - NAME_WIDTH - 120
    drawn: list[SafeString] = []
    for i, (name, size, said) in enumerate(rows):
        y = f"{TOP + ROW_HEIGHT * (i + 0.5):.1f}"
        width = room * (size / most if most else 0.0)
        drawn.append(_name(name, y))
        drawn.append(
            format_html(
                '<rect class="bar" x="{}" y="{}" width="{}" height="14" rx="2"/>'
                '<text x="{}" y="{}" dy="4">{}</text>',
                NAME_WIDTH,
                f"{float(y) - 7:.1f}",
                f"{max(1.0, width):.1f}",
                f"{NAME_WIDTH + width + 8:.1f}",
                y,
                said,
            )
        )
    return _svg(title, ROW_HEIGHT * len(rows) + 2 * TOP, drawn)


def _name(name: str, y: str) -> SafeString:
    """What a row is called; a longer name would begin outside. Its end tells the arm."""
    return format_html(
        '<text x="{}" y="{}" dy="4" text-anchor="end">{}</text>',
        NAME_WIDTH - 12,
        y,
        name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - NAME_END - 1]}…{name[-NAME_END:]}",
    )


def _grid(y: Axis) -> SafeString:
    lines = [_line(str(LEFT), y(tick), str(WIDTH - RIGHT), y(tick), "grid") for tick in y.ticks]
    labels = [
        format_html(
            '<text x="{}" y="{}" dy="4" text-anchor="end">{}</text>', LEFT - 8, y(tick), f"{tick:g}"
        )
        for tick in y.ticks
    ]
    return format_html_join("", "{}", [(part,) for part in (*lines, *labels)])


def _line(x1: str, y1: str, x2: str, y2: str, kind: str) -> SafeString:
    return format_html('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>', kind, x1, y1, x2, y2)


def _dot(x: str, y: str, mark: Mark) -> SafeString:
    within = f" ({mark.interval[0]:.4g} to {mark.interval[1]:.4g})" if mark.interval else ""
    return format_html(
        '<circle class="dot" cx="{}" cy="{}" r="4"><title>{}: {}{}</title></circle>',
        x,
        y,
        mark.name,
        f"{mark.value:.4g}",
        within,
    )


def _svg(title: str, height: float, parts: Iterable[SafeString]) -> SafeString:
    return format_html(
        '<figure class="chart"><figcaption>{}</figcaption>'
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg></figure>',
        title,
        WIDTH,
        height,
        title,
        format_html_join("", "{}", [(part,) for part in parts]),
    )


def _round_step(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= step * (1 - 1e-9))
