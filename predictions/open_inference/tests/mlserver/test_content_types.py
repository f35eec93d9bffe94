"""Content types of MLServer say what the values of an input are: honoured, or refused by name."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.open_inference.tests.calls import INFER, ROW, infer, tensor
from registry.models import Alias, ModelVersion

MIXED = "/v2/models/mixed:1/infer"


def typed(content_type: object, given: dict[str, object]) -> dict[str, object]:
    return {**given, "parameters": {"content_type": content_type}}


def table(
    city: dict[str, object], ages: Sequence[object] = (20.5, 31.0)
) -> tuple[dict[str, object], ...]:
    return (
        city,
        tensor("age", "FP64", [2, 1], ages),
        typed("np", tensor("income", "FP64", [2], [1.5, 2.5])),
    )


def encoded(*texts: str) -> list[str]:
    return [base64.b64encode(text.encode()).decode() for text in texts]


def ask(client: APIClient, *inputs: dict[str, object], **members: object) -> Any:
    return infer(client, *inputs, path=MIXED, **members)


def answered_like_plain_texts(client: APIClient, response: Any) -> bool:
    """Whether the rows are recorded and answered as those of Oslo and Rome are."""
    assert response.status_code == 200, response.content
    plain = ask(client, *table(tensor("city", "BYTES", [2], ["Oslo", "Rome"])))
    given, expected = (
        Prediction.objects.order_by("pk")[start : start + 2].values_list("input_data", "output")
        for start in (0, 2)
    )
    return bool(
        list(given) == list(expected) and response.json()["outputs"] == plain.json()["outputs"]
    )


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("str", ["Oslo", "Rome"]),
        ("np", ["Oslo", "Rome"]),
        (None, ["Oslo", "Rome"]),
        ("base64", encoded("Oslo", "Rome")),
        ("pd_json", ['"Oslo"', '"Rome"']),
    ],
)
def test_a_content_type_is_decoded(
    client: APIClient, mixed: ModelVersion, content_type: str | None, data: list[str]
) -> None:
    response = ask(client, *table(typed(content_type, tensor("city", "BYTES", [2, 1], data))))

    assert answered_like_plain_texts(client, response)


def test_a_content_type_of_binary_data_is_decoded(client: APIClient, mixed: ModelVersion) -> None:
    raw = b"".join(
        len(text).to_bytes(4, "little") + text.encode() for text in encoded("Oslo", "Rome")
    )
    city = {"name": "city", "datatype": "BYTES", "shape": [2]}
    parameters = {"binary_data_size": len(raw), "content_type": "base64"}
    head = json.dumps({"inputs": list(table({**city, "parameters": parameters}))}).encode()

    body: Any = head + raw
    response: Any = client.generic(
        "POST",
        MIXED,
        body,
        "application/octet-stream",
        HTTP_INFERENCE_HEADER_CONTENT_LENGTH=str(len(head)),
    )

    assert answered_like_plain_texts(client, response)


def test_columns_of_pandas_json_hold_values_of_any_type(
    client: APIClient, mixed: ModelVersion
) -> None:
    """MLServer's pandas codec writes a column of numbers with gaps like this."""
    ages = typed("pd_json", tensor("age", "BYTES", [2], ["20.5", "null"]))
    city, _, income = table(typed("pd_json", tensor("city", "BYTES", [2], ['"Oslo"', '"Rome"'])))

    response = ask(client, city, ages, income, parameters={"content_type": "pd"})

    assert response.status_code == 200, response.content
    assert [row.input_data["age"] for row in Prediction.objects.order_by("pk")] == [20.5, None]


# -- the content type of a request


def test_pd_makes_each_input_a_column(client: APIClient, mixed: ModelVersion) -> None:
    inputs = table(tensor("city", "BYTES", [2], ["Oslo", "Rome"]))

    response = ask(client, *reversed(inputs), parameters={"content_type": "pd"})

    assert answered_like_plain_texts(client, response)


def test_pd_gives_columns_by_position_to_a_model_without_names(
    client: APIClient, champion: Alias
) -> None:
    columns = [tensor(name, "FP64", [1], [value]) for name, value in zip("abcd", ROW, strict=True)]

    response = infer(client, *columns, parameters={"content_type": "pd"})

    assert response.status_code == 200, response.content
    assert Prediction.objects.get().input_data == {"features": ROW}


