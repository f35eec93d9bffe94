"""Trains the models: `python -m benchmarks.harness.training FOLDER`, in mlapi's environment.

Writes a folder for each model with model.joblib, model.skops, model.onnx, and rows.json with the
rows of the data set and the class that the model predicts for each of them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import skops.io
from skl2onnx import to_onnx
from sklearn.datasets import load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

SEED = 20240229


def main(folder: Path) -> None:
    iris, wine = load_iris(), load_wine()
    logistic = LogisticRegression(max_iter=1000, random_state=SEED)
    forest = RandomForestClassifier(n_estimators=100, random_state=SEED)
    write(folder / "iris", logistic.fit(iris.data, iris.target), iris)
    write(folder / "wine", forest.fit(wine.data, wine.target), wine)


def write(folder: Path, model: Any, dataset: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Values that single precision represents exactly: every format sees the same input.
    rows = dataset.data.astype(np.float32).astype(np.float64)
    classes = model.predict(rows).tolist()
    joblib.dump(model, folder / "model.joblib")
    skops.io.dump(model, folder / "model.skops")
    converted = to_onnx(model, rows[:1].astype(np.float32), options={id(model): {"zipmap": False}})
    (folder / "model.onnx").write_bytes(converted.SerializeToString())
    (folder / "rows.json").write_text(json.dumps({"rows": rows.tolist(), "classes": classes}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
