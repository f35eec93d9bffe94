"""Callers whose deadline comes before DB_STATEMENT_TIMEOUT while the database does not answer."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, close_old_connections, connection, connections
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from mlapi.configuration.postgresql.bounded import BoundedConnection
from predictions.models import Prediction
from predictions.testing.fake_models import ROW, VALUE, MakeFake, all_faces
from predictions.testing.fake_models import fake_version as fake_version
from registry.database import statements
from registry.locks.separate_connections import separate_connection
from registry.testing.databases import postgresql

# Longer than a test may take.
STATEMENT_SECONDS = 300.0
TEST_SECONDS = 60
URL = "/api/v1/predictions/"

pytestmark = [postgresql, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(BoundedConnection, "statement_seconds", STATEMENT_SECONDS)
    monkeypatch.setattr(statements, "LEAST_SECONDS", 0.3)
    yield
    connection.close()


class ReconnectingClient(APIClient):
    """Closes broken connections after each request, as a server does and Django's client not."""

    def request(self, **kwargs: Any) -> Any:
        try:
            return super().request(**kwargs)
        finally:
            close_old_connections()


@pytest.fixture
def client(user: User) -> ReconnectingClient:
    client = ReconnectingClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    return client


@contextmanager
def locked_log() -> Iterator[None]:
    """A table of predictions that answers no INSERT, as if the server had stopped."""
    with separate_connection(connection) as other, other.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {Prediction._meta.db_table} IN EXCLUSIVE MODE")
        yield


def values(n_rows: int) -> dict[str, Any]:
    return {"value": np.ones(n_rows)}


@pytest.mark.parametrize("batching", ["joined", "single"])
def test_every_face_answers_soon_after_the_deadline(
    client: APIClient, fake_version: MakeFake, batching: str
) -> None:
    version = fake_version([VALUE], values, batching=batching)
    client.defaults["HTTP_X_REQUEST_TIMEOUT_MS"] = "500"

    started = time.monotonic()
    with locked_log():
        responses = all_faces(client, version, 2)
        stream = responses.pop("ndjson")
        end = b"".join(stream.streaming_content).splitlines()[-1]
        stream.close()

    assert time.monotonic() - started < TEST_SECONDS
    assert {name: r.status_code for name, r in responses.items()} == dict.fromkeys(responses, 503)
    assert b'"complete":false' in end
    assert not Prediction.objects.exists()


def test_a_late_caller_does_not_wait_to_have_its_failure_recorded(
    client: APIClient, fake_version: MakeFake
) -> None:
    is_called, is_released = threading.Event(), threading.Event()

    def hang(n_rows: int) -> dict[str, Any]:
        is_called.set()
        assert is_released.wait(TEST_SECONDS)
        return values(n_rows)

    version = fake_version([VALUE], hang, batching="joined")
    body = {"model_id": version.pk, "input_data": {"features": ROW}}

    def post(**headers: str) -> int:
        try:
            return int(client.post(URL, body, headers=headers).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(post)
        assert is_called.wait(TEST_SECONDS)
        with locked_log():
            late = pool.submit(post, **{"X-Request-Timeout-Ms": "300"}).result(TEST_SECONDS)
        is_released.set()

        assert (late, leader.result(TEST_SECONDS)) == (503, 201)


def test_a_deadline_never_extends_the_time_of_a_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "statement_seconds", 0.2)

    with (
        statements.limited_by(time.monotonic() + TEST_SECONDS),
        pytest.raises(OperationalError, match=r"within 0\.(2|1\d*) s"),
    ):
        statements.fetch("SELECT pg_sleep(30)", [])
    assert statements.seconds_left(1.0) is None


def test_statements_have_their_time_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "statement_seconds", 1.0)
    connection.ensure_connection()

    with statements.limited_by(time.monotonic() + TEST_SECONDS):
        # Each takes less than the limit.
        statements.fetch("SELECT pg_sleep(0.7)", [])
        with pytest.raises(OperationalError, match="did not answer"):
            statements.fetch("SELECT pg_sleep(0.7)", [])
