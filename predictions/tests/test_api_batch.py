"""POST /api/v1/predictions/batch/: JSON, all or none, and NDJSON, line by line."""

import json
from io import BytesIO
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError
from django.test import RequestFactory
from rest_framework.exceptions import ParseError
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.ndjson import LengthRequired, NDJSONParser
from predictions.serving import recorder, services
from predictions.serving.questions import Question
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact

URL = "/api/v1/predictions/batch/"
NDJSON = "application/x-ndjson"


def rows_of_iris(count: int) -> list[list[float]]:
    return [[4.5 + i % 30 / 10, 3.0, 1.0 + i % 50 / 10, 0.1 + i % 20 / 10] for i in range(count)]


def ask(client: APIClient, version: ModelVersion, inputs: Any, **beside: Any) -> Any:
    return client.post(URL, {"model_id": version.pk, "inputs": inputs, **beside})


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


def test_a_batch_answers_in_the_order_of_its_inputs(
    client: APIClient, iris: ModelVersion, iris_artifact: Artifact
) -> None:
    rows = rows_of_iris(500)

    response = ask(client, iris, [{"features": row} for row in rows], metadata={"run": 4})

    assert response.status_code == 201
    body = response.json()
    assert [answer["output"]["label"] for answer in body] == list(iris_artifact.model.predict(rows))
    stored = Prediction.objects.in_bulk([answer["id"] for answer in body])
    assert [stored[answer["id"]].input_data for answer in body] == [{"features": r} for r in rows]
    assert Prediction.objects.count() == 500
    assert stored[body[0]["id"]].metadata == {"run": 4}


def test_a_bad_row_is_named_and_nothing_is_recorded(client: APIClient, iris: ModelVersion) -> None:
    inputs: list[Any] = [{"features": row} for row in rows_of_iris(5)]
    inputs[3] = {"features": [5.1, "wide", 1.4, None]}

    response = ask(client, iris, inputs)

    assert response.status_code == 400
    assert set(response.json()["errors"]) == {"inputs[3].features[1]", "inputs[3].features[3]"}
    assert not Prediction.objects.exists()


def test_a_row_the_model_fails_on_leaves_its_failure_alone(
    client: APIClient, make_version: Any, overflowing_artifact: Artifact
) -> None:
    steep = make_version("steep", overflowing_artifact)

    response = ask(client, steep, [{"features": [0.0, 0.0]}, {"features": [1e10, 0.0]}])

    assert response.status_code == 422
    [failed] = Prediction.objects.all()
    assert failed.status == "failed"
    assert response.json()["prediction_ids"] == [failed.pk]
    assert set(response.json()["errors"]) == {"inputs[1]"}


@pytest.mark.parametrize("inputs", [[], {}, None, "many"])
def test_inputs_must_be_a_list_of_some(client: APIClient, iris: ModelVersion, inputs: Any) -> None:
    response = ask(client, iris, inputs)

    assert response.status_code == 400
    assert "inputs" in response.json()["errors"]


