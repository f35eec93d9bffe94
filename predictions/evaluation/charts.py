"""Small SVG charts. Their CSS classes take the colours of the admin's own variables, so that they
follow its light and dark themes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 12, 28
TICKS = 4
# A smaller range has no representable power of ten as its step.
TINY = 1e-300
# More labels below a chart would overlap.
MAX_LABELS = 6
# Charts with one figure per row show its name on the left.
ROW_HEIGHT, NAME_WIDTH = 28, 170
MAX_NAME_LENGTH, NAME_ENDING_LENGTH = 22, 13


@dataclass(frozen=True, slots=True)
class Mark:
    """A named figure with its 95 % interval."""

    name: str
    value: float | None
    interval: tuple[float, float] | None = None

    @property
    def numbers(self) -> list[float]:
        """Everything that the axis must include."""
        return [number for number in (self.value, *(self.interval or ())) if number is not None]


class Axis:
    """Maps figures to pixels from `start` to `end`; its range is widened to round numbers."""

    def __init__(self, figures: Iterable[float], *, start: float, end: float) -> None:
        shown = [*figures]
        low, high = min(shown, default=0.0), max(shown, default=1.0)
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


def series(title: str, marks: Sequence[Mark], *, include: Sequence[float] = ()) -> SafeString:
    """A line through figures in their order, with whiskers; the axis also includes `include`."""
    y = Axis([*include, *_numbers(marks)], start=HEIGHT - BOTTOM, end=TOP)
    step = (WIDTH - LEFT - RIGHT) / max(len(marks), 1)
    points = [(f"{LEFT + step * (i + 0.5):.1f}", mark) for i, mark in enumerate(marks)]
    labelled = points[:: math.ceil(len(marks) / MAX_LABELS)]
    labels = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle">{}</text>',
        [(x, HEIGHT - 8, mark.name) for x, mark in labelled],
    )
    dots: list[SafeString] = []
    for x, mark in points:
        if mark.value is not None:
            dots.append(_dot(x, y(mark.value), mark))
            if mark.interval:
                low, high = mark.interval
                dots.append(_line(x, y(low), x, y(high), "whisker"))
    path = " ".join(f"{x},{y(mark.value)}" for x, mark in points if mark.value is not None)
    line = format_html('<polyline class="trend" points="{}"/>', path)
    return _svg(title, HEIGHT, [_grid(y), labels, line, *dots])


def calibration(title: str, marks: Sequence[tuple[float, Mark]]) -> SafeString:
    """Accuracy by confidence, next to the diagonal of perfect calibration."""
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


def intervals(title: str, marks: Sequence[Mark], *, include: Sequence[float] = ()) -> SafeString:
    """One figure per row with its interval; the axis also includes `include`."""
    height = ROW_HEIGHT * len(marks) + BOTTOM + TOP
    x = Axis([*include, *_numbers(marks)], start=NAME_WIDTH, end=WIDTH - RIGHT - 24)
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


def bars(title: str, rows: Sequence[tuple[str, float, str]], *, maximum: float) -> SafeString:
    """One bar per row: its name, its size (at most `maximum`), and the text next to it."""
    full_width = WIDTH - NAME_WIDTH - 120
    drawn: list[SafeString] = []
    for i, (name, size, text) in enumerate(rows):
        y = f"{TOP + ROW_HEIGHT * (i + 0.5):.1f}"
        width = full_width * (size / maximum if maximum else 0.0)
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
                text,
            )
        )
    return _svg(title, ROW_HEIGHT * len(rows) + 2 * TOP, drawn)


def _numbers(marks: Iterable[Mark]) -> list[float]:
    return [number for mark in marks for number in mark.numbers]


def _name(name: str, y: str) -> SafeString:
    """The name of a row. A long one is cut in the middle: its end holds the arm."""
    if len(name) > MAX_NAME_LENGTH:
        beginning = name[: MAX_NAME_LENGTH - NAME_ENDING_LENGTH - 1]
        name = f"{beginning}…{name[-NAME_ENDING_LENGTH:]}"
    return format_html(
        '<text x="{}" y="{}" dy="4" text-anchor="end">{}</text>',
        NAME_WIDTH - 12,
        y,
        name,
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
    interval = f" ({mark.interval[0]:.4g} to {mark.interval[1]:.4g})" if mark.interval else ""
    return format_html(
        '<circle class="dot" cx="{}" cy="{}" r="4"><title>{}: {}{}</title></circle>',
        x,
        y,
        mark.name,
        f"{mark.value:.4g}",
        interval,
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
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is not below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(
        power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= step * (1 - 1e-9)
    )
