"""Columns of categories and booleans, on every face, in CSV and declared by hand or by MLflow."""

import json
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
import yaml
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.testing import faces
from predictions.tests.boosters.conftest import Check, as_sent, label_outputs
from registry.models import ModelVersion
from registry.signatures.signature import Signature
from registry.testing import trained_models
from registry.testing.folders import register_folder

N_ROWS = 200

FRAME = trained_models.category_frame()
TARGET = ((FRAME["city"] == "Oslo") ^ FRAME["member"] ^ (FRAME["size"] > 0)).astype(int)
ROWS = np.array([FRAME[name].astype(object).to_numpy() for name in FRAME], dtype=object).T
DECLARED = {
    "columns": [
        {"name": "size", "datatype": "FP64"},
        {"name": "visits", "datatype": "INT64"},
        {"name": "member", "datatype": "BOOL"},
    ]
}


def test_categories_and_booleans_of_xgboost(check: Check, tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True)
    model.fit(FRAME, TARGET).save_model(tmp_path / "m.ubj")

    check(tmp_path / "m.ubj", ROWS, label_outputs(model.predict_proba(FRAME), (0, 1)))


def test_categories_of_lightgbm(check: Check, tmp_path: Path) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1, min_child_samples=5)
    table = FRAME.drop(columns="member")
    model.fit(table, TARGET).booster_.save_model(tmp_path / "m.txt")

    check(tmp_path / "m.txt", ROWS[:, :3], label_outputs(model.predict_proba(table), (0, 1)))


def test_categories_and_texts_of_catboost(check: Check, tmp_path: Path) -> None:
    trained = trained_models.reviews_catboost(tmp_path / "m.cbm")
    rows = trained.rows.copy()
    # The category of an integer is that of its digits.
    rows[:, 3] = [str(value) for value in rows[:, 3]]
    expected = label_outputs(trained.estimator.predict_proba(rows), ["no", "yes"])

    check(trained.path, rows, expected)


@pytest.fixture
def numbers() -> np.ndarray:
    """A number, an integer and a boolean, as one matrix; the last row lacks all of them."""
    rows = np.random.default_rng(0).normal(size=(N_ROWS, 3)).astype(np.float32)
    rows[:, 1], rows[:, 2] = np.round(rows[:, 1] * 2), rows[:, 2] > 0
    rows[-1] = np.nan
    return rows


def train(framework: str, rows: np.ndarray, path: Path) -> tuple[Path, np.ndarray]:
    """A classifier's file, and its probabilities of the rows."""
    target = np.arange(N_ROWS) % 2 ^ (rows[:, 2] == 1)
    if framework == "catboost":
        model = catboost.CatBoostClassifier(**trained_models.CATBOOST_OPTIONS)
        model.fit(rows, target).save_model(path / "m.cbm")
        return path / "m.cbm", model.predict_proba(rows)
    if framework == "xgboost":
        model = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(rows, target)
        model.save_model(path / "m.ubj")
        return path / "m.ubj", model.predict_proba(rows)
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1).fit(rows, target)
    model.booster_.save_model(path / "m.txt")
    return path / "m.txt", np.asarray(model.predict_proba(rows))


@pytest.mark.usefixtures("model_path", "in_process_sandbox")
@pytest.mark.parametrize("framework", ["catboost", "lightgbm", "xgboost"])
def test_declared_booleans_and_integers_are_columns(
    framework: str,
    numbers: np.ndarray,
    admin_api: APIClient,
    client: APIClient,
    tmp_path: Path,
) -> None:
    path, probabilities = train(framework, numbers, tmp_path)
    version = faces.register(
        admin_api, path, name="columns", framework=framework, signature=DECLARED
    )
    sent = [
        [None] * 3 if a != a else [float(a), int(b), bool(c)] for a, b, c in numbers[-12:].tolist()
    ]

    answers = faces.answers_of_every_face(client, version, sent)

    inputs = Signature.from_json(version.signature).inputs
    number = "FP64" if framework == "lightgbm" else "FP32"
    assert [tensor.datatype for tensor in inputs] == [number, "INT64", "BOOL"]
    assert all(tensor.nullable for tensor in inputs)
    faces.assert_equal_answers(answers, label_outputs(probabilities[-12:], (0, 1)))
    response: Any = client.post(
        "/api/v1/predictions/",
        {"model_id": version.pk, "input_data": {"size": 0.5, "visits": 1.5, "member": "yes"}},
    )
    assert response.status_code == 400
    assert set(response.json()["errors"]) == {"input_data.visits", "input_data.member"}


def categorical_xgboost(path: Path) -> xgboost.XGBClassifier:
    """A classifier of FRAME, saved to the path."""
    model = xgboost.XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True)
    model.fit(FRAME, TARGET).save_model(path)
    return model


@pytest.mark.usefixtures("model_path", "in_process_sandbox")
def test_csv_holds_categories_and_booleans(
    admin_api: APIClient, client: APIClient, tmp_path: Path
) -> None:
    model = categorical_xgboost(tmp_path / "m.ubj")
    version = faces.register(admin_api, tmp_path / "m.ubj", name="csv", framework="xgboost")

    response: Any = client.generic(
        "POST",
        f"/api/v1/models/{version.pk}/invocations",
        FRAME[:20].to_csv(index=False).encode(),
        "text/csv",
    )

    assert response.status_code == 200, response.content
    assert response.json()["predictions"] == model.predict(FRAME[:20]).tolist()


@pytest.mark.usefixtures("model_path", "in_process_sandbox")
def test_an_unknown_category_is_a_recorded_failure(
    admin_api: APIClient, client: APIClient, tmp_path: Path
) -> None:
    categorical_xgboost(tmp_path / "m.ubj")
    version = faces.register(admin_api, tmp_path / "m.ubj", name="unknown", framework="xgboost")
    row = {"size": 0.5, "city": "Rome", "zone": 11, "member": True}

    response: Any = client.post("/api/v1/predictions/", {"model_id": version.pk, "input_data": row})

    assert response.status_code == 422
    assert "'Rome' is not one of the 3 categories of 'city'" in json.dumps(response.json())
    assert Prediction.objects.get().status == "failed"


@pytest.mark.usefixtures("model_path", "in_process_sandbox")
def test_a_folder_of_catboost_has_the_columns_of_mlflows_signature(
    client: APIClient, tmp_path: Path
) -> None:
    trained = trained_models.reviews_catboost(tmp_path / "model.cb")
    types = {"age": "double", "city": "string", "review": "string", "seats": "long"}
    columns = [{"name": name, "type": kind, "required": True} for name, kind in types.items()]
    flavor = {"data": "model.cb", "model_type": "CatBoostClassifier", "save_format": "cbm"}
    (tmp_path / "MLmodel").write_text(
        yaml.safe_dump(
            {
                "flavors": {"catboost": {**flavor, "catboost_version": catboost.__version__}},
                "signature": {"inputs": json.dumps(columns)},
            }
        )
    )
    register_folder(tmp_path)
    version = ModelVersion.objects.get()
    rows = [dict(zip(types, row, strict=True)) for row in as_sent(trained.rows)]

    response: Any = client.post(
        f"/api/v1/models/{version.pk}/invocations", {"dataframe_records": rows}
    )

    inputs = Signature.from_json(version.signature).inputs
    assert version.framework == "catboost"
    assert [tensor.datatype for tensor in inputs] == ["FP32", "BYTES", "BYTES", "INT64"]
    assert response.status_code == 200, response.content
    expected = trained.estimator.predict(trained.rows[: len(rows)])
    assert response.json()["predictions"] == expected.tolist()
