"""Quality: measured on a reference's labelled rows, and estimated where there are no labels.

The estimate is confidence-based performance estimation (CBPE), for classifiers. A calibrated
probability says how likely each answer is right, so that a window's accuracy, F1 and ROC AUC can be
expected before one label has arrived: J. Bialek et al., "Estimating model performance under
covariate shift without labels" (2024), arXiv:2401.08348. It assumes that the relation of inputs to
labels has not changed.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from predictions.evaluation.drift.calibration import Calibrator
from predictions.evaluation.drift.tables import (
    PREDICTION,
    BoolArray,
    FloatArray,
    IntArray,
    Numbers,
    Table,
)

# Sums of probabilities are kept as integers in these units, so that they add up exactly.
UNITS = 2**30
# Probabilities are counted at so many levels for the ROC AUC.
LEVELS = 4096


@dataclass(frozen=True, slots=True)
class ExpectedClass:
    """Sums for one class, in units of 1 / UNITS where they are of probabilities."""

    predicted: int  # rows with this class as the answer
    true_positives: int  # the sum of the class's probabilities over those rows
    positives: int  # the same sum over all rows
    level_rows: IntArray
    level_positives: IntArray

    @classmethod
    def of(cls, probabilities: FloatArray, is_predicted: BoolArray) -> "ExpectedClass":
        units = np.rint(probabilities * UNITS).astype(np.int64)
        levels = np.minimum((probabilities * LEVELS).astype(np.int64), LEVELS - 1)
        sums = np.zeros(LEVELS, np.int64)
        np.add.at(sums, levels, units)
        return cls(
            int(is_predicted.sum()),
            int(units[is_predicted].sum()),
            int(units.sum()),
            np.bincount(levels, minlength=LEVELS).astype(np.int64),
            sums,
        )

    def __add__(self, other: "ExpectedClass") -> "ExpectedClass":
        return ExpectedClass(
            self.predicted + other.predicted,
            self.true_positives + other.true_positives,
            self.positives + other.positives,
            self.level_rows + other.level_rows,
            self.level_positives + other.level_positives,
        )

    @property
    def f1(self) -> float | None:
        """2 TP / (2 TP + FP + FN); None without such a class."""
        double = self.predicted + self.positives / UNITS
        return 2 * self.true_positives / UNITS / double if double else None

    @property
    def roc_auc(self) -> float | None:
        """The area under the curve of expected rates; None where one of them is empty."""
        positives = self.level_positives / UNITS
        negatives = self.level_rows - positives
        below = np.cumsum(negatives) - negatives
        area = float((positives * (below + negatives / 2)).sum())
        pairs = float(positives.sum()) * float(negatives.sum())
        return area / pairs if pairs > 0 else None

    def as_json(self) -> list[Any]:
        used = np.flatnonzero(self.level_rows)
        return [
            self.predicted,
            self.true_positives,
            self.positives,
            used.tolist(),
            self.level_rows[used].tolist(),
            self.level_positives[used].tolist(),
        ]

    @classmethod
    def sum_json(cls, documents: Sequence[list[Any]]) -> "ExpectedClass":
        """The sum of one or more."""
        levels = np.concatenate([np.array(document[3], np.int64) for document in documents])
        sums = np.zeros((2, LEVELS), np.int64)
        for place, total in enumerate(sums):
            parts = [np.array(document[4 + place], np.int64) for document in documents]
            np.add.at(total, levels, np.concatenate(parts))
        predicted, true_positives, positives = (
            sum(document[place] for document in documents) for place in range(3)
        )
        return cls(predicted, true_positives, positives, sums[0], sums[1])

    @classmethod
    def from_json(cls, document: list[Any]) -> "ExpectedClass":
        predicted, true_positives, positives, used, rows, sums = document
        level_rows, level_positives = np.zeros((2, LEVELS), np.int64)
        level_rows[used] = rows
        level_positives[used] = sums
        return cls(predicted, true_positives, positives, level_rows, level_positives)


@dataclass(frozen=True, slots=True)
class ExpectedQuality:
    """Sums from which the quality of rows is estimated. They add up exactly."""

    rows: int
    correct: int  # the sum of the probabilities that the answers are right, in 1 / UNITS
    correct_squares: int  # that of their squares
    classes: tuple[ExpectedClass, ...]  # of two classes, the second alone

    @classmethod
    def of(
        cls, calibrator: Calibrator, table: Table, mask: BoolArray | None = None
    ) -> "ExpectedQuality | None":
        """None for a table without probabilities of these classes."""
        probabilities, predicted = table.probabilities, table.predicted
        if probabilities is None or predicted is None:
            return None
        if probabilities.shape[1] != calibrator.classes:
            return None
        use = ~np.isnan(probabilities).any(axis=1)
        use &= (predicted >= 0) & (predicted < calibrator.classes)
        if mask is not None:
            use &= mask
        shares, answers = calibrator(probabilities[use]), predicted[use]
        right = shares[np.arange(len(answers)), answers]
        which = [1] if calibrator.classes == 2 else range(calibrator.classes)
        return cls(
            len(answers),
            int(np.rint(right * UNITS).astype(np.int64).sum()),
            int(np.rint(right**2 * UNITS).astype(np.int64).sum()),
            tuple(ExpectedClass.of(shares[:, k], answers == k) for k in which),
        )

    def __add__(self, other: "ExpectedQuality") -> "ExpectedQuality":
        return ExpectedQuality(
            self.rows + other.rows,
            self.correct + other.correct,
            self.correct_squares + other.correct_squares,
            tuple(a + b for a, b in zip(self.classes, other.classes, strict=True)),
        )

    @property
    def accuracy(self) -> float | None:
        return self.correct / UNITS / self.rows if self.rows else None

    @property
    def variance(self) -> float:
        """Of the probability that an answer is right, between rows."""
        if not self.rows:
            return 0.0
        mean = self.correct / UNITS / self.rows
        return max(self.correct_squares / UNITS / self.rows - mean**2, 0.0)

    def sampling_error(self, effective_rows: float) -> float | None:
        """The standard deviation of the accuracy that labels would show around the estimate.

        Each answer is right with its own probability p: sqrt(Σ p (1 - p) / n) / sqrt(n).
        """
        if not self.rows or not effective_rows:
            return None
        spread = max(self.correct - self.correct_squares, 0) / UNITS / self.rows
        return math.sqrt(spread / effective_rows)

    @property
    def f1(self) -> float | None:
        """Of two classes that of the second; of more, the mean of all that occur."""
        return _mean([each.f1 for each in self.classes])

    @property
    def roc_auc(self) -> float | None:
        """Of two classes that of the second; of more, the mean of each against the rest."""
        return _mean([each.roc_auc for each in self.classes])

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "correct": self.correct,
            "correct_squares": self.correct_squares,
            "classes": [each.as_json() for each in self.classes],
        }

    @classmethod
    def sum_json(cls, documents: Sequence[dict[str, Any]]) -> "ExpectedQuality":
        """The sum of one or more."""
        rows, correct, correct_squares = (
            sum(document[name] for document in documents)
            for name in ("rows", "correct", "correct_squares")
        )
        by_class = zip(*(document["classes"] for document in documents), strict=True)
        classes = tuple(ExpectedClass.sum_json(each) for each in by_class)
        return cls(rows, correct, correct_squares, classes)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "ExpectedQuality":
        return cls(
            document["rows"],
            document["correct"],
            document["correct_squares"],
            tuple(ExpectedClass.from_json(each) for each in document["classes"]),
        )


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the version was on the labelled rows of its reference.

    Of a classifier, `correct` rows and the mean F1 of the classes that were predicted or occurred;
    of a regressor, the moments of the absolute error and the root of the mean square.
    """

    rows: int
    correct: int | None = None
    f1_macro: float | None = None
    absolute_error: float | None = None
    absolute_error_variance: float | None = None
    rmse: float | None = None

    @classmethod
    def of(
        cls, table: Table, labels: FloatArray, known: BoolArray, is_classifier: bool
    ) -> "Quality | None":
        """From the rows with a known label and an answer; None if there are none."""
        if is_classifier:
            if table.predicted is None:
                return None
            use = known & (table.predicted >= 0)
            return cls._classified(table.predicted[use], labels[use].astype(np.int64))
        column = table.columns.get(PREDICTION)
        if not isinstance(column, Numbers):
            return None
        use = known & np.isfinite(column.values)
        return cls._estimated(column.values[use] - labels[use])

    @classmethod
    def _classified(cls, predicted: IntArray, labels: IntArray) -> "Quality | None":
        if not len(labels):
            return None
        hits = predicted == labels
        size = int(max(predicted.max(), labels.max())) + 1
        double = np.bincount(predicted, minlength=size) + np.bincount(labels, minlength=size)
        f1 = 2 * np.bincount(labels[hits], minlength=size)[double > 0] / double[double > 0]
        return cls(len(labels), correct=int(hits.sum()), f1_macro=float(f1.mean()))

    @classmethod
    def _estimated(cls, errors: FloatArray) -> "Quality | None":
        if not len(errors):
            return None
        # Scaled, as squares of huge errors would overflow.
        scale = float(np.abs(errors).max()) or 1.0
        scaled = np.abs(errors) / scale
        variance = float(scaled.var(ddof=1)) if len(errors) > 1 else 0.0
        return cls(
            len(errors),
            absolute_error=float(scaled.mean()) * scale,
            absolute_error_variance=min(variance * scale * scale, float(np.finfo(float).max)),
            rmse=float(np.sqrt((scaled**2).mean())) * scale,
        )

    @property
    def accuracy(self) -> float | None:
        return None if self.correct is None else self.correct / self.rows

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Quality":
        rows, correct = document["rows"], document["correct"]
        figures = {name: document[name] for name in ("f1_macro", *_ERRORS)}
        # A database may give 1.0 back as 1.
        floats = {name: None if v is None else float(v) for name, v in figures.items()}
        return cls(rows, correct, **floats)


_ERRORS = ("absolute_error", "absolute_error_variance", "rmse")


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