@pytest.mark.parametrize("content_type", ["np", None])
def test_np_takes_the_request_as_one_tensor(
    client: APIClient, champion: Alias, content_type: str | None
) -> None:
    assert infer(client, parameters={"content_type": content_type}).status_code == 200


@pytest.mark.parametrize(
    ("inputs", "content_type", "message"),
    [
        ([tensor("x", "FP64", [1, 4], ROW)], "pd", "each input is one column"),
        ([tensor("x", "FP64", [1, 4], ROW)], "str", "'str' is for BYTES, not FP64"),
        ([tensor("x", "FP64", [1, 4], ROW)], "base64", "'base64' is not supported there, only"),
        ([tensor("x", "FP64", [1, 4], ROW)], "hf", "'hf' is not supported; use np, str, pd or"),
        ([tensor("x", "FP64", [1, 4], ROW)], 5, "the content_type 5 is not supported"),
        (
            [tensor(name, "FP64", [1], [1.0]) for name in "abcd"],
            "np",
            "'np' of the request is for a single input, not 4; use pd for columns",
        ),
        (
            [tensor(name, "FP64", [1], [1.0]) for name in "abc"],
            "pd",
            "rows[0].features: Must hold 4 values, not 3",
        ),
    ],
)
def test_a_content_type_that_a_request_cannot_have_is_refused(
    client: APIClient,
    champion: Alias,
    inputs: list[dict[str, object]],
    content_type: object,
    message: str,
) -> None:
    response = infer(client, *inputs, parameters={"content_type": content_type})

    assert response.status_code == 400
    assert message in response.json()["error"]
    assert not Prediction.objects.exists()


def test_a_sequence_is_refused(client: APIClient, champion: Alias) -> None:
    response = infer(client, parameters={"sequence_id": 7, "sequence_start": True})

    assert response.status_code == 400
    assert "does not support sequence_id" in response.json()["error"]
    assert infer(client, parameters={"sequence_id": 0}).status_code == 200


# -- the content type of an input


@pytest.mark.parametrize(
    ("content_type", "datatype", "data", "message"),
    [
        ("base64", "BYTES", ["Oslo!"], "holds a text that is not base64"),
        ("base64", "BYTES", ["Köln"], "holds a text that is not base64"),
        ("base64", "BYTES", [base64.b64encode(b"\xff\xfe").decode()], "not text in UTF-8"),
        ("base64", "BYTES", [base64.b64encode(b"a\0b").decode()], "not base64"),
        ("base64", "INT64", [1], "'base64' is for BYTES, not INT64"),
        ("str", "FP64", [1.5], "'str' is for BYTES, not FP64"),
        ("pd_json", "BYTES", ["Oslo"], "holds a text that is not JSON"),
        ("pd_json", "BYTES", ['{"a": 1}'], "holds the JSON of an object"),
        ("pd_json", "BYTES", ["[1]"], "holds the JSON of a list"),
        ("pd_json", "BYTES", ["NaN"], "holds a text that is not JSON"),
        ("datetime", "BYTES", ["2026-01-01"], "'datetime' is not supported, since a model has no"),
        ("pd", "BYTES", ["Oslo"], "'pd' is not supported there, only for a whole request"),
        ("pillow_image", "BYTES", ["Oslo"], "use np, str, base64, pd_json or leave it out"),
        (["str"], "BYTES", ["Oslo"], "the content_type ['str'] is not supported"),
    ],
)
def test_a_content_type_that_an_input_cannot_have_is_refused(
    client: APIClient,
    mixed: ModelVersion,
    content_type: object,
    datatype: str,
    data: list[object],
    message: str,
) -> None:
    city = typed(content_type, tensor("city", datatype, [1], data))

    response = ask(client, city)

    assert response.status_code == 400
    assert message in response.json()["error"]
    assert "'city'" in response.json()["error"]
    assert not Prediction.objects.exists()


def test_a_repeated_request_is_answered_in_its_content_type(
    client: APIClient, champion: Alias
) -> None:
    body = {
        "inputs": [tensor("x", "FP64", [1, 4], ROW)],
        "parameters": {"idempotency_key": "k", "content_type": "np"},
        "outputs": [{"name": "predict", "parameters": {"content_type": "base64"}}],
    }

    first, again = client.post(INFER, body), client.post(INFER, body)

    assert first.status_code == 200
    assert again.json()["outputs"] == first.json()["outputs"]
    assert first.json()["outputs"][0]["data"] == encoded("setosa")
