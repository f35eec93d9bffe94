"""POST /api/v1/predictions/: requests that are rejected, and models that fail."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from predictions.models import Prediction
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact

URL = "/api/v1/predictions/"

MakeVersion = Callable[..., ModelVersion]


def predict(client: APIClient, version: ModelVersion, row: Any, **fields: Any) -> Any:
    return client.post(URL, {"model_id": version.pk, "input_data": row, **fields})


@pytest.mark.parametrize("is_loaded", [False, True])
def test_an_inactive_model_answers_404(
    client: APIClient, iris: ModelVersion, is_loaded: bool
) -> None:
    row = {"features": [5.1, 3.5, 1.4, 0.2]}
    if is_loaded:
        predict(client, iris, row)
    iris.update(is_active=False)
    n_before = Prediction.objects.count()

    response = predict(client, iris, row)

    assert response.status_code == 404
    assert response.json()["detail"] == f"Model {iris.pk} not found or inactive"
    assert Prediction.objects.count() == n_before


def test_a_reactivated_model_answers_again(client: APIClient, iris: ModelVersion) -> None:
    row = {"features": [5.1, 3.5, 1.4, 0.2]}
    iris.update(is_active=False)
    predict(client, iris, row)
    iris.update(is_active=True)

    assert predict(client, iris, row).status_code == 201


def test_a_cached_model_that_was_deleted_answers_404(client: APIClient, iris: ModelVersion) -> None:
    row = {"features": [5.1, 3.5, 1.4, 0.2]}
    predict(client, iris, row)
    Prediction.objects.all().delete()
    ModelVersion.objects.all().delete()

    response = predict(client, iris, row)

    assert response.status_code == 404
    assert response.json()["detail"] == f"Model {iris.pk} not found or inactive"


@pytest.mark.parametrize("pk", [999, 2**63, 2**64 - 1])
def test_an_unknown_model_answers_404(client: APIClient, pk: int) -> None:
    response = client.post(URL, {"model_id": pk, "input_data": {"features": [1]}})

    assert response.status_code == 404
    assert response.json()["detail"] == f"Model {pk} not found or inactive"


def test_a_model_without_an_artifact_answers_409(
    client: APIClient, make_version: MakeVersion
) -> None:
    bare = make_version("bare")

    response = predict(client, bare, {"features": [1]})

    assert response.status_code == 409
    assert response.json()["detail"] == f"Model {bare.pk} has no artifact yet"
    assert Prediction.objects.count() == 0


@pytest.mark.parametrize(
    ("row", "path", "message"),
    [
        ({"features": [1, 2, 3]}, "features", "Must hold 4 values, not 3."),
        ({"features": [1, 2, 3, 4, 5]}, "features", "Must hold 4 values, not 5."),
        ({"features": []}, "features", "Must hold 4 values, not 0."),
        ({"features": [1, 2, "x", 4]}, "features[2]", "Must be a number, not 'x'."),
        ({"features": [1, 2, "3", 4]}, "features[2]", "Must be a number, not '3'."),
        ({"features": [1, 2, True, 4]}, "features[2]", "Must be a number, not true."),
        ({"features": [1, 2, [3], 4]}, "features[2]", "Must be a number, not a list."),
        ({"features": [1, 2, {}, 4]}, "features[2]", "Must be a number, not an object."),
        ({"features": [1, None, 3, 4]}, "features[1]", "no missing value here"),
        ({"features": [1, 2, 3, 4], "more": 1}, "more", "Not a feature of this model."),
        ({"petal": 1}, "features", "Missing."),
        ({}, "features", "Missing."),
    ],
)
def test_invalid_features_answer_400_and_are_named(
    client: APIClient, iris: ModelVersion, row: Any, path: str, message: str
) -> None:
    response = predict(client, iris, row)

    assert response.status_code == 400
    assert message in response.json()["errors"][f"input_data.{path}"][0]
    assert Prediction.objects.count() == 0


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"city": 5}, "city", "Must be text, not 5."),
        ({"city": None}, "city", "Must not be null"),
        ({"income": None}, "income", "Must not be null"),
        ({"age": "old"}, "age", "Must be a number, not 'old'."),
        ({"height": 1}, "height", "Not a feature of this model."),
    ],
)
def test_invalid_named_features_answer_400_and_are_named(
    client: APIClient,
    mixed: ModelVersion,
    mixed_artifact: Artifact,
    change: dict[str, Any],
    path: str,
    message: str,
) -> None:
    response = predict(client, mixed, {**mixed_artifact.row, **change})

    assert response.status_code == 400
    assert message in response.json()["errors"][f"input_data.{path}"][0]


def test_all_invalid_features_are_named_together(client: APIClient, mixed: ModelVersion) -> None:
    response = predict(client, mixed, {"city": 1, "age": "x", "income": None})

    assert list(response.json()["errors"]) == [
        "input_data.city",
        "input_data.age",
        "input_data.income",
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input_data": {"features": [1]}}, "model_id"),
        ({"model_id": "one", "input_data": {}}, "model_id"),
        ({"model_id": 0, "input_data": {}}, "model_id"),
        ({"model_id": None, "input_data": {}}, "model_id"),
        ({"model_id": 1.5, "input_data": {}}, "model_id"),
        ({"model_id": 1}, "input_data"),
        ({"model_id": 1, "input_data": [1, 2]}, "input_data"),
        ({"model_id": 1, "input_data": None}, "input_data"),
        ({"model_id": 1, "input_data": "x"}, "input_data"),
        ({"model_id": 1, "input_data": {}, "metadata": [1]}, "metadata"),
        ({"model_id": 1, "input_data": {}, "metadata": {"x": "a" * 65_536}}, "metadata"),
        ({"model_id": 1, "input_data": {}, "meta_data": {}}, "meta_data"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_invalid_field_answers_400_and_is_named(
    client: APIClient, body: dict[str, Any], field: str
) -> None:
    response = client.post(URL, body)

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]


# -- models that fail


def test_a_model_that_raises_answers_422_and_is_recorded(
    client: APIClient, mixed: ModelVersion, mixed_artifact: Artifact
) -> None:
    input_data = {**mixed_artifact.row, "city": "Paris"}
    response = predict(client, mixed, input_data, metadata={"a": 1})

    problem, row = response.json(), Prediction.objects.get()
    assert response.status_code == 422
    assert problem["prediction_ids"] == [row.pk]
    assert f"Model {mixed.pk} failed on this input" in problem["detail"]
    assert (row.status, row.prediction, row.confidence, row.output) == ("failed", None, None, None)
    assert "Paris" in row.error
    detail = client.get(f"{URL}{row.pk}/").json()
    assert (detail["status"], detail["error"], detail["user"]) == ("failed", row.error, "ada")
    assert (detail["input_data"], detail["metadata"]) == (input_data, {"a": 1})


# Unlike in a server, a warning would be an exception here and hide the model's answer.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("features", "value"),
    # Infinity minus infinity: the result depends on the processor's fused arithmetic.
    [([1e10, 0.0], "infinity"), ([1e10, 1e10], "(NaN|infinity)"), ([0, 1e10], "infinity")],
)
def test_a_model_that_answers_nan_or_infinity_answers_422_and_is_recorded(
    client: APIClient,
    make_version: MakeVersion,
    overflowing_artifact: Artifact,
    features: list[float],
    value: str,
) -> None:
    steep = make_version("steep", overflowing_artifact)

    response = predict(client, steep, {"features": features})

    row = Prediction.objects.get()
    assert response.status_code == 422
    assert response.json()["prediction_ids"] == [row.pk]
    assert re.fullmatch(f"The model answered {value} for value", row.error)


def test_a_long_error_of_a_library_is_truncated(
    client: APIClient, mixed: ModelVersion, mixed_artifact: Artifact
) -> None:
    response = predict(client, mixed, {**mixed_artifact.row, "city": "Paris" * 2000})

    assert response.status_code == 422
    assert len(Prediction.objects.get().error) <= 2000


@pytest.mark.parametrize("length", ["", "abc", "-5"])
def test_an_invalid_content_length_answers_400(
    client: APIClient, iris: ModelVersion, length: str
) -> None:
    response = client.generic(
        "POST", URL, "{}", content_type="application/json", CONTENT_LENGTH=length
    )

    assert response.status_code == 400


def test_a_body_over_the_limit_answers_413(
    client: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.MAX_REQUEST_BYTES = 50

    assert predict(client, iris, {"features": [5.1, 3.5, 1.4, 0.2]}).status_code == 413
