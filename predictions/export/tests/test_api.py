"""GET /api/v1/exports/predictions/."""

import json
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from pyarrow import parquet
from rest_framework.test import APIClient

from predictions.export import reading, streaming
from predictions.testing.rows import (
    REGRESSOR_SIGNATURE,
    create_predictions,
    make_version,
    wait_until_followable,
)
from registry.access import audit
from registry.models import AuditEvent, Grant, ModelVersion, RegisteredModel
from registry.testing.clients import api_client

URL = "/api/v1/exports/predictions/"

# Only committed rows are exported.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def version(transactional_db: None) -> ModelVersion:
    return make_version(REGRESSOR_SIGNATURE)


@pytest.fixture
def reader(version: ModelVersion) -> APIClient:
    """Somebody who may read the log of the model."""
    user = User.objects.create_user("auditor")
    model = RegisteredModel.objects.get(name=version.name)
    Grant.objects.create(registered_model=model, user=user, read_log=True)
    return api_client(user)


def ask(client: APIClient, query: dict[str, Any]) -> Any:
    wait_until_followable()
    return client.get(URL, query)


def content(response: Any) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)


def lines(response: Any) -> list[Any]:
    return [json.loads(line) for line in content(response).splitlines()]


def test_parquet_is_streamed_with_typed_columns(reader: APIClient, version: ModelVersion) -> None:
    create_predictions(version, [0.5, 1.5])

    response: Any = ask(reader, {"format": "parquet"})

    table = parquet.read_table(BytesIO(content(response)))
    assert table["input.x"].to_pylist() == [0.0, 1.0]
    assert table["prediction"].to_pylist() == [0.5, 1.5]
    assert response["Content-Type"] == "application/vnd.apache.parquet"
    assert response["Content-Disposition"] == 'attachment; filename="predictions.parquet"'


@pytest.mark.parametrize("format", ["csv", "ndjson"])
def test_text_formats_are_streamed(reader: APIClient, version: ModelVersion, format: str) -> None:
    create_predictions(version, [0.5, 1.5])

    text = content(ask(reader, {"format": format})).decode()

    assert len(text.splitlines()) == {"csv": 3, "ndjson": 2}[format]


def test_a_caller_without_the_right_gets_their_own_predictions(version: ModelVersion) -> None:
    user = User.objects.create_user("ada2")
    create_predictions(version, [0.5])
    [own] = create_predictions(version, [1.5], user=user)

    rows = lines(ask(api_client(user), {"format": "ndjson"}))

    assert [row["id"] for row in rows] == [own.pk]


def test_without_a_token_there_is_no_export(db: None) -> None:
    assert api_client().get(URL, {"format": "csv"}).status_code == 401


def test_filters_apply_and_an_export_goes_on_where_another_ended(
    reader: APIClient, version: ModelVersion
) -> None:
    create_predictions(version, [0.5], reference="a")
    query = {"format": "ndjson", "reference": "a"}
    first: Any = ask(reader, query)
    assert len(lines(first)) == 1
    create_predictions(version, [1.5, 2.5], reference="a")
    create_predictions(version, [3.5], reference="b")

    second = ask(reader, {**query, "from_position": first["Export-Position"]})

    assert [row["prediction"] for row in lines(second)] == [1.5, 2.5]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "format"),
        ({"format": "xml"}, "format"),
        ({"format": "csv", "inputs": "odd"}, "inputs"),
        ({"format": "csv", "model_id": "x"}, "model_id"),
        ({"format": "csv", "odd": "1"}, "odd"),
        ({"format": "csv", "from_position": "-1"}, "from_position"),
    ],
)
def test_an_invalid_parameter_is_named(
    reader: APIClient, query: dict[str, str], field: str
) -> None:
    response = ask(reader, query)

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]


def test_an_export_is_audited_without_personal_values(
    reader: APIClient, version: ModelVersion
) -> None:
    content(ask(reader, {"format": "csv", "reference": "secret", "status": "failed"}))

    event = AuditEvent.objects.get(action="exported")
    assert event.user is not None
    assert event.user.get_username() == "auditor"
    assert event.details == {
        "format": "csv",
        "filters": {
            "reference_fingerprint": audit.fingerprint("secret"),
            "status": "failed",
        },
    }


def test_too_many_exports_at_once_are_refused(
    reader: APIClient, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    responses: list[Any] = [ask(reader, {"format": "csv"}) for _ in range(streaming.MAX_STREAMS)]

    refused = ask(reader, {"format": "csv"})

    assert (refused.status_code, refused["Retry-After"]) == (503, "10")
    # Whether they were read or not.
    for response in responses:
        response.close()
    content(ask(reader, {"format": "csv"}))


def test_a_stream_that_fails_breaks_off(
    reader: APIClient, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_predictions(version, [0.5, 1.5])
    monkeypatch.setattr(reading, "CHUNK_ROWS", 1)
    fetch = reading._fetch
    calls = iter(range(10))

    def fail_later(rows: Any) -> Any:
        if next(calls):
            raise RuntimeError("gone")
        return fetch(rows)

    monkeypatch.setattr(reading, "_fetch", fail_later)
    response: Any = ask(reader, {"format": "csv"})
    with pytest.raises(RuntimeError, match="gone"):
        b"".join(response.streaming_content)
    monkeypatch.undo()
    for _ in range(streaming.MAX_STREAMS + 1):
        content(ask(reader, {"format": "csv"}))


def test_large_inputs_are_read_in_smaller_chunks(
    reader: APIClient, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        create_predictions(version, [number], input_data={"text": "x" * 1000})
    monkeypatch.setattr(reading, "CHUNK_BYTES", 2500)
    sizes: list[int] = []
    fetch = reading._fetch

    def measure(rows: Any) -> Any:
        result = fetch(rows)
        sizes.append(len(result[0]))
        return result

    monkeypatch.setattr(reading, "_fetch", measure)

    rows = lines(ask(reader, {"format": "ndjson"}))

    assert [row["prediction"] for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    assert max(sizes) == 3
