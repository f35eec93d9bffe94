"""/api/v1/alerts/: reading and acknowledging alerts."""

import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.utils import timezone
from rest_framework.test import APIClient

from predictions.evaluation.monitoring.alerts.changes import AlertEnded, acknowledge
from predictions.models import Alert
from predictions.testing.monitors import make_alert
from predictions.testing.rows import REGRESSOR_SIGNATURE, make_version
from registry.models import (
    AuditEvent,
    Grant,
    ModelVersion,
    RegisteredModel,
    Webhook,
    WebhookDelivery,
)
from registry.testing.clients import api_client

URL = "/api/v1/alerts/"


@pytest.fixture
def version(db: None) -> ModelVersion:
    return make_version(REGRESSOR_SIGNATURE)


@pytest.fixture
def api(user: User, version: ModelVersion) -> APIClient:
    model = RegisteredModel.objects.get(name=version.name)
    Grant.objects.create(registered_model=model, user=user, manage_versions=True, read_log=True)
    return api_client(user)


def test_alerts_are_listed_by_filters_and_paged(
    api: APIClient, version: ModelVersion, django_assert_max_num_queries: Any
) -> None:
    alerts = [make_alert(version, variable=f"input:x{i}") for i in range(3)]
    Alert.objects.filter(pk=alerts[0].pk).update(severity="severe", closed_at=timezone.now())

    with django_assert_max_num_queries(6):
        first = api.get(URL, {"limit": "2"})
    rest = api.get(first["Link"].split(">")[0].strip("<"))

    assert [row["id"] for row in first.json() + rest.json()] == [row.pk for row in alerts[::-1]]
    for query, expected in (
        ({"open": "true"}, alerts[:0:-1]),
        ({"open": "false"}, alerts[:1]),
        ({"severity": "severe"}, alerts[:1]),
        ({"model": "m", "model_id": str(version.pk)}, alerts[::-1]),
        ({"model": "other"}, []),
        ({"monitor_id": str(alerts[0].monitor_id + 1)}, []),
    ):
        assert [row["id"] for row in api.get(URL, query).json()] == [row.pk for row in expected]
    for name, value in (("severity", "bad"), ("open", "maybe"), ("model_id", "0"), ("is", "1")):
        response = api.get(URL, {name: value})
        assert (response.status_code, list(response.json()["errors"])) == (400, [name])


def test_an_alert_has_its_newest_finding(api: APIClient, version: ModelVersion) -> None:
    alert = make_alert(version)

    body = api.get(f"{URL}{alert.pk}/").json()

    assert body["finding"] == alert.finding
    assert (body["model"], body["version"], body["monitor"]) == ("m", "1", "daily")
    assert (body["acknowledged_at"], body["acknowledged_by"], body["closed_at"]) == (None,) * 3
    assert api.get(f"{URL}{alert.pk + 1}/").status_code == 404


def test_an_alert_is_acknowledged_once(api: APIClient, user: User, version: ModelVersion) -> None:
    Webhook.objects.create(name="chat", url="https://hooks.example.com/")
    alert = make_alert(version)

    response = api.post(f"{URL}{alert.pk}/acknowledge/")
    again = api.post(f"{URL}{alert.pk}/acknowledge/")

    assert (response.status_code, again.status_code) == (200, 409)
    assert response.json()["acknowledged_by"] == "ada"
    assert "acknowledged already" in again.json()["detail"]
    assert Alert.objects.open().get().acknowledged_by == user
    event = AuditEvent.objects.get(action="alert_acknowledged")
    assert (event.user, event.model, event.details["alert"]) == (user, "m", alert.pk)
    delivery = WebhookDelivery.objects.get()
    assert (delivery.event, delivery.model) == ("alert.acknowledged", "m")
    assert delivery.payload["data"]["alert_id"] == alert.pk
    assert delivery.payload["data"]["value"] == alert.finding["value"]
    assert "reason" not in delivery.payload["data"]
    assert delivery.payload["data"]["user_id"] == user.pk


def test_a_closed_alert_cannot_be_acknowledged(api: APIClient, version: ModelVersion) -> None:
    alert = make_alert(version, closed_at=timezone.now())

    response = api.post(f"{URL}{alert.pk}/acknowledge/")

    assert (response.status_code, response.json()["detail"]) == (409, f"Alert {alert.pk} is closed")


@pytest.mark.django_db(transaction=True)
def test_of_two_people_at_the_same_time_one_acknowledges(version: ModelVersion) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    alert = make_alert(version)
    start, results = threading.Barrier(2), []

    def run() -> None:
        mine = Alert.objects.find(alert.pk)
        start.wait()
        try:
            acknowledge(mine)
            results.append("acknowledged")
        except AlertEnded:
            results.append("ended")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["acknowledged", "ended"]
    assert AuditEvent.objects.filter(action="alert_acknowledged").count() == 1
