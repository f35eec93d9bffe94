"""Every estimator of scikit-learn is converted and equal, or refused with a reason."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.utils import all_estimators
from skops.io.exceptions import UnsupportedTypeException

from registry.conversion.tests.matrix import Matrix, as_json

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

N = 700
ROWS, CLASSES = make_classification(1200, 6, n_informative=4, n_classes=3, random_state=0)
VALUES = make_regression(1200, 6, noise=3, random_state=0)
# They take counts, or targets above zero.
COUNTS = ("NB", "NMF", "LatentDirichletAllocation", "PoissonRegressor", "GammaRegressor")


def fitted() -> Iterator[tuple[str, Any, np.ndarray]]:
    """The estimators that can be built and trained without arguments, with rows for them."""
    classifiers = {name for name, _ in all_estimators("classifier")}
    regressors = {name for name, _ in all_estimators("regressor")}
    for name, kind in all_estimators():
        rows, target = (ROWS, CLASSES) if name in classifiers else VALUES
        if name.endswith(COUNTS):
            rows = np.abs(rows).round()
            target = np.abs(target) + 1 if name in regressors else target
        if name.startswith("MultiTask") or name in ("CCA", "PLSCanonical", "PLSRegression"):
            target = np.stack([target, -target], axis=1)
        if name == "IsotonicRegression":
            rows = rows[:, :1]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = kind().fit(rows[:N], target[:N])
        # Meta-estimators need another one; vectorizers and encoders take other rows.
        except (TypeError, ValueError, AttributeError):
            continue
        if hasattr(model, "predict"):
            yield name, model, rows[N:]


def test_every_estimator(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path)
    unsaved: list[str] = []

    for name, model, rows in fitted():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                matrix.add(name, model, as_json(rows))
        # skops cannot write it.
        except UnsupportedTypeException:
            unsaved.append(name)

    assert unsaved == ["Birch"]
    assert len(matrix.converted) + len(matrix.refused) == 95
    assert len(matrix.converted) >= 70
    assert {"RandomForestClassifier", "SVC", "KNeighborsRegressor", "KMeans", "MLPClassifier"} <= (
        set(matrix.converted)
    )
    assert "There is no converter to ONNX for DummyClassifier." in matrix.refused["DummyClassifier"]
