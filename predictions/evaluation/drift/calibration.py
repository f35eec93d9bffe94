"""Calibration: which share of rows with a score are of the class, by isotonic regression."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictions.evaluation.drift.tables import FloatArray, IntArray

# Estimates of more classes than these would make every hour's counts large.
MAX_CLASSES = 20
# Below it, the calibration itself is too uncertain.
MIN_LABELLED_ROWS = 200


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A function that never decreases: linear between `x`, constant outside."""

    x: FloatArray
    y: FloatArray

    @classmethod
    def fit(cls, scores: FloatArray, hits: FloatArray) -> "Isotonic":
        """The one with the least squares to `hits` (0 or 1, n > 0 of them).

        The pool-adjacent-violators algorithm: M. Ayer et al., "An empirical distribution function
        for sampling with incomplete information", Annals of Mathematical Statistics 26 (1955),
        641-647. Equal scores are one point first, weighted by their number.
        """
        x, index, weights = np.unique(scores, return_inverse=True, return_counts=True)
        means = np.bincount(index, weights=hits) / weights
        y = _pool(means, weights)
        # The ends of each flat stretch describe it.
        keep = np.ones(len(x), np.bool_)
        keep[1:-1] = (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:])
        return cls(x[keep], y[keep])

    def __call__(self, scores: FloatArray) -> FloatArray:
        return np.interp(scores, self.x, self.y)


def _pool(means: FloatArray, weights: IntArray) -> FloatArray:
    """Means of neighbours joined until they never decrease."""
    values: list[float] = []
    sizes: list[float] = []
    points: list[int] = []
    for mean, weight in zip(means.tolist(), weights.tolist(), strict=True):
        value, size, count = mean, float(weight), 1
        while values and values[-1] >= value:
            size += sizes[-1]
            value += (values.pop() - value) * sizes.pop() / size
            count += points.pop()
        values.append(value)
        sizes.append(size)
        points.append(count)
    return np.repeat(np.array(values), points)


@dataclass(frozen=True, slots=True)
class Calibrator:
    """Turns a classifier's probabilities into shares that held on the reference's labelled rows.

    Two classes have one function, that of the second; more have one each, one against the rest,
    and the results are divided by their sum: B. Zadrozny and C. Elkan, "Transforming classifier
    scores into accurate multiclass probability estimates", KDD 2002.
    """

    functions: tuple[Isotonic, ...]

    @classmethod
    def fit(cls, probabilities: FloatArray, labels: IntArray) -> "Calibrator | None":
        """From n rows with known labels, shape (n, classes) and (n,).

        None where there are too few rows, too many classes, or only one class in the labels.
        """
        rows, classes = probabilities.shape
        if rows < MIN_LABELLED_ROWS or not 2 <= classes <= MAX_CLASSES:
            return None
        if len(np.unique(labels)) < 2:
            return None
        which = [1] if classes == 2 else range(classes)
        return cls(
            tuple(
                Isotonic.fit(probabilities[:, k], (labels == k).astype(np.float64)) for k in which
            )
        )

    @property
    def classes(self) -> int:
        return 2 if len(self.functions) == 1 else len(self.functions)

    def __call__(self, probabilities: FloatArray) -> FloatArray:
        """Shape (n, classes) in and out; each row sums to 1."""
        if len(self.functions) == 1:
            second = self.functions[0](probabilities[:, 1])
            return np.column_stack((1 - second, second))
        each = np.column_stack(
            [function(probabilities[:, k]) for k, function in enumerate(self.functions)]
        )
        sums = each.sum(axis=1, keepdims=True)
        # A row that no class claims could be of any.
        even = np.full_like(each, 1 / self.classes)
        np.divide(each, sums, out=even, where=sums > 0)
        return even

    def as_json(self) -> list[dict[str, Any]]:
        return [{"x": f.x.tolist(), "y": f.y.tolist()} for f in self.functions]

    @classmethod
    def from_json(cls, document: Sequence[dict[str, Any]]) -> "Calibrator":
        return cls(
            tuple(
                Isotonic(np.array(f["x"], np.float64), np.array(f["y"], np.float64))
                for f in document
            )
        )
