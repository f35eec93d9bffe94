"""A database that refuses writes is 503 on every route, writes nothing by halves, and is used again
as soon as it accepts them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, close_old_connections, connection
from django.test import RequestFactory
from rest_framework.test import APIClient

from mlapi import wsgi
from mlapi.configuration import refusals
from mlapi.databases.tests import faults
from mlapi.databases.tests.faults import NDJSON, PREDICTIONS, WRITES, Fault, Requests
from predictions.models import IdempotencyKey, Outcome, Prediction, Replay
from registry.models import AliasMove, ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.clients import PASSWORD, api_client
from registry.testing.databases import postgresql
from registry.testing.folders import files_below

FAULTS: list[Fault] = (
    [faults.read_only, faults.role_without_insert]
    if connection.vendor == "postgresql"
    else [faults.read_only]
)
JSON = "application/json"
MODELS = [ModelVersion, AliasMove, Prediction, IdempotencyKey, Outcome, Replay]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def new_connections(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(refusals, "_no_room_at", None)
    if connection.vendor == "postgresql":
        monkeypatch.setattr("mlapi.configuration.postgresql.base.DRAIN_PAUSE_SECONDS", 0.0)
    yield
    faults.reconnect()


@pytest.fixture
def root(transactional_db: None) -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


@pytest.fixture
def api(root: User) -> APIClient:
    client = api_client(root)
    client.raise_request_exception = False
    return client


@pytest.fixture
def writes(iris: ModelVersion, iris_artifact: Artifact) -> Requests:
    row = Prediction.objects.create(model=iris, input_data=iris_artifact.row)
    return Requests(iris, iris_artifact, row)


def row_counts() -> list[int]:
    return [model._default_manager.count() for model in MODELS]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_refused_write_is_503_and_works_later(
    api: APIClient, writes: Requests, model_path: Path, fault: Fault
) -> None:
    before = row_counts(), files_below(model_path)

    with fault():
        refused = {name: request(writes, name, api) for name in WRITES}
        during = row_counts(), files_below(model_path)
    # At most one more request meets a connection that was opened before the end of the fault.
    request(writes, "change", api)
    later = {name: request(writes, name, api).status_code for name in WRITES}

    assert {name: response.status_code for name, response in refused.items()} == dict.fromkeys(
        WRITES, 503
    )
    assert {response["Retry-After"] for response in refused.values()} == {"1"}
    assert during == before
    assert [name for name, status in later.items() if status >= 500] == []


def request(writes: Requests, name: str, api: APIClient) -> Any:
    response = getattr(writes, name)(api)
    close_old_connections()  # as at the end of each request, except in Django's test client
    return response


def large_batch(api: APIClient, writes: Requests) -> Any:
    body = {
        "model_id": writes.iris.pk,
        "inputs": [writes.row] * 50,
        "metadata": {"text": "x" * 5000},
    }
    return api.post(f"{PREDICTIONS}batch/", body)


def readiness(api: APIClient) -> tuple[int, str]:
    response: Any = api.get("/health/ready/")
    return response.status_code, response.json()["database"]


def test_a_full_database_is_503_until_there_is_room(api: APIClient, writes: Requests) -> None:
    with faults.no_more_room():
        refused = large_batch(api, writes)
        count = Prediction.objects.count()
    faults.reconnect()

    assert refused.status_code == 503
    assert refused.json()["detail"] == "The database has no room left. Try again later."
    assert count == 1
    assert large_batch(api, writes).status_code == 201


def test_a_process_is_not_ready_between_a_full_disk_and_its_next_write(
    api: APIClient, writes: Requests
) -> None:
    before = readiness(api)
    with faults.no_more_room():
        large_batch(api, writes)
        during = readiness(api)
    faults.reconnect()
    large_batch(api, writes)

    assert (before, during, readiness(api)) == ((200, "ok"), (503, "full"), (200, "ok"))


def test_a_process_without_requests_is_ready_again_after_a_while(
    api: APIClient, writes: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faults.no_more_room():
        large_batch(api, writes)
    faults.reconnect()
    refused = readiness(api)
    monkeypatch.setattr(refusals, "NO_ROOM_SECONDS", 0.0)

    assert (refused, readiness(api)) == ((503, "full"), (200, "ok"))


@postgresql
@pytest.mark.parametrize("source", ["dsm_impl.c", "buffile.c"])
def test_a_query_without_room_to_work_in_does_not_count(source: str, api: APIClient) -> None:
    class QueryWithoutRoom(psycopg.errors.DiskFull):
        diag: Any = SimpleNamespace(source_file=source)

    with pytest.raises(OperationalError), connection.wrap_database_errors:
        raise QueryWithoutRoom

    assert readiness(api) == (200, "ok")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_fast_lane_answers_like_django(api: APIClient, writes: Requests, fault: Fault) -> None:
    token = api._credentials["HTTP_AUTHORIZATION"]  # type: ignore[attr-defined]
    body = {"model_id": writes.iris.pk, "input_data": dict(writes.row)}
    environ = RequestFactory(HTTP_AUTHORIZATION=token).post(PREDICTIONS, body, JSON).environ
    started: list[tuple[str, list[tuple[str, str]]]] = []

    with fault():
        chunks = wsgi.application(environ, lambda *arguments: started.append(arguments))
        content = b"".join(chunks)

    [(status, headers)] = started
    assert status == "503 Service Unavailable"
    assert dict(headers)["Retry-After"] == "1"
    assert json.loads(content)["detail"].startswith("The database ")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_stream_ends_with_a_summary_that_says_so(
    api: APIClient, writes: Requests, fault: Fault
) -> None:
    url = f"{PREDICTIONS}batch/?model_id={writes.iris.pk}"
    lines = (json.dumps(dict(writes.row)) + "\n") * 3

    with fault():
        response: Any = api.generic("POST", url, lines, content_type=NDJSON)
        results = [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]

    assert results[-1]["summary"]["complete"] is False
    assert "database" in results[-1]["summary"]["error"]


def test_the_message_tells_what_the_database_refuses(api: APIClient, writes: Requests) -> None:
    with faults.read_only():
        detail = writes.predict(api).json()["detail"]

    assert detail == "The database accepts no changes at the moment. Try again later."
