"""Figures as Markdown tables, and targets as met or not."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

MISSING = "-"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a figure; `figure` is None where it could not be measured."""

    what: str
    bound: float
    kind: Literal["at least", "at most"]
    figure: float | None

    @property
    def is_met(self) -> bool:
        if self.figure is None:
            return False
        return self.figure >= self.bound if self.kind == "at least" else self.figure <= self.bound

    def row(self) -> list[str]:
        verdict = "not measured" if self.figure is None else "met" if self.is_met else "NOT MET"
        return [self.what, f"{self.kind} {shown(self.bound)}", shown(self.figure), verdict]

    def as_json(self) -> dict[str, Any]:
        about = {"what": self.what, "kind": self.kind, "bound": self.bound}
        return {**about, "figure": self.figure, "is_met": self.is_met}


def targets_table(targets: Iterable[Target]) -> str:
    return table(["target", "bound", "figure", ""], [target.row() for target in targets])


def median(values: Iterable[float]) -> float | None:
    """The median, or None of nothing."""
    found = list(values)
    return statistics.median(found) if found else None


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    if numerator is None or not denominator:
        return None
    return numerator / denominator


def shown(figure: float | None) -> str:
    """Three significant digits, and none behind the point from a hundred on."""
    if figure is None:
        return MISSING
    if abs(figure) >= 100:
        return f"{figure:,.0f}"
    if abs(figure) >= 10:
        return f"{figure:.1f}"
    return f"{figure:.2f}" if abs(figure) >= 0.1 or not figure else f"{figure:.3f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned for reading in a terminal."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    drawn = [_line(line, widths) for line in lines]
    drawn.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(drawn)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "| " + " | ".join(padded) + " |"


def write_json(path: Path | None, value: Any) -> None:
    if path is not None:
        path.write_text(json.dumps(value, indent=1) + "\n")
