"""What the matrices of boosters share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from rest_framework.test import APIClient

from predictions.testing import faces
from registry.signatures.signature import Signature
from registry.testing.trained_models import as_json_rows

Check: TypeAlias = Callable[[Path, Any, Mapping[str, Any]], None]

N_ROWS = 200
N_SENT_ROWS = 12


def matrix() -> np.ndarray:
    """Numbers that single precision holds, with missing ones in the second column."""
    rows = np.random.default_rng(0).normal(size=(N_ROWS, 4)).astype(np.float32)
    rows[::9, 1] = np.nan
    return rows


def as_sent(rows: Any) -> list[list[Any]]:
    """The first rows as JSON holds them."""
    return as_json_rows(np.asarray(rows)[:N_SENT_ROWS].tolist())


def by_class(scores: np.ndarray) -> np.ndarray:
    """Probabilities (n, k), of two classes if the scores (n,) are those of the second."""
    return np.stack([1 - scores, scores], axis=1) if scores.ndim == 1 else scores


def label_outputs(probabilities: Any, classes: Sequence[Any], name: str = "label") -> Any:
    """The outputs of a classifier with these probabilities (n, k)."""
    scores = "probabilities" if name == "label" else f"{name}_probabilities"
    chosen = np.asarray(probabilities).argmax(axis=1)
    return {name: [classes[i] for i in chosen], scores: np.asarray(probabilities)}


def value_outputs(values: Any) -> Any:
    """The outputs of a model that answers the values (n,) or (n, k)."""
    columns = np.asarray(values)
    if columns.ndim == 1 or columns.shape[1] == 1:
        return {"value": columns.ravel()}
    return {f"y{i}": columns[:, i] for i in range(columns.shape[1])}


@pytest.fixture
def check(
    admin_api: APIClient, client: APIClient, model_path: Path, in_process_sandbox: None
) -> Check:
    """Register a file and compare the answers to rows, on every face, with the expected outputs of
    all rows.
    """

    def check_file(path: Path, rows: Any, expected: Mapping[str, Any]) -> None:
        framework = {".ubj": "xgboost", ".txt": "lightgbm", ".cbm": "catboost"}[path.suffix]
        version = faces.register(admin_api, path, name="field", framework=framework)
        # Rows of boosters never depend on each other.
        assert Signature.from_json(version.signature).is_joinable
        answers = faces.answers_of_every_face(client, version, as_sent(rows))
        first = {name: np.asarray(values)[:N_SENT_ROWS] for name, values in expected.items()}
        faces.assert_equal_answers(answers, first)

    return check_file
