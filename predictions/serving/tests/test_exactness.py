"""A request is either stored exactly, so that it reads back unchanged, or rejected."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from predictions.models import Prediction
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact

URL = "/api/v1/predictions/"

texts = st.text(st.characters(codec=None), max_size=8)  # lone surrogates and NUL too
numbers = st.one_of(
    st.integers(),
    st.integers(min_value=-(2**66), max_value=2**66),
    st.floats(),
    st.sampled_from([1e17, 1e20, 1e300, -0.0, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 5e-324]),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda values: st.one_of(
        st.lists(values, max_size=4), st.dictionaries(texts, values, max_size=4)
    ),
    max_leaves=8,
)
with_database = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def exact(value: object) -> str:
    """A text that distinguishes 1 from 1.0 and from true, and 0.0 from -0.0."""
    return json.dumps(value, sort_keys=True)


def post_raw(client: APIClient, document: object) -> Any:
    return client.post(URL, data=json.dumps(document), content_type="application/json")


def assert_stored_or_rejected(client: APIClient, document: dict[str, Any]) -> None:
    before = Prediction.objects.count()

    response = post_raw(client, document)

    if response.status_code == 400:
        assert Prediction.objects.count() == before
        return
    # A model may fail on extreme numbers; the failure is recorded too.
    body = json.loads(response.content)
    pk = body["id"] if response.status_code == 201 else body["prediction_ids"][0]
    stored = json.loads(client.get(f"{URL}{pk}/").content)
    assert exact(stored["input_data"]) == exact(document["input_data"])
    assert exact(stored["metadata"]) == exact(document.get("metadata"))
    assert client.get(f"{URL}?limit=1").status_code == 200


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(features=st.lists(numbers, min_size=4, max_size=4))
@with_database
def test_features_are_read_back_exactly_or_rejected(
    client: APIClient, iris: ModelVersion, features: list[Any]
) -> None:
    assert_stored_or_rejected(client, {"model_id": iris.pk, "input_data": {"features": features}})


@given(metadata=st.one_of(json_values, st.dictionaries(texts, json_values, max_size=4)))
@with_database
def test_metadata_is_read_back_exactly_or_rejected(
    client: APIClient, iris: ModelVersion, metadata: Any
) -> None:
    document = {"model_id": iris.pk, "input_data": {"features": [1, 2, 3, 4]}}

    assert_stored_or_rejected(client, {**document, "metadata": metadata})


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(city=texts, age=st.one_of(numbers, st.none()), income=json_values)
@with_database
def test_mixed_inputs_are_read_back_exactly_or_rejected(
    client: APIClient, mixed: ModelVersion, city: str, age: Any, income: Any
) -> None:
    row = {"city": city, "age": age, "income": income}

    assert_stored_or_rejected(client, {"model_id": mixed.pk, "input_data": row})


@pytest.mark.parametrize(
    "value",
    ["1e20", "1e300", "-0.0", "0", "1e17", "18446744073709551615", "9007199254740993", "5e-324"],
)
def test_a_number_in_the_input_is_stored_unchanged(
    client: APIClient,
    make_version: Callable[..., ModelVersion],
    pair_artifact: Artifact,
    value: str,
) -> None:
    pair = make_version("pair", pair_artifact)
    sent = json.loads(value)

    response = post_raw(
        client,
        {"model_id": pair.pk, "input_data": {"features": [sent, 1]}, "metadata": {"x": sent}},
    )

    assert response.status_code == 201, response.content
    stored = json.loads(client.get(f"{URL}{response.json()['id']}/").content)
    assert exact(stored["input_data"]["features"][0]) == exact(sent)
    assert exact(stored["metadata"]["x"]) == exact(sent)


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "-Infinity",
        "1e400",
        "18446744073709551616",
        "18446744073709551617",
        "-9223372036854775809",
        '"\\u0000"',
        '"\\ud800"',
        "[" * 100 + "]" * 100,
        "[" * 5000 + "]" * 5000,
        "1" * 5000,
    ],
    ids=lambda value: value[:30],
)
@pytest.mark.parametrize("place", ["input_data", "metadata"])
def test_a_value_that_cannot_be_stored_exactly_answers_400(
    client: APIClient, iris: ModelVersion, place: str, value: str
) -> None:
    parts = {"input_data": "1", "metadata": "1", place: value}
    body = (
        f'{{"model_id": {iris.pk}, "input_data": {{"features": [{parts["input_data"]}, 2, 3, 4]}},'
        f' "metadata": {{"x": {parts["metadata"]}}}}}'
    )

    response = client.post(URL, data=body, content_type="application/json")

    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert Prediction.objects.count() == 0


def test_metadata_of_the_maximum_depth_is_read_back(client: APIClient, iris: ModelVersion) -> None:
    nested: Any = "innermost"
    for _ in range(98):
        nested = [nested]
    document = {"model_id": iris.pk, "input_data": {"features": [1, 2, 3, 4]}}

    response = post_raw(client, {**document, "metadata": {"x": nested}})

    assert response.status_code == 201
    assert client.get(f"{URL}{response.json()['id']}/").json()["metadata"]["x"] == nested
