"""After an erasure, a search of the whole database and of the metrics finds only the stub."""

import json
import time
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.test import APIClient

from predictions.models import IdempotencyKey, Outcome, Prediction, ReplayResult
from predictions.retention.pseudonyms import pseudonym_of
from predictions.serving import shadows
from predictions.testing.replays import run_replay
from registry.models import Alias, AliasShadow, ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client
from registry.testing.versions import MakeVersion

pytestmark = pytest.mark.django_db(transaction=True)

PREDICTIONS = "/api/v1/predictions/"
SUBJECT = "customer-8341"
# What was sent about the subject, and where it is recorded. Numbers that nothing else has.
TRACES = {
    "subject": SUBJECT,
    "reference": "order-77213",
    "idempotency key": "attempt-90127",
    "request id": "trace-55190",
    "metadata": "Zwiebelgasse",
    "input": "5.190283",
    "input of a batch": "4.872911",
    "outcome": "2031-05-06",
}


@pytest.fixture
def challenger(make_version: MakeVersion, iris_artifact: Artifact) -> ModelVersion:
    return make_version("iris", iris_artifact, version="2")


@pytest.fixture
def alias(iris: ModelVersion, challenger: ModelVersion) -> Iterator[Alias]:
    alias = Alias.objects.create(name="iris", alias="champion", version=iris)
    AliasShadow.objects.create(alias=alias, version=challenger)
    yield alias
    wait_for_shadows()


@pytest.fixture
def officer(transactional_db: None) -> APIClient:
    return api_client(User.objects.create_superuser("officer"))


def wait_for_shadows() -> None:
    deadline = time.monotonic() + 20
    while shadows.backlog._busy:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def leave_traces(client: APIClient, iris: ModelVersion, challenger: ModelVersion) -> None:
    """Have everything recorded about the subject that can be."""
    answered = client.post(
        PREDICTIONS,
        {
            "model": "iris",
            "input_data": {"features": [5.190283, 3.5, 1.4, 0.2]},
            "subject": SUBJECT,
            "reference": TRACES["reference"],
            "metadata": {"street": "Zwiebelgasse"},
        },
        headers={
            "Idempotency-Key": TRACES["idempotency key"],
            "X-Request-ID": TRACES["request id"],
        },
    )
    assert answered.status_code == 201, answered.content
    batch = {
        "model": "iris",
        "inputs": [{"features": [4.872911, 3.5, 1.4, 0.2]}] * 2,
        "subject": SUBJECT,
    }
    assert client.post(f"{PREDICTIONS}batch/", batch).status_code == 201
    outcome = {
        "reference": TRACES["reference"],
        "label": "setosa",
        "observed_at": "2031-05-06T07:08:09Z",
    }
    reported = client.post("/api/v1/outcomes/", {"outcomes": [outcome]})
    assert reported.status_code in (200, 201), reported.content
    wait_for_shadows()
    run_replay(iris, challenger)
    # Looked at as well, which may be recorded.
    assert client.get(PREDICTIONS, {"reference": TRACES["reference"]}).status_code == 200


def search(text: str) -> list[str]:
    """The tables in which a row contains the text, in whatever column."""
    found = []
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            columns = connection.introspection.get_table_description(cursor, table)
            tested = " OR ".join(
                f"CAST({quote(column.name)} AS text) LIKE %s" for column in columns
            )
            cursor.execute(
                f"SELECT count(*) FROM {quote(table)} WHERE {tested}",  # noqa: S608
                [f"%{text}%"] * len(columns),
            )
            if cursor.fetchone()[0]:
                found.append(table)
    return found


def test_nothing_is_found_but_the_stub(
    officer: APIClient, alias: Alias, iris: ModelVersion, challenger: ModelVersion
) -> None:
    others = {"model": "iris", "input_data": {"features": [5.0, 3.5, 1.4, 0.2]}, "subject": "x"}
    kept = officer.post(PREDICTIONS, others).json()["id"]
    leave_traces(officer, iris, challenger)
    tables = {name: search(trace) for name, trace in TRACES.items()}
    # Otherwise the test would search for nothing.
    assert all(tables.values()), tables
    assert {ReplayResult._meta.db_table, IdempotencyKey._meta.db_table} <= set(
        connection.introspection.table_names()
    )
    assert Prediction.objects.filter(arm="shadow", subject=SUBJECT).count() == 3
    assert ReplayResult.objects.filter(original__subject=SUBJECT).count() == 3

    response = officer.post("/api/v1/erasures/", {"subject": SUBJECT, "reason": "request of 3 May"})

    assert response.status_code == 201, response.content
    assert response.json()["counts"] == {
        "predictions": 6,
        "outcomes": 1,
        "replay_results": 3,
        "replay_reports": 1,
        "idempotency_keys": 1,
        "legal_holds": 0,
    }
    assert [found for trace in TRACES.values() for found in search(trace)] == []
    assert search(pseudonym_of(SUBJECT)) == ["erasures"]
    metrics = officer.get("/metrics").content.decode()
    assert "predictions_total" in metrics
    assert [trace for trace in TRACES.values() if trace in metrics] == []
    # The rest of the log is whole.
    assert Prediction.objects.filter(primary=None).get().pk == kept
    assert not Outcome.objects.exists()
    assert "8341" not in json.dumps(response.json())
