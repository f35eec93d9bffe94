"""Requests that violate the protocol or do not fit the model, and the examples of the protocol."""

import json
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.open_inference.tests.calls import INFER, ROW, TENSOR, infer, tensor
from registry.models import Alias, ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

# -- the examples in the text of the protocol, here with a model of our own

MATRIX = {"name": "x", "shape": [2, 2], "datatype": "UINT32"}
VALID_EXAMPLES: list[dict[str, Any]] = [
    # In the "natural" format, and flattened.
    {**MATRIX, "data": [[1, 2], [4, 5]]},
    {**MATRIX, "data": [1, 2, 4, 5]},
    {**MATRIX, "data": [1, 2, 3, 4]},
    {**MATRIX, "parameters": {}, "data": [1, 2, 3, 4]},
    {**MATRIX, "parameters": {"a": "text", "b": 1.5, "c": True}, "data": [1, 2, 3, 4]},
]


@pytest.mark.parametrize("example", VALID_EXAMPLES)
@pytest.mark.parametrize("members", [{}, {"id": "42"}, {"outputs": [{"name": "y0"}]}])
def test_valid_examples_of_the_protocol_are_scored(
    client: APIClient,
    make_version: MakeVersion,
    pair_artifact: Artifact,
    example: dict[str, Any],
    members: dict[str, object],
) -> None:
    make_version("pair", pair_artifact)

    response = infer(client, example, path="/v2/models/pair/versions/1/infer", **members)

    assert response.status_code == 200, response.content
    body = response.json()
    assert {"model_name", "outputs"} <= body.keys()
    assert body["id"] == members.get("id", response["X-Request-ID"])
    for output in body["outputs"]:
        assert output.keys() == {"name", "shape", "datatype", "data"}
        assert len(output["data"]) == np.prod(output["shape"])
    values = np.array(example["data"]).reshape(2, 2)
    assert np.allclose(body["outputs"][0]["data"], pair_artifact.model.predict(values)[:, 0])


def test_an_invalid_example_of_the_protocol_is_refused(client: APIClient, champion: Alias) -> None:
    response = client.post(
        INFER,
        {
            "id": "42",
            "inputs": [
                {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]},
                {"name": "input1", "shape": [3], "datatype": "BOOL", "data": [True]},
            ],
            "outputs": [{"name": "output0"}],
        },
    )

    assert response.status_code == 400
    assert response.json() == {"error": "'input1' has 1 values, but its shape [3] holds 3"}


