"""Two small models trained on scikit-learn's own data sets, for a first look. No Django here.

Only ever run by itself, as `python -m mlapi.management.example_models FOLDER`: no server imports
what training needs.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import skops.io
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

EXAMPLES = "examples.json"


def main(folder: Path) -> None:
    """Write `wine.skops` and `diabetes.skops` to a folder, and EXAMPLES beside them.

    EXAMPLES is a list with, for each model, what `registry.services.register_model` wants to know:
    name, framework, description, metrics, file, signature, example rows.
    """
    wine = load_wine()
    classifier, held_out, truth = _fitted(LogisticRegression(max_iter=1000), wine)
    diabetes = load_diabetes(scaled=False)
    regressor, measured, progression = _fitted(Ridge(), diabetes)
    examples = [
        _example(
            folder,
            "wine",
            "Which of three cultivars a wine was made from.",
            classifier,
            wine.feature_names,
            held_out,
            {"accuracy": accuracy_score(truth, classifier.predict(held_out))},
            classes=[str(name) for name in wine.target_names],
        ),
        _example(
            folder,
            "diabetes",
            "How far diabetes has progressed one year after the baseline.",
            regressor,
            diabetes.feature_names,
            measured,
            {
                "r2": r2_score(progression, regressor.predict(measured)),
                "mean_absolute_error": mean_absolute_error(
                    progression, regressor.predict(measured)
                ),
            },
        ),
    ]
    (folder / EXAMPLES).write_text(json.dumps(examples))


def _fitted(model: Any, data: Any) -> tuple[Any, Any, Any]:
    """A scaled model fitted to three quarters of the data, and the rows and truth held out."""
    rows, held_out, target, truth = train_test_split(data.data, data.target, random_state=0)
    return make_pipeline(StandardScaler(), model).fit(rows, target), held_out, truth


def _example(
    folder: Path,
    name: str,
    description: str,
    model: Any,
    features: Sequence[str],
    rows: Any,
    metrics: dict[str, float],
    classes: list[str] | None = None,
) -> dict[str, Any]:
    path = folder / f"{name}.skops"
    skops.io.dump(model, path)
    signature: dict[str, Any] = {"inputs": [{"name": "features", "features": list(features)}]}
    return {
        "name": name,
        "framework": "sklearn",
        "description": description,
        "metrics": {key: float(value) for key, value in metrics.items()},
        "file": path.name,
        "signature": signature | ({"classes": classes} if classes else {}),
        "example": [{"features": row} for row in rows[:20].tolist()],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
