"""Quality figures out of counts and sums, which may be added up in any order. No Django here.

Definitions are scikit-learn's, with None where it is undefined.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictions.evaluation.statistics import Moments, wilson_interval
from registry.signatures.signature import ClassLabel

CALIBRATION_BINS = 10
# As scikit-learn clips probabilities before it takes their logarithm: `log_loss`.
EPSILON = float(np.finfo(np.float64).eps)


class ClassifierTally:
    """What is known of some classified rows whose class is known by now."""

    def __init__(self, classes: Sequence[ClassLabel]) -> None:
        self.classes = classes
        # By class: rows classified rightly, classified as it, and truly of it.
        self._hits, self._predicted, self._actual = np.zeros((3, len(classes)), np.int64)
        # By bin of confidence: rows, right ones, sum of their confidence.
        self._bins = np.zeros((3, CALIBRATION_BINS))
        self.with_outcome = 0
        self._probable = 0
        self._log_losses = 0.0
        self._squares = 0.0

    def count(
        self,
        predicted: int | None,
        actual: int | None,
        rows: int,
        *,
        tenth: int | None = None,
        confidence: float = 0.0,
    ) -> None:
        """Add `rows` rows of one predicted and one true class, both by index.

        None is no answer, or an outcome that is none of the classes: known, and not scored. `tenth`
        is the whole part of ten times their confidence, `confidence` its sum over the rows.
        """
        self.with_outcome += rows
        if predicted is None or actual is None:
            return
        is_hit = predicted == actual
        self._hits[actual] += rows * is_hit
        self._predicted[predicted] += rows
        self._actual[actual] += rows
        if tenth is not None:
            place = min(max(tenth, 0), CALIBRATION_BINS - 1)
            self._bins[:, place] += rows, rows * is_hit, confidence

    def weigh(self, probabilities: np.ndarray, actual: np.ndarray) -> None:
        """Add the probabilities, of shape (n, classes), of n rows whose true classes are `actual`.

        `count` must be told of these rows too.
        """
        rows = np.arange(len(actual))
        likelihoods = np.clip(probabilities[rows, actual], EPSILON, 1 - EPSILON)
        errors = probabilities.copy()
        errors[rows, actual] -= 1.0
        self._probable += len(actual)
        self._log_losses -= float(np.log(likelihoods).sum())
        self._squares += float(np.square(errors).sum())

    @property
    def scored(self) -> int:
        return int(self._actual.sum())

    def figures(self) -> dict[str, Any]:
        """Accuracy, F1, log loss and Brier score.

        `f1_macro` is the mean over the classes that were predicted or occurred. The Brier score is
        halved for two classes, as is customary, and not for more (`brier_score_loss`).
        """
        hits, scored = int(self._hits.sum()), self.scored
        f1 = [
            f1
            for f1 in self._by_class(2 * self._hits, self._predicted + self._actual)
            if f1 is not None
        ]
        scale = 0.5 if len(self.classes) < 3 else 1.0
        return {
            "accuracy": _ratio(hits, scored),
            "accuracy_interval": wilson_interval(hits, scored),
            "f1_macro": math.fsum(f1) / len(f1) if f1 else None,
            "log_loss": _ratio(self._log_losses, self._probable),
            "brier_score": _ratio(scale * self._squares, self._probable),
            "expected_calibration_error": self._calibration_error(),
        }

    def by_class(self) -> list[dict[str, Any]]:
        """Precision, recall and F1 of each class; None where it was never predicted, or never
        occurred, or neither.
        """
        columns = zip(
            self.classes,
            self._by_class(self._hits, self._predicted),
            self._by_class(self._hits, self._actual),
            self._by_class(2 * self._hits, self._predicted + self._actual),
            self._actual.tolist(),
            self._predicted.tolist(),
            strict=True,
        )
        names = ("label", "precision", "recall", "f1", "support", "predicted")
        return [dict(zip(names, row, strict=True)) for row in columns]

    def calibration(self) -> list[dict[str, Any]]:
        """Ten equal bins of confidence, each with its lower bound, and how often it was right."""
        return [
            {
                "low": place / CALIBRATION_BINS,
                "high": (place + 1) / CALIBRATION_BINS,
                "rows": int(rows),
                "mean_confidence": _ratio(confidence, rows),
                "accuracy": _ratio(hits, rows),
            }
            for place, (rows, hits, confidence) in enumerate(self._bins.T.tolist())
        ]

    @staticmethod
    def _by_class(numerators: np.ndarray, denominators: np.ndarray) -> list[float | None]:
        return [
            _ratio(numerator, denominator)
            for numerator, denominator in zip(
                numerators.tolist(), denominators.tolist(), strict=True
            )
        ]

    def _calibration_error(self) -> float | None:
        """The bins' mean distance of confidence from accuracy, by their rows: M. P. Naeini et al.,
        "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
        """
        rows, hits, confidence = self._bins
        return _ratio(float(np.abs(hits - confidence).sum()), float(rows.sum()))


@dataclass(slots=True)
class RegressorTally:
    """Sums over rows whose true value is known by now; an error is predicted less true.

    `origin` is a number near the mean of the true values: sums of their distance from it keep the
    digits that sums of large numbers would lose.
    """

    origin: float
    with_outcome: int = 0
    scored: int = 0
    errors: float = 0.0
    absolutes: float = 0.0
    squares: float = 0.0
    fourths: float = 0.0
    distances: float = 0.0
    squared_distances: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    def add(self, **sums: float | None) -> None:
        """Add sums by their names here; None adds nothing."""
        for name, value in sums.items():
            if value is None:
                continue
            join = {"least": min, "most": max}.get(name, _plus)
            setattr(self, name, join(getattr(self, name), value))

    def figures(self) -> dict[str, Any]:
        """MAE, RMSE, R2 and bias, the mean error; R2 is None where the outcomes are all one."""
        n = self.scored
        squares = Moments.from_sums(n, self.squares, self.fourths)
        absolutes = Moments.from_sums(n, self.absolutes, self.squares)
        bias = Moments.from_sums(n, self.errors, self.squares)
        if squares is None or absolutes is None or bias is None:
            return dict.fromkeys(REGRESSION_FIGURES)
        within = squares.interval
        return {
            "mae": absolutes.mean,
            "mae_interval": _not_below_zero(absolutes.interval),
            "rmse": math.sqrt(squares.mean),
            "rmse_interval": within and tuple(math.sqrt(max(bound, 0.0)) for bound in within),
            "r2": self._r2(),
            "bias": bias.mean,
            "bias_interval": bias.interval,
        }

    def _r2(self) -> float | None:
        if not self.least < self.most:
            return None
        spread = self.squared_distances - self.distances * (self.distances / self.scored)
        return 1.0 - self.squares / spread if spread > 0 else None


REGRESSION_FIGURES = (
    "mae",
    "mae_interval",
    "rmse",
    "rmse_interval",
    "r2",
    "bias",
    "bias_interval",
)


def _plus(a: float, b: float) -> float:
    return a + b


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def _not_below_zero(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return interval and (max(interval[0], 0.0), interval[1])
