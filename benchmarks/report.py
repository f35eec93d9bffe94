"""Figures as Markdown tables, and targets as met or missed."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MISSING = "-"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a figure; `figure` is None if it could not be measured."""

    name: str
    bound: float
    kind: Literal["at least", "at most"]
    figure: float | None

    @property
    def is_met(self) -> bool:
        if self.figure is None:
            return False
        return self.figure >= self.bound if self.kind == "at least" else self.figure <= self.bound

    def row(self) -> list[str]:
        verdict = "not measured" if self.figure is None else "met" if self.is_met else "MISSED"
        bound = f"{self.kind} {format_figure(self.bound)}"
        return [self.name, bound, format_figure(self.figure), verdict]

    def as_json(self) -> dict[str, object]:
        definition = {"name": self.name, "kind": self.kind, "bound": self.bound}
        return {**definition, "figure": self.figure, "is_met": self.is_met}


def targets_table(targets: Iterable[Target]) -> str:
    return table(["target", "bound", "figure", ""], [target.row() for target in targets])


def median(values: Iterable[float]) -> float | None:
    """The median, or None without values."""
    known = list(values)
    return statistics.median(known) if known else None


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    if numerator is None or not denominator:
        return None
    return numerator / denominator


def format_figure(figure: float | None) -> str:
    """Three significant digits; no decimals from 100 on."""
    if figure is None:
        return MISSING
    if abs(figure) >= 100:
        return f"{figure:,.0f}"
    if abs(figure) >= 10:
        return f"{figure:.1f}"
    return f"{figure:.2f}" if abs(figure) >= 0.1 or not figure else f"{figure:.3f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, readable in a terminal too."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    formatted = [_line(line, widths) for line in lines]
    formatted.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(formatted)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "| " + " | ".join(padded) + " |"


def write_json(path: Path | None, value: object) -> None:
    if path is not None:
        path.write_text(json.dumps(value, indent=1) + "\n")
