"""Columns with gaps where the matrix does not go: an MLflow folder, CSV and a replay."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from django.contrib.auth.models import User
from rest_framework.test import APIClient
from sklearn.linear_model import LogisticRegression

from predictions.testing import faces
from predictions.tests.estimators import matrix
from registry.models import ModelVersion
from registry.testing.clients import api_client
from registry.testing.folders import register_folder

NAMES = ["x0", "x1", "x2", "x3"]
MLMODEL = """
flavors:
  python_function:
    loader_module: mlflow.sklearn
    model_path: model.skops
    predict_fn: predict
  sklearn:
    pickled_model: model.skops
    serialization_format: skops
    sklearn_version: 1.9.1
mlflow_version: 3.17.2
signature:
  inputs: '{inputs}'
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("in_process_sandbox", "model_path", "db"),
]


@pytest.fixture
def model() -> Any:
    return matrix.in_pipeline(LogisticRegression(C=100.0))


@pytest.fixture
def version(model: Any, tmp_path: Path) -> ModelVersion:
    """The pipeline as an MLflow folder, whose signature has optional columns."""
    types = {"x0": "string", "x1": "double", "x2": "boolean", "x3": "double"}
    inputs = [{"name": name, "type": types[name], "required": name == "x3"} for name in NAMES]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "MLmodel").write_text(MLMODEL.format(inputs=json.dumps(inputs)))
    skops.io.dump(model, folder / "model.skops")
    register_folder(folder)
    return ModelVersion.objects.get()


def test_an_mlflow_folder_with_optional_columns_answers_like_the_pipeline(
    client: APIClient, version: ModelVersion, model: Any
) -> None:
    rows = matrix.MIXED[: matrix.N_SENT_ROWS]

    answers = faces.answers_of_every_face(client, version, matrix.sent(rows))

    faces.assert_equal_answers(answers, matrix.expected_outputs(model, rows))
    without = rows.copy()
    without[0, 0] = "Bern"
    difference = model.predict_proba(rows[[0]]) - model.predict_proba(without[[0]])
    assert np.abs(difference).max() > 0.01


def test_an_empty_cell_of_csv_is_a_missing_value(
    client: APIClient, version: ModelVersion, model: Any
) -> None:
    rows = matrix.MIXED[: matrix.N_SENT_ROWS]
    lines = [",".join("" if cell is None else str(cell) for cell in r) for r in matrix.sent(rows)]

    response: Any = client.generic(
        "POST",
        f"/api/v1/models/{version.pk}/invocations",
        "\n".join([",".join(NAMES), *lines]),
        "text/csv",
    )

    assert response.json()["predictions"] == model.predict(rows).tolist()


def test_recorded_gaps_are_replayed_alike(
    client: APIClient, version: ModelVersion, tmp_path: Path
) -> None:
    for row in matrix.sent(matrix.MIXED):
        body = {"model_id": version.pk, "input_data": {"features": row}}
        assert client.post("/api/v1/predictions/", body).status_code == 201
    register_folder(tmp_path / "folder", "--version=2")
    analyst = api_client(User.objects.create_superuser("lin"))

    response: Any = analyst.post("/api/v1/replays/", {"from": "iris:1", "to": "iris:2"})

    report = response.json()["report"]
    assert (report["agreed"], report["failed"]) == (matrix.N_SENT_ROWS, 0)