# -- invalid requests


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], 'The body must be a JSON object with "inputs"'),
        ("text", 'The body must be a JSON object with "inputs"'),
        ({}, "inputs must be a list of at least one tensor"),
        ({"inputs": []}, "inputs must be a list of at least one tensor"),
        ({"inputs": {}}, "inputs must be a list of at least one tensor"),
        ({"inputs": [1]}, "inputs[0] must be an object"),
        ({"inputs": [{**TENSOR, "name": ""}]}, "inputs[0].name must be a non-empty string"),
        ({"inputs": [{**TENSOR, "name": 1}]}, "inputs[0].name must be a non-empty string"),
        ({"inputs": [{**TENSOR, "datatype": "BF16"}]}, "datatype must be one of 'BOOL', 'INT8'"),
        ({"inputs": [{**TENSOR, "datatype": ["FP64"]}]}, "datatype must be one of"),
        ({"inputs": [{**TENSOR, "datatype": "fp64"}]}, "datatype must be one of"),
        ({"inputs": [{**TENSOR, "shape": None}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": []}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [1] * 11}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [-1, 4]}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [0, 4]}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [1.0, 4]}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [True, 4]}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [2, 4]}]}, "has 4 values, but its shape [2, 4] holds 8"),
        ({"inputs": [{**TENSOR, "shape": [2**31, 1]}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [2**30, 2**30]}]}, "has 4 values, but its shape"),
        ({"inputs": [{**TENSOR, "data": None}]}, "'features': data must be a list"),
        ({"inputs": [{**TENSOR, "data": 5.1}]}, "'features': data must be a list"),
        ({"inputs": [{**TENSOR, "data": [[1, 2], [3, 4]]}]}, "is not nested to its shape [1, 4]"),
        ({"inputs": [{**TENSOR, "data": [1, 2, [3], 4]}]}, "a value that is not FP64, at index 2"),
        ({"inputs": [{**TENSOR, "data": [1, 2, "3", 4]}]}, "a value that is not FP64, at index 2"),
        ({"inputs": [{**TENSOR, "data": [1, 2, True, 4]}]}, "a value that is not FP64, at index 2"),
        ({"inputs": [{**TENSOR, "data": [1, 2, None, 4]}]}, "rows[0].features[2]: Must not be nu"),
        ({"inputs": [{**TENSOR, "parameters": 1}]}, "'features': parameters must be an object"),
        ({"inputs": [TENSOR, TENSOR]}, "input 'features' appears twice"),
        ({"inputs": [TENSOR], "id": 42}, "id must be a string"),
        ({"inputs": [TENSOR], "outputs": {}}, "outputs must be a list"),
        ({"inputs": [TENSOR], "outputs": [1]}, 'outputs[0] must be an object with a "name"'),
        ({"inputs": [TENSOR], "outputs": [{}]}, 'outputs[0] must be an object with a "name"'),
        (
            {"inputs": [TENSOR], "outputs": [{"name": "none"}]},
            "'none' is not an output of this model",
        ),
        ({"inputs": [TENSOR], "outputs": [{"name": "label"}] * 2}, "'label' is requested twice"),
        (
            {
                "inputs": [TENSOR],
                "outputs": [{"name": "label", "parameters": {"classification": 2}}],
            },
            "outputs[0]: mlapi does not support classification",
        ),
        (
            {"inputs": [{**TENSOR, "data": None, "parameters": {"shared_memory_region": "a"}}]},
            "mlapi does not support shared memory",
        ),
        ({"inputs": [{**TENSOR, "shape": [1, 5], "data": [*ROW, 1]}]}, "Must hold 4 values, not 5"),
        ({"inputs": [{**TENSOR, "shape": [4]}]}, "rows[0].features: Must hold 4 values, not 1."),
        ({"inputs": [{**TENSOR, "shape": [1, 2, 2]}]}, "'features' has the shape [1, 2, 2]"),
        (
            {"inputs": [TENSOR, {**TENSOR, "name": "more"}]},
            "'more' is not an input of this model; the model takes 'features'",
        ),
        (
            {"inputs": [TENSOR, {**TENSOR, "name": "more", "shape": [2, 2]}]},
            "'more' has 2 rows, but 'features' has 1",
        ),
    ],
    ids=lambda value: str(value)[:70],
)
def test_an_invalid_request_answers_400_in_the_form_of_the_protocol(
    client: APIClient, champion: Alias, body: object, message: str
) -> None:
    response = client.post(INFER, body)

    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    assert message in response.json()["error"]
    assert not Prediction.objects.exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b'{"inputs": [NaN]}', "Invalid JSON"),
        (b'{"id": "\\u0000", "inputs": []}', "U+0000"),
        (b'{"id": "a", "inputs": [18446744073709551616]}', "beyond 64 bits"),
        (b"[" * 200 + b"]" * 200, "deeper than 100"),
        (b"\xff", "Invalid JSON"),
    ],
)
def test_invalid_json_answers_400(
    client: APIClient, champion: Alias, body: Any, message: str
) -> None:
    response = client.generic("POST", INFER, body, content_type="application/json")

    assert response.status_code == 400
    assert message in response.json()["error"]


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "application/octet-stream", "text/plain"]
)
def test_any_content_type_is_accepted(
    client: APIClient, champion: Alias, content_type: str
) -> None:
    body = json.dumps({"inputs": [TENSOR]})

    assert client.generic("POST", INFER, body, content_type=content_type).status_code == 200


def test_more_rows_than_the_limit_answer_400(
    client: APIClient, champion: Alias, settings: LazySettings
) -> None:
    settings.MAX_BATCH_ROWS = 2

    response = infer(client, tensor("x", "FP64", [3, 4], ROW * 3))

    assert response.status_code == 400
    assert "has 3 rows; the limit is 2" in response.json()["error"]


def test_an_invalid_value_is_named_by_its_row(client: APIClient, champion: Alias) -> None:
    response = infer(client, tensor("x", "FP64", [2, 4], [*ROW, 1, 2, None, 4]))

    assert response.status_code == 400
    assert response.json()["error"].startswith("rows[1].features[2]: Must not be null")
    assert not Prediction.objects.exists()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["city", "age"], "'income' is missing; the model takes 'city', 'age', 'income'"),
        (["city", "age", "income", "height"], "'height' is not an input of this model"),
    ],
)
def test_missing_and_unknown_columns_are_named(
    client: APIClient, mixed: ModelVersion, columns: list[str], message: str
) -> None:
    tensors = [
        tensor(name, "BYTES" if name == "city" else "FP64", [1], ["a" if name == "city" else 1.0])
        for name in columns
    ]

    response = infer(client, *tensors, path="/v2/models/mixed/versions/1/infer")

    assert response.status_code == 400
    assert message in response.json()["error"]
