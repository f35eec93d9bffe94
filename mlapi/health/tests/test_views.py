from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, connections
from rest_framework.test import APIClient

from mlapi import metrics
from mlapi.databases.probes import probe_connection
from mlapi.health import database
from registry.loading import loader
from registry.models import ModelVersion
from registry.testing.clients import api_client, permit
from registry.testing.databases import pool_limits, postgresql

READY = "/health/ready/"


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that refuses every connection."""

    def refuse(*args: Any) -> None:
        raise OperationalError("connection refused at 10.0.0.1")

    monkeypatch.setattr(type(connections["default"]), "connect", refuse)


def test_live_touches_no_database(client: APIClient) -> None:
    assert client.get("/health/live").status_code == 200


@pytest.mark.django_db
def test_ready_with_a_migrated_database(client: APIClient) -> None:
    response = client.get(READY)

    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "database": "ok",
        "migrations": "applied",
        "partitions": "ok",
        "artifacts": "ok",
        "disk": "ok",
        "models": "ok",
    }


@pytest.mark.django_db
def test_not_ready_while_migrations_are_missing(
    client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = {("registry", "9999_later")}
    monkeypatch.setattr(database, "_migrations_on_disk", lambda: (later, later))

    response = client.get(READY)

    assert response.status_code == 503
    assert response.json()["migrations"] == "pending"
    assert response["Retry-After"]


@pytest.mark.django_db
def test_not_ready_while_an_earlier_migration_is_missing(
    client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest, known = database._migrations_on_disk()
    known = known | {("registry", "0002_forgotten")}
    monkeypatch.setattr(database, "_migrations_on_disk", lambda: (latest, known))

    response = client.get(READY)

    assert response.status_code == 503
    assert response.json()["migrations"] == "inconsistent"


@pytest.mark.django_db
def test_not_ready_while_the_database_is_unavailable(client: APIClient, unreachable: None) -> None:
    response = client.get(READY)

    assert response.status_code == 503
    assert response.json()["database"] == "unavailable"
    assert b"10.0.0.1" not in response.content


@pytest.mark.django_db
def test_health_shows_version_and_loaded_models(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(loader, "loaded_specifiers", lambda: ["iris:1"])

    response = client.get("/health/")

    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "version": settings.VERSION,
        "database": "ok",
        "migrations": "applied",
        "partitions": "ok",
        "artifacts": "ok",
        "disk": "ok",
        "models": "ok",
        "loaded_models": ["iris:1"],
    }


@pytest.mark.django_db
def test_not_ready_without_room_on_the_disk(client: APIClient, settings: Any) -> None:
    settings.MIN_FREE_DISK_BYTES = 2**62

    response = client.get(READY)

    assert response.status_code == 503
    assert response.json()["disk"].startswith("full: MODEL_PATH, TMPDIR")


@pytest.mark.django_db
def test_not_ready_while_live_versions_are_loaded(
    client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlapi.health.monitor.unloaded_live_versions", lambda: ["iris:1"])

    response = client.get(READY)

    assert response.status_code == 503
    assert response.json()["models"] == "loading"


@pytest.mark.django_db
def test_not_ready_while_the_artifacts_are_gone(
    client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = ModelVersion(pk=1, name="iris", version="1", artifact="iris/1/gone.onnx", size_bytes=1)
    monkeypatch.setattr(database, "_live_versions", lambda connection: [gone])

    response = client.get(READY)

    assert response.status_code == 503
    assert response.json()["artifacts"] == "unavailable"


def test_probes_accept_no_other_methods(client: APIClient) -> None:
    response = client.post("/health/live/")

    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"


@pytest.fixture
def small_pool(transactional_db: None) -> Iterator[None]:
    """At most two connections, and a short timeout."""
    with pool_limits(2, timeout_seconds=0.2):
        yield


def take_connections(stack: ExitStack, count: int) -> None:
    for _ in range(count):
        copy = connections["default"].copy()
        stack.callback(copy.close)
        copy.ensure_connection()


@postgresql
def test_probe_does_not_wait_for_an_exhausted_pool(client: APIClient, small_pool: None) -> None:
    with ExitStack() as stack:
        take_connections(stack, 2)

        assert client.get(READY).status_code == 200


@postgresql
def test_exhausted_pool_answers_503_and_recovers(authorized_pool_client: APIClient) -> None:
    connection.close()
    with ExitStack() as stack:
        take_connections(stack, 2)
        exhausted = authorized_pool_client.get("/api/v1/models/")

    recovered = authorized_pool_client.get("/api/v1/models/")

    assert exhausted.status_code == 503
    assert exhausted["Retry-After"] == "1"
    assert recovered.status_code == 200


@pytest.fixture
def authorized_pool_client(small_pool: None, authorized: APIClient) -> APIClient:
    return authorized


@postgresql
def test_dead_connections_in_the_pool_are_replaced(small_pool: None) -> None:
    with ExitStack() as stack:
        take_connections(stack, 2)
    with probe_connection() as other, other.cursor() as cursor:
        # In a transaction, pg_stat_activity would not change.
        cursor.execute("ROLLBACK")
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone()[0] >= 1
        # Termination takes a moment. Once the backends are gone, their sockets are closed.
        while True:
            cursor.execute("ROLLBACK")
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            if cursor.fetchone() == (0,):
                break

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")

        assert cursor.fetchone() == (1,)


@postgresql
def test_pool_metrics_are_published(small_pool: None) -> None:
    connection.ensure_connection()

    metrics.observe_pool()

    assert metrics.POOL_SIZE._value.get() >= 1


def test_metrics_require_a_token(client: APIClient) -> None:
    response = client.get("/metrics")

    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer ", "Basic scraper", "scraper", "Bearer é"]
)
def test_metrics_reject_other_tokens(client: APIClient, settings: Any, header: str) -> None:
    settings.METRICS_TOKEN = "scraper"

    assert client.get("/metrics", HTTP_AUTHORIZATION=header).status_code == 401


def test_unset_metrics_token_matches_no_token(client: APIClient) -> None:
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer ").status_code == 401


def test_metrics_accept_the_metrics_token(client: APIClient, settings: Any) -> None:
    settings.METRICS_TOKEN = "scraper"

    response = client.get("/metrics", HTTP_AUTHORIZATION="Bearer scraper")

    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain")


def test_metrics_accept_the_token_of_a_user_who_may_read_every_log(user: User) -> None:
    assert api_client(user).get("/metrics/").status_code == 403

    assert api_client(permit(user, "view_prediction")).get("/metrics/").status_code == 200


@pytest.mark.parametrize(
    ("url", "route", "status"),
    [
        ("/health/live", "/health/live/", "200"),
        ("/api/v1/models/12", "/api/v1/models/{pk}/", "401"),
        ("/api/v1/models/12/predictions/", "/api/v1/models/{pk}/predictions/", "401"),
        ("/a/b", "unmatched", "404"),
    ],
)
def test_requests_are_counted_by_route(
    client: APIClient, url: str, route: str, status: str
) -> None:
    counter = metrics.REQUESTS.labels(route, "GET", status)
    before = counter._value.get()

    client.get(url)

    assert counter._value.get() == before + 1


def test_unknown_methods_share_one_label(client: APIClient) -> None:
    counter = metrics.REQUESTS.labels("/health/live/", "other", "405")
    before = counter._value.get()

    client.generic("BREW", "/health/live/")

    assert counter._value.get() == before + 1
