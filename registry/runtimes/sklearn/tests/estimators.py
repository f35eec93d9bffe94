"""Data to fit estimators to, and fitted estimators as runtimes."""

from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.base import BaseEstimator

from registry.runtimes.base import LoadOptions, Outputs
from registry.runtimes.sklearn.runtime import SklearnRuntime, load
from registry.signatures.signature import ClassLabel

OPTIONS = LoadOptions()
ROWS = np.random.default_rng(1).normal(size=(40, 3))
COLOURS = np.array(["red", "green"])[(ROWS[:, 0] > 0).astype(int)]
BOTH = np.stack([ROWS[:, 0] > 0, ROWS[:, 1] > 0], axis=1).astype(int)


def reload(estimator: BaseEstimator, folder: Path) -> SklearnRuntime:
    path = folder / "model.skops"
    skops.io.dump(estimator, path)
    return load(path, OPTIONS)


def labels(runtime: SklearnRuntime, outputs: Outputs, name: str = "label") -> list[ClassLabel]:
    output = next(output for output in runtime.signature.outputs if output.name == name)
    return [output.classes[index] for index in outputs[name]]


def arrays_of(table: Any) -> dict[str, np.ndarray]:
    return {
        name: np.array(values, dtype=object if isinstance(values[0], str) else None)
        for name, values in table.to_pydict().items()
    }
