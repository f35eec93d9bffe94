"""Seeded references and windows of one distribution: what no rule should raise an alarm about.

Needs nothing but numpy, so that every rule draws the same rows in its own environment.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Columns: TypeAlias = list[npt.NDArray[Any]]

SHAPES = ("normal", "skewed", "categorical")
REFERENCE_ROWS = 5000
# A new reference for so many windows, as drawing and profiling it costs more than a window.
WINDOWS_OF_A_REFERENCE = 4
CATEGORIES = 10


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the table; `shift` moves the first feature of each window, in deviations."""

    shape: str
    features: int
    rows: int
    reports: int
    shift: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def draws(self, seed: int) -> Iterator[tuple[Columns, Iterator[Columns]]]:
        """References, each with its windows: columns of floats, or of categories as text."""
        for start in range(0, self.reports, WINDOWS_OF_A_REFERENCE):
            place = [seed, SHAPES.index(self.shape), self.features, self.rows, start]
            rng = np.random.default_rng(place)
            reference = self._columns(rng, REFERENCE_ROWS, 0.0)
            windows = min(WINDOWS_OF_A_REFERENCE, self.reports - start)
            yield reference, (self._columns(rng, self.rows, self.shift) for _ in range(windows))

    def _columns(self, rng: np.random.Generator, rows: int, shift: float) -> Columns:
        return [
            _column(rng, self.shape, rows, 0.0 if feature else shift)
            for feature in range(self.features)
        ]


def _column(rng: np.random.Generator, shape: str, rows: int, shift: float) -> npt.NDArray[Any]:
    if shape == "categorical":
        weights = 1 / np.arange(1, CATEGORIES + 1)
        return rng.choice(
            np.array([f"c{code}" for code in range(CATEGORIES)]), rows, p=weights / weights.sum()
        )
    values = rng.normal(shift, 1, rows)
    return np.exp(values) if shape == "skewed" else values