def test_more_rows_than_the_limit_are_refused(
    client: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.MAX_BATCH_ROWS = 3

    response = ask(client, iris, [{"features": row} for row in rows_of_iris(4)])

    assert response.status_code == 400
    assert response.json()["errors"]["inputs"] == ["Must be a list of 1 to 3 inputs."]


def test_a_batch_for_an_inactive_version_is_404(client: APIClient, iris: ModelVersion) -> None:
    ask(client, iris, [{"features": row} for row in rows_of_iris(2)])
    iris.update(is_active=False)

    # The version is still in this process's memory: the recording statement refuses it.
    response = ask(client, iris, [{"features": row} for row in rows_of_iris(2)])

    assert response.status_code == 404
    assert Prediction.objects.count() == 2


def test_a_batch_needs_a_token(client: APIClient, iris: ModelVersion) -> None:
    client.credentials()

    assert ask(client, iris, [{"features": [1, 2, 3, 4]}]).status_code == 401


def test_a_failing_batch_for_an_inactive_version_is_404(
    client: APIClient, make_version: Any, overflowing_artifact: Artifact
) -> None:
    steep = make_version("steep", overflowing_artifact)
    ask(client, steep, [{"features": [0.0, 0.0]}])
    steep.update(is_active=False)

    assert ask(client, steep, [{"features": [1e10, 0.0]}]).status_code == 404
    assert Prediction.objects.count() == 1


def test_metadata_that_would_fill_the_log_is_refused(
    client: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.MAX_REQUEST_BYTES = 10_000
    rows = [{"features": row} for row in rows_of_iris(100)]

    response = ask(client, iris, rows, metadata={"note": "x" * 200})

    assert response.status_code == 400
    assert "metadata" in response.json()["errors"]
    assert not Prediction.objects.exists()


# -- NDJSON


def test_every_line_is_answered_and_the_last_one_sums_up(
    client: APIClient, iris: ModelVersion, iris_artifact: Artifact
) -> None:
    rows = rows_of_iris(2500)

    *results, last = send_lines(client, iris, [json.dumps({"features": row}) for row in rows])

    assert [result["line"] for result in results] == list(range(1, 2501))
    labels = [result["output"]["label"] for result in results]
    assert labels == list(iris_artifact.model.predict(rows))
    stored = Prediction.objects.in_bulk([result["id"] for result in results])
    assert [stored[r["id"]].input_data["features"] for r in results] == rows
    counts = {"lines": 2500, "succeeded": 2500, "failed": 0, "rejected": 0}
    assert last == {"summary": {**counts, "complete": True}}


def test_a_bad_line_is_answered_in_its_place(client: APIClient, iris: ModelVersion) -> None:
    good = '{"features": [5.1, 3.5, 1.4, 0.2]}'
    lines = [good, "{not json", '{"features": [1, 2]}', "[18446744073709551617]", good, ""]

    *results, last = send_lines(client, iris, lines)

    assert [sorted(result) for result in results[1:4]] == [
        ["error", "line"],
        ["errors", "line"],
        ["error", "line"],
    ]
    assert results[2]["errors"] == {"features": ["Must hold 4 values, not 2."]}
    assert results[0]["status"] == results[4]["status"] == "succeeded"
    counts = {"lines": 5, "succeeded": 2, "failed": 0, "rejected": 3}
    assert last["summary"] == {**counts, "complete": True}
    assert Prediction.objects.count() == 2


def test_a_line_the_model_fails_on_is_recorded_and_answered_in_its_place(
    client: APIClient, make_version: Any, overflowing_artifact: Artifact
) -> None:
    steep = make_version("steep", overflowing_artifact)

    first, second, last = send_lines(
        client, steep, ['{"features": [1e10, 0.0]}', '{"features": [0.0, 0.0]}']
    )

    assert (first["status"], second["status"]) == ("failed", "succeeded")
    assert Prediction.objects.get(pk=first["id"]).error == first["error"]
    assert last["summary"]["failed"] == 1


def test_a_line_as_long_as_no_request_is_rejected(
    client: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.MAX_REQUEST_BYTES = 100
    lines = ['{"features": [5.1, 3.5, 1.4, 0.2]}', " " * 99 + '{"features": [5.1, 3.5, 1.4, 0.2]}']

    results = send_lines(client, iris, lines)

    assert results[0]["status"] == "succeeded"
    assert results[1] == {"line": 2, "error": "Is longer than 100 bytes."}
    assert results[-1]["summary"]["lines"] == 2


def test_a_lost_database_ends_the_answer_with_a_summary_that_says_so(
    client: APIClient, iris: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = recorder.record
    calls = []

    def lose_the_second(rows: Any) -> Any:
        calls.append(rows)
        if len(calls) == 2:
            raise OperationalError("gone")
        return record(rows)

    monkeypatch.setattr(recorder, "record", lose_the_second)
    lines = ['{"features": [5.1, 3.5, 1.4, 0.2]}'] * 1500

    *results, last = send_lines(client, iris, lines)

    assert len(results) == 1000
    assert last["summary"]["complete"] is False
    assert "unavailable" in last["summary"]["error"]


def test_a_body_over_the_limit_is_413(
    client: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.MAX_NDJSON_BYTES = 10

    response = client.generic("POST", f"{URL}?model_id={iris.pk}", "x" * 11, content_type=NDJSON)

    assert response.status_code == 413
    assert "10" in response.json()["detail"]


@pytest.mark.parametrize(("length", "status"), [("", 411), ("0", 400)])
def test_an_absent_body_is_refused(
    client: APIClient, iris: ModelVersion, length: str, status: int
) -> None:
    response = client.generic(
        "POST", f"{URL}?model_id={iris.pk}", "", content_type=NDJSON, CONTENT_LENGTH=length
    )

    assert response.status_code == status


def test_chunks_end_where_their_lines_are_long(
    client: APIClient, iris: ModelVersion, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAX_REQUEST_BYTES = 100
    sizes = []

    predict_each = services.predict_each

    def note(question: Question, inputs: Any) -> Any:
        sizes.append(len(inputs))
        return predict_each(question, inputs)

    monkeypatch.setattr(services, "predict_each", note)
    send_lines(client, iris, ['{"features": [5.1, 3.5, 1.4, 0.2]}'] * 10)

    assert sizes == [3, 3, 3, 1]


def test_a_body_without_length_is_411() -> None:
    request = RequestFactory().post(URL, b"{}", content_type=NDJSON)
    del request.META["CONTENT_LENGTH"]

    with pytest.raises(LengthRequired) as raised:
        NDJSONParser().parse(BytesIO(b"{}"), NDJSON, {"request": request})
    assert raised.value.status_code == 411


def test_a_body_that_ends_early_is_400(client: APIClient, iris: ModelVersion) -> None:
    request = RequestFactory().post(URL, b"{}" * 10, content_type=NDJSON)

    with pytest.raises(ParseError):
        NDJSONParser().parse(BytesIO(b"{}"), NDJSON, {"request": request})


@pytest.mark.parametrize("query", ["", "?model_id=", "?model_id=x", "?model_id=1&rows=2"])
def test_the_query_names_the_version_and_nothing_else(client: APIClient, query: str) -> None:
    response = client.generic("POST", URL + query, "{}", content_type=NDJSON)

    assert response.status_code == 400


def test_an_unknown_version_is_404_before_anything_is_streamed(client: APIClient) -> None:
    response = client.generic("POST", f"{URL}?model_id=987654", "{}", content_type=NDJSON)

    assert response.status_code == 404
