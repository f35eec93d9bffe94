"""Trains two small models on scikit-learn's own data sets, for `manage.py quickstart`. No Django.

Run as `python -m mlapi.management.example_models FOLDER`, in a separate process: the server must
not import the libraries that training needs.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

EXAMPLES_FILE = "examples.json"
EXAMPLE_ROWS = 20

Array = NDArray[np.generic]


class Dataset(Protocol):
    """One of scikit-learn's data sets."""

    data: Array
    target: Array
    feature_names: Sequence[str]


class Estimator(Protocol):
    def fit(self, rows: Array, target: Array) -> "Estimator": ...

    def predict(self, rows: Array) -> Array: ...


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted model with the rows and targets that were held out from training."""

    model: Estimator
    held_out: Array
    truth: Array


@dataclass(frozen=True, slots=True)
class Example:
    """A model for `registry.services.register_model`; `file` is a name in the same folder."""

    name: str
    description: str
    file: str
    metrics: Mapping[str, float]
    signature: Mapping[str, object]
    example: Sequence[Mapping[str, object]]
    framework: str = "sklearn"


def main(folder: Path) -> None:
    """Write the model files to `folder`, and EXAMPLES_FILE with a list of Example as JSON."""
    examples = [_train_wine(folder), _train_diabetes(folder)]
    content = json.dumps([asdict(example) for example in examples])
    (folder / EXAMPLES_FILE).write_text(content)


def _train_wine(folder: Path) -> Example:
    wine = load_wine()
    fitted = _fit(LogisticRegression(max_iter=1000), wine)
    accuracy = accuracy_score(fitted.truth, fitted.model.predict(fitted.held_out))
    return Example(
        name="wine",
        description="Which of three cultivars a wine was made from.",
        file=_save(fitted, folder, "wine.skops"),
        metrics={"accuracy": float(accuracy)},
        signature={
            "inputs": [{"name": "features", "features": list(wine.feature_names)}],
            "classes": [str(name) for name in wine.target_names],
        },
        example=_example_rows(fitted),
    )


def _train_diabetes(folder: Path) -> Example:
    diabetes = load_diabetes(scaled=False)
    fitted = _fit(Ridge(), diabetes)
    predicted = fitted.model.predict(fitted.held_out)
    return Example(
        name="diabetes",
        description="How far diabetes has progressed one year after the baseline.",
        file=_save(fitted, folder, "diabetes.skops"),
        metrics={
            "r2": float(r2_score(fitted.truth, predicted)),
            "mean_absolute_error": float(mean_absolute_error(fitted.truth, predicted)),
        },
        signature={"inputs": [{"name": "features", "features": list(diabetes.feature_names)}]},
        example=_example_rows(fitted),
    )


def _fit(model: Estimator, dataset: Dataset) -> Fitted:
    """Fit the model, behind a scaler, to three quarters of the data."""
    rows, held_out, target, truth = train_test_split(dataset.data, dataset.target, random_state=0)
    return Fitted(make_pipeline(StandardScaler(), model).fit(rows, target), held_out, truth)


def _save(fitted: Fitted, folder: Path, name: str) -> str:
    skops.io.dump(fitted.model, folder / name)
    return name


def _example_rows(fitted: Fitted) -> list[Mapping[str, object]]:
    return [{"features": row} for row in fitted.held_out[:EXAMPLE_ROWS].tolist()]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
