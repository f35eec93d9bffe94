"""Quality figures from counts and sums, which may be added in any order.

The definitions are scikit-learn's, with None for figures that are undefined.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from predictions.evaluation.intervals import Interval, Moments, wilson_interval
from registry.exact_json.values import JSONObject
from registry.signatures.signature import ClassLabel

CALIBRATION_BINS = 10
# scikit-learn's `log_loss` clips probabilities by it before it takes their logarithm.
EPSILON = float(np.finfo(np.float64).eps)

Figures: TypeAlias = dict[str, float | Interval | None]


class ClassifierTally:
    """Counts over classified rows whose true class is known."""

    def __init__(self, classes: Sequence[ClassLabel]) -> None:
        self.classes = classes
        # By class: correct rows, rows predicted as the class, rows that belong to it.
        self._hits, self._predicted, self._actual = np.zeros((3, len(classes)), np.int64)
        # By bin of confidence: rows, correct rows, sum of the confidence.
        self._bins = np.zeros((3, CALIBRATION_BINS))
        self.with_outcome = 0
        self._rows_with_probabilities = 0
        self._log_losses = 0.0
        self._squares = 0.0

    def add_rows(
        self,
        predicted: int | None,
        actual: int | None,
        rows: int,
        *,
        confidence_bin: int | None = None,
        confidence: float = 0.0,
    ) -> None:
        """Add `rows` rows with the same predicted and true class, given as indices.

        None stands for a missing answer, or an outcome that is none of the classes; such rows have
        an outcome but are not scored. `confidence` is the sum over the rows, and `confidence_bin`
        the integer part of ten times each row's confidence.
        """
        self.with_outcome += rows
        if predicted is None or actual is None:
            return
        is_hit = predicted == actual
        self._hits[actual] += rows * is_hit
        self._predicted[predicted] += rows
        self._actual[actual] += rows
        if confidence_bin is not None:
            index = min(max(confidence_bin, 0), CALIBRATION_BINS - 1)
            self._bins[:, index] += rows, rows * is_hit, confidence

    def add_probabilities(
        self, probabilities: NDArray[np.float64], actual: NDArray[np.int64]
    ) -> None:
        """Add probabilities of shape (n, classes) of n rows with the true classes `actual`.

        These rows must also be added with `add_rows`.
        """
        rows = np.arange(len(actual))
        likelihoods = np.clip(probabilities[rows, actual], EPSILON, 1 - EPSILON)
        errors = probabilities.copy()
        errors[rows, actual] -= 1.0
        self._rows_with_probabilities += len(actual)
        self._log_losses -= float(np.log(likelihoods).sum())
        self._squares += float(np.square(errors).sum())

    @property
    def scored(self) -> int:
        return int(self._actual.sum())

    def figures(self) -> Figures:
        """Accuracy, F1, log loss, Brier score and expected calibration error.

        `f1_macro` is the mean over the classes that were predicted or occurred. As is customary and
        as in `brier_score_loss`, the Brier score is halved for two classes.
        """
        hits, scored = int(self._hits.sum()), self.scored
        f1 = [
            f1 for f1 in _ratios(2 * self._hits, self._predicted + self._actual) if f1 is not None
        ]
        scale = 0.5 if len(self.classes) < 3 else 1.0
        return {
            "accuracy": _ratio(hits, scored),
            "accuracy_interval": wilson_interval(hits, scored),
            "f1_macro": math.fsum(f1) / len(f1) if f1 else None,
            "log_loss": _ratio(self._log_losses, self._rows_with_probabilities),
            "brier_score": _ratio(scale * self._squares, self._rows_with_probabilities),
            "expected_calibration_error": self._calibration_error(),
        }

    def by_class(self) -> list[JSONObject]:
        """Precision, recall and F1 of each class.

        Precision is None for a class that was never predicted, recall for one that never occurred,
        F1 for one that did neither.
        """
        columns = zip(
            self.classes,
            _ratios(self._hits, self._predicted),
            _ratios(self._hits, self._actual),
            _ratios(2 * self._hits, self._predicted + self._actual),
            self._actual.tolist(),
            self._predicted.tolist(),
            strict=True,
        )
        names = ("label", "precision", "recall", "f1", "support", "predicted")
        return [dict(zip(names, row, strict=True)) for row in columns]

    def calibration(self) -> list[JSONObject]:
        """Mean confidence and accuracy of ten bins of equal width from 0 to 1."""
        return [
            {
                "low": index / CALIBRATION_BINS,
                "high": (index + 1) / CALIBRATION_BINS,
                "rows": int(rows),
                "mean_confidence": _ratio(confidence, rows),
                "accuracy": _ratio(hits, rows),
            }
            for index, (rows, hits, confidence) in enumerate(self._bins.T.tolist())
        ]

    def _calibration_error(self) -> float | None:
        """The mean absolute gap between confidence and accuracy of the bins, weighted by rows.

        M. P. Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning",
        AAAI 2015.
        """
        rows, hits, confidence = self._bins
        return _ratio(float(np.abs(hits - confidence).sum()), float(rows.sum()))


@dataclass(slots=True)
class RegressorTally:
    """Sums over rows whose true value is known. An error is the predicted less the true value.

    `origin` is a number near the mean of the true values. The sums of distances from it keep the
    digits that sums of large numbers would lose.
    """

    origin: float
    with_outcome: int = 0
    scored: int = 0
    errors: float = 0.0
    absolute_errors: float = 0.0
    squared_errors: float = 0.0
    fourth_powers: float = 0.0
    distances: float = 0.0
    squared_distances: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    def add(self, **sums: float | None) -> None:
        """Add sums by the names of the fields; None adds nothing."""
        for name, value in sums.items():
            if value is None:
                continue
            before = getattr(self, name)
            if name == "minimum":
                after = min(before, value)
            elif name == "maximum":
                after = max(before, value)
            else:
                after = before + value
            setattr(self, name, after)

    def figures(self) -> Figures:
        """MAE, RMSE, R² and bias (the mean error). R² is None if all outcomes are equal."""
        n = self.scored
        squares = Moments.from_sums(n, self.squared_errors, self.fourth_powers)
        absolutes = Moments.from_sums(n, self.absolute_errors, self.squared_errors)
        bias = Moments.from_sums(n, self.errors, self.squared_errors)
        if squares is None or absolutes is None or bias is None:
            return dict.fromkeys(REGRESSION_FIGURES)
        mse = squares.interval and _not_below_zero(squares.interval)
        return {
            "mae": absolutes.mean,
            "mae_interval": absolutes.interval and _not_below_zero(absolutes.interval),
            "rmse": math.sqrt(squares.mean),
            "rmse_interval": mse and (math.sqrt(mse[0]), math.sqrt(mse[1])),
            "r2": self._r2(),
            "bias": bias.mean,
            "bias_interval": bias.interval,
        }

    def _r2(self) -> float | None:
        if not self.minimum < self.maximum:
            return None
        spread = self.squared_distances - self.distances * (self.distances / self.scored)
        return 1.0 - self.squared_errors / spread if spread > 0 else None


REGRESSION_FIGURES = (
    "mae",
    "mae_interval",
    "rmse",
    "rmse_interval",
    "r2",
    "bias",
    "bias_interval",
)


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def _ratios(numerators: NDArray[np.int64], denominators: NDArray[np.int64]) -> list[float | None]:
    return [
        _ratio(numerator, denominator)
        for numerator, denominator in zip(numerators.tolist(), denominators.tolist(), strict=True)
    ]


def _not_below_zero(interval: Interval) -> Interval:
    return max(interval[0], 0.0), max(interval[1], 0.0)
