"""POST /api/v1/models/{id}/invocations/: the bodies and responses of `mlflow models serve`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from predictions.models import Prediction
from registry.models import ModelVersion
from registry.testing.folders import MLFLOW_FOLDERS, register_folder

CASES = json.loads((MLFLOW_FOLDERS / "invocations.json").read_text())
IRIS_ROW = [5.1, 3.5, 1.4, 0.2]


def url(version: ModelVersion) -> str:
    return f"/api/v1/models/{version.pk}/invocations"


def invoke(client: APIClient, version: ModelVersion, body: Any) -> Any:
    return client.post(url(version), body)


def invoke_csv(client: APIClient, version: ModelVersion, text: str | bytes) -> Any:
    body: Any = text if isinstance(text, bytes) else text.encode()
    return client.generic("POST", url(version), body, "text/csv")


def register(folder: Path) -> ModelVersion:
    register_folder(folder)
    return ModelVersion.objects.get()


def flat(predictions: Any) -> Any:
    """Predictions as a flat list: MLflow keeps the column dimension of one number per row."""
    return np.ravel(predictions).tolist()


# -- responses recorded from MLflow itself


@pytest.mark.usefixtures("cached_proofs", "model_path", "db")
@pytest.mark.parametrize("name", sorted({case["model"] for case in CASES}))
@pytest.mark.slow
def test_predictions_equal_those_of_mlflow(client: APIClient, name: str) -> None:
    version = register(MLFLOW_FOLDERS / name)
    cases = [case for case in CASES if case["model"] == name]

    for case in cases:
        response = invoke(client, version, case["body"])

        assert response.status_code == 200, response.content
        expected, predictions = case["answer"]["predictions"], response.json()["predictions"]
        if name.startswith("onnx"):
            assert predictions.keys() == expected.keys()
            for output in expected:
                assert flat(predictions[output]) == pytest.approx(flat(expected[output]), rel=1e-6)
        elif isinstance(expected[0], str):
            assert predictions == expected
        else:
            assert np.shape(predictions) == np.shape(expected)
            assert flat(predictions) == pytest.approx(flat(expected), rel=1e-6)
    assert all(flat(case["answer"]["predictions"]) for case in cases)
    assert Prediction.objects.filter(model=version, status="succeeded").exists()


@pytest.mark.usefixtures("cached_proofs", "model_path", "db")
def test_a_table_for_an_onnx_model_is_answered_with_records(client: APIClient) -> None:
    version = register(MLFLOW_FOLDERS / "onnx_classifier")

    response = invoke(client, version, {"dataframe_split": {"data": [IRIS_ROW]}})

    [record] = response.json()["predictions"]
    assert record["label"] == 0
    assert len(record["probabilities"]) == 3


# -- any model


def test_each_row_is_recorded(client: APIClient, iris: ModelVersion) -> None:
    response = invoke(client, iris, {"inputs": [IRIS_ROW, [6.9, 3.2, 5.7, 2.3]]})

    assert response.status_code == 200
    assert response.json() == {"predictions": ["setosa", "virginica"]}
    stored = Prediction.objects.order_by("id")
    assert stored[0].input_data == {"features": IRIS_ROW}
    assert [row.output["label"] for row in stored] == ["setosa", "virginica"]
    assert stored[0].request_id == response.headers["X-Request-ID"]


def test_the_content_type_may_name_its_charset(client: APIClient, iris: ModelVersion) -> None:
    body = json.dumps({"instances": [IRIS_ROW]})

    response: Any = client.generic("POST", url(iris), body, "application/json; charset=utf-8")

    assert response.status_code == 200


def test_a_model_without_column_names_takes_columns_by_position(
    client: APIClient, iris: ModelVersion
) -> None:
    bodies: list[Any] = [
        {"dataframe_split": {"columns": list("abcd"), "index": [7], "data": [IRIS_ROW]}},
        {"dataframe_split": {"data": [IRIS_ROW]}},
        {"dataframe_records": [dict(zip("abcd", IRIS_ROW, strict=True))]},
        {"inputs": {name: [value] for name, value in zip("abcd", IRIS_ROW, strict=True)}},
        {"inputs": {"features": [IRIS_ROW]}},
    ]

    for body in bodies:
        assert invoke(client, iris, body).json() == {"predictions": ["setosa"]}


def test_the_signature_determines_the_types_of_csv_cells(
    client: APIClient, mixed: ModelVersion
) -> None:
    text = 'income,city,age,extra\r\n1.5,Oslo,20,"x,y"\r\n2,Rome,,\r\n'

    response = invoke_csv(client, mixed, text)

    assert response.status_code == 200, response.content
    assert len(response.json()["predictions"]) == 2
    assert [row.input_data for row in Prediction.objects.order_by("id")] == [
        {"city": "Oslo", "age": 20, "income": 1.5},
        {"city": "Rome", "age": None, "income": 2},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Give exactly one of"),
        ("a,b,c,d\n", "1 to 10000 rows"),
        ("a,b\n1,2,3\n", "Every line must have 2 cells"),
        ('a,b\n"1,2\n', "not valid CSV"),
        ("a,b,c,d\n1,2,wide,4\n", "Must be a number, not 'wide'"),
        ("a,b,c,d\n1,2,inf,4\n", "Must be a number, not 'inf'"),
        ("a,a,c,d\n1,2,3,4\n", "distinct names"),
        ("a,b,c,d\n1,2,3,\x00\n", "U+0000"),
        (b"\xff\xfe", "in UTF-8"),
    ],
)
def test_invalid_csv_is_400(client: APIClient, iris: ModelVersion, text: Any, message: str) -> None:
    response = invoke_csv(client, iris, text)

    assert response.status_code == 400
    assert message in response.content.decode()
    assert not Prediction.objects.exists()


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([], "non_field_errors"),
        ("a,b\n1,2", "non_field_errors"),
        ({}, "non_field_errors"),
        ({"rows": [IRIS_ROW]}, "rows"),
        ({"instances": [IRIS_ROW], "inputs": [IRIS_ROW]}, "inputs"),
        ({"instances": [IRIS_ROW], "params": {"temperature": 1}}, "params"),
        ({"instances": []}, "instances"),
        ({"instances": {}}, "instances"),
        ({"instances": None}, "instances"),
        ({"inputs": {}}, "inputs"),
        ({"inputs": {"a": 1}}, "inputs"),
        ({"inputs": {"a": [1], "b": [1, 2]}}, "inputs"),
        ({"inputs": {"a": []}}, "inputs"),
        ({"dataframe_records": [IRIS_ROW]}, "dataframe_records"),
        ({"dataframe_records": {}}, "dataframe_records"),
        ({"dataframe_split": []}, "dataframe_split"),
        ({"dataframe_split": {}}, "dataframe_split.data"),
        ({"dataframe_split": {"data": [IRIS_ROW], "rows": 1}}, "dataframe_split.rows"),
        ({"dataframe_split": {"data": [IRIS_ROW], "columns": 1}}, "dataframe_split.columns"),
        (
            {"dataframe_split": {"data": [IRIS_ROW], "columns": list("aacd")}},
            "dataframe_split.columns",
        ),
        (
            {"dataframe_split": {"data": [IRIS_ROW, [1]], "columns": list("abcd")}},
            "dataframe_split.data[1]",
        ),
        ({"dataframe_split": {"data": [IRIS_ROW, [1, 2, 3, "x"]]}}, "dataframe_split.data[1][3]"),
        ({"instances": [IRIS_ROW, [1, None, 3, 4]]}, "instances[1][1]"),
        ({"instances": [3.5]}, "instances[0].features"),
        ({"instances": [None]}, "instances[0].features"),
        ({"inputs": {"features": [[1, 2, 3]]}}, "inputs[0].features"),
    ],
)
def test_an_invalid_body_is_400_and_names_the_field(
    client: APIClient, iris: ModelVersion, body: Any, path: str
) -> None:
    response = invoke(client, iris, body)

    assert response.status_code == 400, response.content
    assert path in response.json()["errors"]
    assert not Prediction.objects.exists()


def test_missing_and_wrong_columns_are_named(client: APIClient, mixed: ModelVersion) -> None:
    response = invoke(client, mixed, {"dataframe_records": [{"city": "Oslo", "age": 3, "wage": 1}]})

    assert response.status_code == 400
    assert response.json()["errors"] == {
        "dataframe_records[0].income": ["Missing."],
        "dataframe_records[0].wage": ["Not a feature of this model."],
    }


def test_more_rows_than_the_limit_are_400(
    client: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.MAX_BATCH_ROWS = 2
    too_many: list[Any] = [
        {"instances": [IRIS_ROW] * 3},
        {"dataframe_split": {"data": [IRIS_ROW] * 3}},
        {"inputs": {name: [1, 2, 3] for name in "abcd"}},
    ]

    for body in too_many:
        response = invoke(client, iris, body)
        assert response.status_code == 400
        assert "1 to 2 rows" in response.content.decode()


def test_a_row_on_which_the_model_fails_is_422_and_recorded(
    client: APIClient, make_version: Any, overflowing_artifact: Any
) -> None:
    steep = make_version("steep", overflowing_artifact)

    response = invoke(client, steep, {"instances": [[0.0, 0.0], [1e10, 0.0]]})

    assert response.status_code == 422
    assert response.json()["errors"].keys() == {"instances[1]"}
    [failed] = Prediction.objects.all()
    assert failed.status == "failed"


def test_an_unknown_model_is_404(client: APIClient, iris: ModelVersion) -> None:
    response = client.post(f"/api/v1/models/{iris.pk + 1}/invocations/", {"instances": [[1]]})

    assert response.status_code == 404


def test_a_version_without_an_artifact_is_409(client: APIClient, make_version: Any) -> None:
    assert invoke(client, make_version("bare"), {"instances": [[1]]}).status_code == 409


def test_a_request_without_a_token_is_401(client: APIClient, iris: ModelVersion) -> None:
    client.credentials()

    assert invoke(client, iris, {"instances": [IRIS_ROW]}).status_code == 401


def test_another_content_type_is_415(client: APIClient, iris: ModelVersion) -> None:
    response: Any = client.generic("POST", url(iris), "x", "application/parquet")

    assert response.status_code == 415


@pytest.mark.parametrize("content_type", ["application/json", "text/csv"])
def test_a_body_over_the_limit_is_413(
    client: APIClient, iris: ModelVersion, settings: LazySettings, content_type: str
) -> None:
    settings.MAX_REQUEST_BYTES = 2000

    response: Any = client.generic("POST", url(iris), " " * 2001, content_type)

    assert response.status_code == 413
