"""POST /api/v1/predictions/batch/: JSON (all or none) and NDJSON (line by line)."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError
from django.test import RequestFactory
from onnx import TensorProto
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.ndjson import LengthRequired, NDJSONParser
from predictions.serving import recorder, services
from predictions.serving.questions import Question
from registry.models import ModelVersion
from registry.services import Upload, register_model
from registry.testing.artifacts import Artifact
from registry.testing.onnx_graphs import doubling_graph

URL = "/api/v1/predictions/batch/"
NDJSON = "application/x-ndjson"


def iris_rows(count: int) -> list[list[float]]:
    return [[4.5 + i % 30 / 10, 3.0, 1.0 + i % 50 / 10, 0.1 + i % 20 / 10] for i in range(count)]


def predict_batch(client: APIClient, version: ModelVersion, inputs: Any, **fields: Any) -> Any:
    return client.post(URL, {"model_id": version.pk, "inputs": inputs, **fields})


def send_lines(
    client: APIClient, version: ModelVersion, lines: list[str], **extra: Any
) -> list[dict[str, Any]]:
    response: Any = client.generic(
        "POST",
        f"{URL}?model_id={version.pk}",
        "\n".join(lines),
        content_type=NDJSON,
        **extra,
    )
    assert response.status_code == 200, response.content
    assert response.headers["Content-Type"] == NDJSON
    return [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]


# -- JSON


def test_a_batch_is_answered_in_the_order_of_its_inputs(
    client: APIClient, iris: ModelVersion, iris_artifact: Artifact
) -> None:
    features = iris_rows(500)

    response = predict_batch(
        client, iris, [{"features": row} for row in features], metadata={"run": 4}
    )

    assert response.status_code == 201
    body = response.json()
    assert [row["output"]["label"] for row in body] == list(iris_artifact.model.predict(features))
    stored = Prediction.objects.in_bulk([row["id"] for row in body])
    assert [stored[row["id"]].input_data for row in body] == [{"features": f} for f in features]
    assert Prediction.objects.count() == 500
    assert stored[body[0]["id"]].metadata == {"run": 4}


def test_an_invalid_row_is_named_and_nothing_is_recorded(
    client: APIClient, iris: ModelVersion
) -> None:
    inputs: list[Any] = [{"features": row} for row in iris_rows(5)]
    inputs[3] = {"features": [5.1, "wide", 1.4, None]}

    response = predict_batch(client, iris, inputs)

    assert response.status_code == 400
    assert set(response.json()["errors"]) == {"inputs[3].features[1]", "inputs[3].features[3]"}
    assert not Prediction.objects.exists()


def test_if_the_model_fails_on_a_row_only_the_failure_is_recorded(
    client: APIClient, make_version: Any, overflowing_artifact: Artifact
) -> None:
    steep = make_version("steep", overflowing_artifact)

    response = predict_batch(client, steep, [{"features": [0.0, 0.0]}, {"features": [1e10, 0.0]}])

    assert response.status_code == 422
    [failed] = Prediction.objects.all()
    assert failed.status == "failed"
    assert response.json()["prediction_ids"] == [failed.pk]
    assert set(response.json()["errors"]) == {"inputs[1]"}


@pytest.mark.parametrize("inputs", [[], {}, None, "many"])
def test_inputs_must_be_a_list_that_is_not_empty(
    client: APIClient, iris: ModelVersion, inputs: Any
) -> None:
    response = predict_batch(client, iris, inputs)

    assert response.status_code == 400
    assert "inputs" in response.json()["errors"]


@pytest.mark.usefixtures("model_path")
def test_rows_of_several_shapes_are_one_batch(client: APIClient, tmp_path: Path) -> None:
    path = doubling_graph(tmp_path / "m.onnx", TensorProto.FLOAT, ["n", "k"])
    register_model(name="wide", upload=Upload([path.read_bytes()]))
    inputs = [{"x": [1]}, {"x": [1, 2]}, {"x": [3]}, {"x": [5, 6]}]

    refused = client.post(URL, {"model": "wide", "inputs": [*inputs, {"x": ["no"]}]})
    response = client.post(URL, {"model": "wide", "inputs": inputs})

    assert refused.status_code == 400
    assert list(refused.json()["errors"]) == ["inputs[4].x[0]"]
    assert [row["output"]["y"] for row in response.json()] == [[2], [2, 4], [6], [10, 12]]
    assert Prediction.objects.count() == 4


def test_more_rows_than_the_limit_are_400(
    client: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.MAX_BATCH_ROWS = 3

    response = predict_batch(client, iris, [{"features": row} for row in iris_rows(4)])

    assert response.status_code == 400
    assert response.json()["errors"]["inputs"] == ["Must be a list of 1 to 3 inputs."]


def test_a_batch_for_an_inactive_version_is_404(client: APIClient, iris: ModelVersion) -> None:
    predict_batch(client, iris, [{"features": row} for row in iris_rows(2)])
    iris.update(is_active=False)

    # The version is still in this process's cache, but the recording statement refuses it.
    response = predict_batch(client, iris, [{"features": row} for row in iris_rows(2)])

    assert response.status_code == 404
    assert Prediction.objects.count() == 2


def test_a_batch_without_a_token_is_401(client: APIClient, iris: ModelVersion) -> None:
    client.credentials()

    assert predict_batch(client, iris, [{"features": [1, 2, 3, 4]}]).status_code == 401


def test_a_failing_batch_for_an_inactive_version_is_404(
    client: APIClient, make_version: Any, overflowing_artifact: Artifact
) -> None:
    steep = make_version("steep", overflowing_artifact)
    predict_batch(client, steep, [{"features": [0.0, 0.0]}])
    steep.update(is_active=False)

    assert predict_batch(client, steep, [{"features": [1e10, 0.0]}]).status_code == 404
    assert Prediction.objects.count() == 1


def test_metadata_that_becomes_too_large_over_all_rows_is_400(
    client: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.MAX_REQUEST_BYTES = 10_000
    rows = [{"features": row} for row in iris_rows(100)]

    response = predict_batch(client, iris, rows, metadata={"note": "x" * 200})

    assert response.status_code == 400
    assert "metadata" in response.json()["errors"]
    assert not Prediction.objects.exists()


# -- NDJSON


def test_every_line_is_answered_and_followed_by_a_summary(
    client: APIClient, iris: ModelVersion, iris_artifact: Artifact
) -> None:
    rows = iris_rows(2500)

    *results, last_line = send_lines(client, iris, [json.dumps({"features": row}) for row in rows])

    assert [result["line"] for result in results] == list(range(1, 2501))
    labels = [result["output"]["label"] for result in results]
    assert labels == list(iris_artifact.model.predict(rows))
    stored = Prediction.objects.in_bulk([result["id"] for result in results])
    assert [stored[r["id"]].input_data["features"] for r in results] == rows
    counts = {"lines": 2500, "succeeded": 2500, "failed": 0, "rejected": 0}
    assert last_line == {"summary": {**counts, "complete": True}}


def test_an_invalid_line_is_answered_in_its_place(client: APIClient, iris: ModelVersion) -> None:
    valid = '{"features": [5.1, 3.5, 1.4, 0.2]}'
    lines = [valid, "{not json", '{"features": [1, 2]}', "[18446744073709551617]", valid, ""]

    *results, last_line = send_lines(client, iris, lines)

    assert [sorted(result) for result in results[1:4]] == [
        ["error", "line"],
        ["errors", "line"],
        ["error", "line"],
    ]
    assert results[2]["errors"] == {"features": ["Must hold 4 values, not 2."]}
    assert results[0]["status"] == results[4]["status"] == "succeeded"
    counts = {"lines": 5, "succeeded": 2, "failed": 0, "rejected": 3}
    assert last_line["summary"] == {**counts, "complete": True}
    assert Prediction.objects.count() == 2


def test_a_line_on_which_the_model_fails_is_recorded_and_answered_in_its_place(
    client: APIClient, make_version: Any, overflowing_artifact: Artifact
) -> None:
    steep = make_version("steep", overflowing_artifact)

    first, second, last_line = send_lines(
        client, steep, ['{"features": [1e10, 0.0]}', '{"features": [0.0, 0.0]}']
    )

    assert (first["status"], second["status"]) == ("failed", "succeeded")
    assert Prediction.objects.get(pk=first["id"]).error == first["error"]
    assert last_line["summary"]["failed"] == 1


def test_a_line_longer_than_a_request_may_be_is_rejected(
    client: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.MAX_REQUEST_BYTES = 100
    lines = ['{"features": [5.1, 3.5, 1.4, 0.2]}', " " * 99 + '{"features": [5.1, 3.5, 1.4, 0.2]}']

    results = send_lines(client, iris, lines)

    assert results[0]["status"] == "succeeded"
    assert results[1] == {"line": 2, "error": "Is longer than 100 bytes."}
    assert results[-1]["summary"]["lines"] == 2


def test_if_the_database_is_lost_the_summary_comes_early_and_says_so(
    client: APIClient, iris: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = recorder.record
    calls = []

    def fail_on_second_call(rows: Any) -> Any:
        calls.append(rows)
        if len(calls) == 2:
            raise OperationalError("gone")
        return record(rows)

    monkeypatch.setattr(recorder, "record", fail_on_second_call)
    lines = ['{"features": [5.1, 3.5, 1.4, 0.2]}'] * 1500

    *results, last_line = send_lines(client, iris, lines)

    assert len(results) == 1000
    assert last_line["summary"]["complete"] is False
    assert "unavailable" in last_line["summary"]["error"]


def test_a_body_over_the_limit_is_413(
    client: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.MAX_NDJSON_BYTES = 10

    response = client.generic("POST", f"{URL}?model_id={iris.pk}", "x" * 11, content_type=NDJSON)

    assert response.status_code == 413
    assert "10" in response.json()["detail"]


@pytest.mark.parametrize(("length", "status"), [("", 411), ("0", 400)])
def test_a_missing_body_is_rejected(
    client: APIClient, iris: ModelVersion, length: str, status: int
) -> None:
    response = client.generic(
        "POST", f"{URL}?model_id={iris.pk}", "", content_type=NDJSON, CONTENT_LENGTH=length
    )

    assert response.status_code == status


def test_chunks_of_long_lines_have_fewer_lines(
    client: APIClient, iris: ModelVersion, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAX_REQUEST_BYTES = 100
    sizes = []

    predict_each = services.predict_each

    def record_size(question: Question, inputs: Any) -> Any:
        sizes.append(len(inputs))
        return predict_each(question, inputs)

    monkeypatch.setattr(services, "predict_each", record_size)
    send_lines(client, iris, ['{"features": [5.1, 3.5, 1.4, 0.2]}'] * 10)

    assert sizes == [3, 3, 3, 1]


def test_a_body_without_a_length_is_411() -> None:
    request = RequestFactory().post(URL, b"{}", content_type=NDJSON)
    del request.META["CONTENT_LENGTH"]

    with pytest.raises(LengthRequired) as raised:
        NDJSONParser().parse(BytesIO(b"{}"), NDJSON, {"request": request})
    assert raised.value.status_code == 411


@pytest.mark.parametrize("query", ["", "?model_id=", "?model_id=x", "?model_id=1&rows=2"])
def test_a_query_that_is_not_exactly_a_version_is_400(client: APIClient, query: str) -> None:
    response = client.generic("POST", URL + query, "{}", content_type=NDJSON)

    assert response.status_code == 400


def test_an_unknown_version_is_404_before_anything_is_streamed(client: APIClient) -> None:
    response = client.generic("POST", f"{URL}?model_id=987654", "{}", content_type=NDJSON)

    assert response.status_code == 404
