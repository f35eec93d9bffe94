"""POST /api/v1/predictions/: the answers of models, and who gets them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.test import APIClient

from predictions.models import Prediction
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client

URL = "/api/v1/predictions/"
FIELDS = [
    *("id", "model_id", "model_name", "model_version"),
    *("prediction", "confidence", "output", "metadata"),
    *("status", "flags", "latency_ms", "request_id", "created_at"),
    *("reference", "subject", "alias", "arm", "primary_id"),
]

MakeVersion = Callable[..., ModelVersion]


def predict(client: APIClient, version: ModelVersion, row: Any, **fields: Any) -> Any:
    return client.post(URL, {"model_id": version.pk, "input_data": row, **fields})


def as_table(rows: list[dict[str, Any]]) -> Any:
    import pyarrow

    return pyarrow.table({name: [row[name] for row in rows] for name in rows[0]})


# -- answers


def test_a_classifier_answers_with_a_class_and_probabilities(
    client: APIClient, iris: ModelVersion, iris_artifact: Artifact
) -> None:
    response = predict(client, iris, {"features": [6.0, 2.9, 4.5, 1.5]}, metadata={"batch": 7})

    body, row = response.json(), Prediction.objects.get()
    [expected] = iris_artifact.model.predict_proba([[6.0, 2.9, 4.5, 1.5]])
    assert response.status_code == 201
    assert sorted(body) == sorted(FIELDS)
    assert body["id"] == row.pk
    assert (body["model_id"], body["model_name"], body["model_version"]) == (iris.pk, "iris", "1")
    assert body["prediction"] == 1.0
    assert body["output"]["label"] == "versicolor"
    assert list(body["output"]["probabilities"]) == ["setosa", "versicolor", "virginica"]
    assert list(body["output"]["probabilities"].values()) == pytest.approx(expected, abs=1e-9)
    assert body["confidence"] == pytest.approx(max(expected), abs=1e-9)
    assert body["metadata"] == {"batch": 7}
    assert body["status"] == "succeeded"
    assert body["latency_ms"] > 0
    assert body["created_at"] == row.created_at.isoformat().replace("+00:00", "Z")


def test_a_regressor_answers_with_a_number_and_no_confidence(
    client: APIClient, diabetes: ModelVersion, diabetes_artifact: Artifact
) -> None:
    body = predict(client, diabetes, diabetes_artifact.row).json()

    [expected] = diabetes_artifact.model.predict([diabetes_artifact.row["features"]])
    assert body["prediction"] == pytest.approx(expected, rel=1e-12)
    assert (body["confidence"], body["output"]) == (None, None)


def test_named_features_may_come_in_any_order(
    client: APIClient, diabetes: ModelVersion, diabetes_artifact: Artifact
) -> None:
    [tensor] = diabetes_artifact.proof.signature["inputs"]
    by_name = dict(zip(tensor["features"], diabetes_artifact.row["features"], strict=True))

    by_position = predict(client, diabetes, diabetes_artifact.row).json()
    reversed_names = predict(client, diabetes, dict(reversed(by_name.items()))).json()

    assert reversed_names["prediction"] == by_position["prediction"]


def test_several_outputs_are_answered_by_name(
    client: APIClient, make_version: MakeVersion, pair_artifact: Artifact
) -> None:
    body = predict(client, make_version("pair", pair_artifact), {"features": [1.5, 2]}).json()

    [expected] = pair_artifact.model.predict([[1.5, 2]])
    assert (body["prediction"], body["confidence"]) == (None, None)
    assert list(body["output"]) == ["y0", "y1"]
    assert list(body["output"].values()) == pytest.approx(expected)


@pytest.mark.parametrize(
    "row",
    [
        {"city": "Rome", "age": 33, "income": 2.5},
        {"features": ["Rome", 33, 2.5]},
        {"income": 2.5, "city": "Rome", "age": 33.0},
    ],
)
def test_text_and_numbers_may_be_given_by_name_or_by_position(
    client: APIClient, mixed: ModelVersion, mixed_artifact: Artifact, row: Any
) -> None:
    body = predict(client, mixed, row).json()

    table = as_table([{"city": "Rome", "age": 33.0, "income": 2.5}])
    [expected] = mixed_artifact.model.predict_proba(table)
    assert body["output"]["label"] == "yes"
    assert list(body["output"]["probabilities"].values()) == pytest.approx(expected)


def test_null_is_a_missing_value_if_the_feature_is_nullable(
    client: APIClient, mixed: ModelVersion, mixed_artifact: Artifact
) -> None:
    body = predict(client, mixed, {"city": "Oslo", "age": None, "income": 2.5}).json()

    table = as_table([{"city": "Oslo", "age": np.nan, "income": 2.5}])
    [expected] = mixed_artifact.model.predict_proba(table)
    assert list(body["output"]["probabilities"].values()) == pytest.approx(expected)
    assert Prediction.objects.get().input_data["age"] is None


def test_answers_equal_those_of_the_library_for_many_rows(
    client: APIClient, iris: ModelVersion, iris_artifact: Artifact
) -> None:
    rows = np.random.default_rng(0).uniform(0, 8, (25, 4))

    answers = [predict(client, iris, {"features": row}).json() for row in rows.tolist()]

    assert [answer["output"]["label"] for answer in answers] == list(
        iris_artifact.model.predict(rows)
    )
    probabilities = [list(answer["output"]["probabilities"].values()) for answer in answers]
    assert np.allclose(probabilities, iris_artifact.model.predict_proba(rows), atol=1e-9)


# -- callers


def test_a_prediction_records_its_caller_and_the_artifact(
    client: APIClient, iris: ModelVersion
) -> None:
    row = {"features": [5.1, 3.5, 1.4, 0.2]}
    created = client.post(
        URL, {"model_id": iris.pk, "input_data": row}, headers={"X-Request-ID": "order-17"}
    )

    detail = client.get(f"{URL}{created.json()['id']}/").json()

    assert created.json()["request_id"] == "order-17" == created["X-Request-ID"]
    assert detail == {
        **created.json(),
        "input_data": row,
        "error": "",
        "outcome": None,
        "user": "ada",
        "sha256": iris.sha256,
    }


def test_metadata_may_be_omitted_or_null(client: APIClient, iris: ModelVersion) -> None:
    row = {"features": [5.1, 3.5, 1.4, 0.2]}

    assert predict(client, iris, row).json()["metadata"] is None
    assert predict(client, iris, row, metadata=None).json()["metadata"] is None
    assert predict(client, iris, row, metadata={}).json()["metadata"] == {}


def test_a_prediction_without_a_token_is_401(iris: ModelVersion) -> None:
    response = predict(api_client(), iris, {"features": [5.1, 3.5, 1.4, 0.2]})

    assert response.status_code == 401
    assert Prediction.objects.count() == 0


@pytest.mark.parametrize("is_loaded", [False, True])
def test_the_token_of_a_deactivated_user_is_rejected(
    client: APIClient, user: User, iris: ModelVersion, is_loaded: bool
) -> None:
    row = {"features": [5.1, 3.5, 1.4, 0.2]}
    if is_loaded:
        predict(client, iris, row)
    User.objects.update(is_active=False)
    n_before = Prediction.objects.count()

    assert predict(client, iris, row).status_code == 401
    assert Prediction.objects.count() == n_before


def test_the_token_of_a_deleted_user_is_rejected(
    client: APIClient, user: User, iris: ModelVersion
) -> None:
    user.delete()

    assert predict(client, iris, {"features": [5.1, 3.5, 1.4, 0.2]}).status_code == 401
    assert Prediction.objects.count() == 0


def test_a_token_issued_before_the_password_changed_is_rejected(
    client: APIClient, user: User, iris: ModelVersion
) -> None:
    user.set_password("another one than before")
    user.save()

    assert predict(client, iris, {"features": [5.1, 3.5, 1.4, 0.2]}).status_code == 401
    assert Prediction.objects.count() == 0


# -- the route


def test_the_trailing_slash_is_optional(client: APIClient, iris: ModelVersion) -> None:
    response = client.post(
        URL.rstrip("/"), {"model_id": iris.pk, "input_data": {"features": [5.1, 3.5, 1.4, 0.2]}}
    )

    assert response.status_code == 201


def test_a_prediction_of_a_loaded_model_costs_one_statement(
    client: APIClient, iris: ModelVersion, django_assert_max_num_queries: Any
) -> None:
    row = {"features": [5.1, 3.5, 1.4, 0.2]}
    predict(client, iris, row)

    # On SQLite a savepoint surrounds it, inside the transaction of this test. On PostgreSQL the
    # recorder uses psycopg's cursor, whose statements Django does not count.
    with django_assert_max_num_queries(3) as captured:
        predict(client, iris, row)

    statements = [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]
    assert len(statements) == (0 if connection.vendor == "postgresql" else 1)


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_a_prediction_cannot_be_changed(client: APIClient, iris: ModelVersion, method: str) -> None:
    pk = predict(client, iris, {"features": [5.1, 3.5, 1.4, 0.2]}).json()["id"]

    assert getattr(client, method)(f"{URL}{pk}/").status_code == 405
    assert Prediction.objects.count() == 1


@pytest.mark.parametrize("pk", [999, 10**19 - 1])
def test_an_unknown_prediction_is_404(client: APIClient, pk: int) -> None:
    response = client.get(f"{URL}{pk}/")

    assert response.status_code == 404
    assert response.json()["detail"] == f"Prediction {pk} not found"
