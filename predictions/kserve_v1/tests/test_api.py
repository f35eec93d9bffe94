"""/v1: KServe's first protocol, to the same versions and the same log."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from predictions.models import Prediction
from registry.models import Alias, ModelVersion
from registry.runtimes import runtime_module
from registry.runtimes.base import LoadOptions
from registry.testing import trained_models
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client
from registry.testing.versions import MakeVersion

ROW = [5.1, 3.5, 1.4, 0.2]
OTHER = [6.9, 3.2, 5.7, 2.3]
URL = "/v1/models/iris:predict"


@pytest.fixture
def champion(iris: ModelVersion) -> Alias:
    return Alias.objects.create(name="iris", alias="champion", version=iris)


def predict(client: APIClient, body: object, url: str = URL, **headers: str) -> Any:
    return client.post(url, body, headers=headers)


# -- predictions


@pytest.mark.parametrize("key", ["instances", "inputs"])
@pytest.mark.parametrize(
    "url", [URL, f"{URL}/", "/v1/models/iris@champion:predict", "/v1/models/iris:1:predict"]
)
def test_rows_are_answered_and_recorded(
    client: APIClient, champion: Alias, key: str, url: str
) -> None:
    response = predict(client, {key: [ROW, OTHER], "signature_name": "serving_default"}, url)

    assert response.status_code == 200, response.content
    assert response.json() == {"predictions": ["setosa", "virginica"]}
    stored = Prediction.objects.order_by("pk")
    assert [row.input_data["features"] for row in stored] == [ROW, OTHER]
    assert [row.output["label"] for row in stored] == ["setosa", "virginica"]
    assert {row.request_id for row in stored} == {response.headers["X-Request-ID"]}


def test_a_single_row_is_answered_as_a_list_of_one(client: APIClient, champion: Alias) -> None:
    assert predict(client, {"instances": [ROW]}).json() == {"predictions": ["setosa"]}
    assert Prediction.objects.get().input_data == {"features": ROW}


def test_rows_may_be_objects(client: APIClient, mixed: ModelVersion) -> None:
    rows = [
        {"city": "Oslo", "age": 20.5, "income": 1.5},
        {"income": 1.5, "age": None, "city": "Rome"},
    ]

    response = predict(client, {"instances": rows}, "/v1/models/mixed:1:predict")

    assert response.status_code == 200, response.content
    assert [row.input_data for row in Prediction.objects.order_by("pk")] == rows


def test_inputs_may_be_columns(client: APIClient, mixed: ModelVersion) -> None:
    columns = {"income": [1.5, 2.5], "city": ["Oslo", "Rome"], "age": [20.5, None]}

    response = predict(client, {"inputs": columns}, "/v1/models/mixed:1:predict")

    assert response.status_code == 200, response.content
    assert [row.input_data for row in Prediction.objects.order_by("pk")] == [
        {"city": "Oslo", "age": 20.5, "income": 1.5},
        {"city": "Rome", "age": None, "income": 2.5},
    ]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_the_content_type_does_not_matter(
    client: APIClient, champion: Alias, content_type: str
) -> None:
    body = json.dumps({"instances": [ROW]})

    response: Any = client.generic("POST", URL, body, content_type)

    assert response.json() == {"predictions": ["setosa"]}


def version_of(
    make_version: MakeVersion, framework: str, trained: trained_models.Trained
) -> ModelVersion:
    """A version of this file, without the subprocess that proves it."""
    signature = runtime_module(framework).load(trained.path, LoadOptions()).signature
    artifact = Artifact(trained.path.read_bytes(), None, {}, _Proved(signature.as_json()))  # type: ignore[arg-type]
    return make_version("model", artifact, framework=framework)


class _Proved:
    """What `make_version` takes from a proof."""

    def __init__(self, signature: dict[str, object]) -> None:
        self.signature = signature
        self.libraries: dict[str, str] = {}


@pytest.mark.parametrize("framework", ["xgboost", "lightgbm"])
def test_a_boosters_predictions_are_what_the_booster_returns(
    client: APIClient, make_version: MakeVersion, tmp_path: Path, framework: str
) -> None:
    train = {"xgboost": trained_models.iris_xgboost, "lightgbm": trained_models.iris_lightgbm}
    trained = train[framework](tmp_path / ("m.ubj" if framework == "xgboost" else "m.txt"))
    version_of(make_version, framework, trained)
    rows = trained.rows[::50]

    response = predict(client, {"instances": rows.tolist()}, "/v1/models/model:1:predict")

    expected = trained.estimator.predict_proba(rows)
    np.testing.assert_allclose(response.json()["predictions"], expected, rtol=1e-6)


def test_several_outputs_of_an_onnx_model_are_objects(
    client: APIClient, make_version: MakeVersion, tmp_path: Path
) -> None:
    version_of(make_version, "onnx", trained_models.iris_onnx(tmp_path / "m.onnx"))

    response = predict(client, {"instances": [ROW]}, "/v1/models/model:1:predict")

    [record] = response.json()["predictions"]
    assert record["label"] == "setosa"
    assert len(record["probabilities"]) == 3


def test_a_single_output_of_an_onnx_model_is_a_plain_value(
    client: APIClient, make_version: MakeVersion, tmp_path: Path
) -> None:
    trained = trained_models.diabetes_onnx(tmp_path / "m.onnx")
    version_of(make_version, "onnx", trained)
    rows = trained.rows[:2]

    response = predict(client, {"instances": rows.tolist()}, "/v1/models/model:1:predict")

    expected = trained.estimator.predict(rows)
    np.testing.assert_allclose(np.ravel(response.json()["predictions"]), expected, rtol=1e-5)


# -- repeated requests


@pytest.mark.parametrize("rows", [[ROW], [ROW, OTHER]])
def test_a_retry_gets_the_same_response_and_no_second_row(
    client: APIClient, champion: Alias, rows: list[list[float]]
) -> None:
    header = {"Idempotency-Key": "k"}

    first = predict(client, {"instances": rows}, **header)
    again = predict(client, {"instances": rows}, **header)
    other = predict(client, {"instances": [OTHER]}, **header)

    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 422)
    assert again.content == first.content
    assert Prediction.objects.count() == len(rows)


# -- refusals


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"instances": []}, "instances: Must be a list of 1 to 10000 rows"),
        ({"instances": 5}, "instances: Must be a list of 1 to 10000 rows"),
        ({}, 'either "instances" or "inputs"'),
        ([ROW], 'either "instances" or "inputs"'),
        ({"instances": [ROW], "inputs": [ROW]}, 'either "instances" or "inputs"'),
        ({"instances": [[1.0, 2.0]]}, "instances[0].features: Must hold 4 values, not 2"),
        ({"instances": [ROW, ["a", 1, 2, 3]]}, "instances[1][0]: Must be a number, not 'a'"),
        ({"instances": [[True, 1, 2, 3]]}, "instances[0][0]: Must be a number, not true"),
        ({"instances": [{"b64": "AAAA"}]}, "instances[0].features: Must hold 4 values, not 1"),
        ({"instances": [ROW], "params": {}}, "params: Unknown field"),
        ({"instances": [ROW], "signature_name": "embed"}, "signature_name must be 'serving_def"),
    ],
)
def test_an_invalid_body_is_400_and_recorded_nowhere(
    client: APIClient, champion: Alias, body: object, message: str
) -> None:
    response = predict(client, body)

    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    assert message in response.json()["error"]
    assert not Prediction.objects.exists()


@pytest.mark.parametrize("body", ["{", "", "\xff", '{"instances": [[NaN]]}'])
def test_a_body_that_is_no_json_is_400(client: APIClient, champion: Alias, body: str) -> None:
    response: Any = client.generic("POST", URL, body, "application/json")

    assert response.status_code == 400
    assert "Invalid JSON" in response.json()["error"]


def test_too_many_rows_are_400(client: APIClient, champion: Alias, settings: LazySettings) -> None:
    settings.MAX_BATCH_ROWS = 2

    response = predict(client, {"instances": [ROW] * 3})

    assert response.status_code == 400
    assert "Must be a list of 1 to 2 rows" in response.json()["error"]


@pytest.mark.parametrize("rows", [1, 2])
def test_a_failing_model_is_422_and_recorded(
    client: APIClient, make_version: MakeVersion, overflowing_artifact: Artifact, rows: int
) -> None:
    make_version("big", overflowing_artifact)

    response = predict(client, {"instances": [[1e200, 0.0]] * rows}, "/v1/models/big:1:predict")

    assert response.status_code == 422
    assert "overflow encountered" in response.json()["error"]
    assert Prediction.objects.filter(status="failed").count() == rows


def test_every_route_needs_a_token(champion: Alias) -> None:
    client = api_client()

    for response in (
        predict(client, {"instances": [ROW]}),
        client.get("/v1/models"),
        client.get("/v1/models/iris"),
    ):
        assert response.status_code == 401
        assert list(response.json()) == ["error"]


def test_the_token_of_a_deactivated_user_is_refused(
    client: APIClient, champion: Alias, user: User
) -> None:
    assert predict(client, {"instances": [ROW]}).status_code == 200
    User.objects.update(is_active=False)

    assert predict(client, {"instances": [ROW]}).status_code == 401
    assert Prediction.objects.count() == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("post", "/v1/models/wine:predict", 404),
        ("post", "/v1/models/iris:9:predict", 404),
        ("post", "/v1/models/iris:explain", 405),
        ("get", URL, 405),
        ("get", "/v1/nothing", 404),
        ("get", "/v1/models/wine", 404),
    ],
)
def test_errors_have_the_form_of_the_protocol(
    client: APIClient, champion: Alias, method: str, path: str, status: int
) -> None:
    response = getattr(client, method)(path)

    assert response.status_code == status
    assert list(response.json()) == ["error"]


# -- the models


def test_models_are_the_names_that_can_be_asked(
    client: APIClient, champion: Alias, make_version: MakeVersion, iris_artifact: Artifact
) -> None:
    make_version("iris", iris_artifact, version="2")
    make_version("empty")
    make_version("old", iris_artifact, is_active=False)

    assert client.get("/v1/models").json() == {"models": ["iris"]}


def test_a_model_is_ready_if_its_file_is_there(
    client: APIClient, champion: Alias, make_version: MakeVersion
) -> None:
    make_version("empty")

    ready, missing = client.get("/v1/models/iris"), client.get("/v1/models/empty:1")

    assert (ready.status_code, ready.json()) == (200, {"name": "iris", "ready": True})
    assert (missing.status_code, missing.json()) == (503, {"name": "empty", "ready": False})
