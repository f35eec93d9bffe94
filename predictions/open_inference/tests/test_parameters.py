"""The parameters of infer calls, among them references and idempotency keys."""

import json

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from predictions.models import IdempotencyKey, Prediction
from predictions.open_inference.tests.calls import INFER, ROW, infer, tensor
from registry.models import Alias, ModelVersion


def test_parameters_are_recorded_with_the_row(client: APIClient, champion: Alias) -> None:
    infer(
        client,
        parameters={
            "subject": "ada",
            "reference": "order-1",
            "metadata": '{"n": 1e300}',
            "priority": 3,
        },
    )

    row = Prediction.objects.get()
    assert (row.subject, row.reference, row.metadata) == ("ada", "order-1", {"n": 1e300})


def test_references_are_one_per_row(client: APIClient, champion: Alias) -> None:
    infer(
        client,
        tensor("x", "FP64", [2, 4], ROW * 2),
        parameters={"references": '["a", null]', "subject": "ada"},
    )

    rows = Prediction.objects.order_by("pk")
    assert [(row.reference, row.subject) for row in rows] == [("a", "ada"), (None, "ada")]


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("in_header", [True, False])
def test_a_retry_gets_the_same_response_and_no_second_row(
    client: APIClient, champion: Alias, second_version: ModelVersion, n: int, in_header: bool
) -> None:
    body: dict[str, object] = {"id": "1", "inputs": [tensor("x", "FP64", [n, 4], ROW * n)]}
    headers = {"Idempotency-Key": "k"} if in_header else {}
    if not in_header:
        body["parameters"] = {"idempotency_key": "k"}

    first = client.post(INFER, body, headers=headers)
    # The retry gets the response of the first version although another one is champion now.
    Alias.objects.update(version=second_version)
    again = client.post(INFER, body, headers=headers)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert Prediction.objects.count() == n


def test_a_key_of_another_request_is_refused(client: APIClient, champion: Alias) -> None:
    infer(client, parameters={"idempotency_key": "k"})

    response = infer(client, id="other", parameters={"idempotency_key": "k"})

    assert response.status_code == 422
    assert "was used for another request" in response.json()["error"]


def test_a_stored_response_is_only_for_active_users(
    client: APIClient, champion: Alias, user: User
) -> None:
    infer(client, parameters={"idempotency_key": "k"})
    User.objects.filter(pk=user.pk).update(is_active=False)

    assert infer(client, parameters={"idempotency_key": "k"}).status_code == 401
    assert IdempotencyKey.objects.count() == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "the parameters of the request must be an object"),
        ({"subject": 5}, "subject must be text of 1 to 200"),
        ({"subject": " "}, "subject must be text of 1 to 200"),
        ({"reference": "x" * 201}, "reference must be text of 1 to 200"),
        ({"references": ["a"]}, "references must be a string that contains JSON"),
        ({"references": "[1]"}, "references[0] must be text"),
        ({"references": "{}"}, "references must be the JSON text of a list"),
        (
            {"references": '["a", "b"]'},
            "references must have one entry for each of the 1 rows, not 2",
        ),
        ({"reference": "a", "references": '["a"]'}, "reference is only for a single row"),
        ({"metadata": {"a": 1}}, "metadata must be a string that contains JSON"),
        ({"metadata": "[1]"}, "metadata must be the JSON text of an object"),
        ({"metadata": "{"}, "metadata is not valid JSON"),
        ({"metadata": json.dumps({"a": "x" * 65_536})}, "metadata: Must not exceed"),
        ({"idempotency_key": 1}, "idempotency_key must be text"),
        ({"idempotency_key": ""}, "1 to 255 printable ASCII"),
        ({"binary_data_output": "yes"}, "binary_data_output of the request must be true or false"),
    ],
)
def test_an_invalid_parameter_is_named(
    client: APIClient, champion: Alias, parameters: object, message: str
) -> None:
    response = infer(client, parameters=parameters)

    assert response.status_code == 400
    assert message in response.json()["error"]
    assert not Prediction.objects.exists()
