"""/api/v1/monitors/: adding, reading, changing and deleting monitors, and their reports."""

from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from predictions.models import Monitor, StaleHour
from predictions.testing.monitors import (
    finding,
    make_alert,
    make_monitor,
    make_reference,
    make_report,
)
from predictions.testing.rows import (
    NOON,
    classifier_signature,
    create_predictions,
    make_version,
)
from registry.models import AuditEvent, Grant, ModelVersion, RegisteredModel, Right
from registry.testing.clients import api_client

URL = "/api/v1/monitors/"
SIGNATURE = {
    **classifier_signature(["no", "yes"]),
    "inputs": [
        {"name": "plan", "datatype": "BYTES", "shape": [-1]},
        {"name": "email", "datatype": "BYTES", "shape": [-1], "sensitive": "hash"},
        {"name": "image", "datatype": "FP32", "shape": [-1, 28, 28]},
        {"name": "table", "datatype": "FP64", "shape": [-1, 2], "features": ["age", "sum"]},
    ],
}


@pytest.fixture
def version(db: None) -> ModelVersion:
    return make_version(SIGNATURE)


@pytest.fixture
def api(user: User, version: ModelVersion) -> APIClient:
    """Somebody who manages the model and reads its log."""
    model = RegisteredModel.objects.get(name=version.name)
    Grant.objects.create(registered_model=model, user=user, manage_versions=True, read_log=True)
    return api_client(user)


def create(api: APIClient, **fields: object) -> Any:
    return api.post(URL, {"model": "m", "name": "daily", **fields}, format="json")


def test_a_monitor_is_added_with_defaults_and_read_again(api: APIClient) -> None:
    response = create(api, segments=[{"feature": "plan"}, {"arm": True}])

    monitor = Monitor.objects.get()
    assert response.status_code == 201, response.content
    assert response.json() == {
        "id": monitor.pk,
        "model": "m",
        "name": "daily",
        "window_hours": 24,
        "segments": [{"feature": "plan"}, {"arm": True}],
        "min_severity": "warning",
        "emails": [],
        "rolls_back_canary": False,
        "is_active": True,
        "created_by": "ada",
        "created_at": response.json()["created_at"],
        "notes": ["No version of model m has a reference: nothing is reported"],
    }
    assert api.get(f"{URL}{monitor.pk}/").json() == response.json()
    listed = {name: value for name, value in response.json().items() if name != "notes"}
    assert api.get(URL, {"model": "m", "is_active": "true"}).json() == [listed]
    assert api.get(URL, {"model": "other"}).json() == []
    event = AuditEvent.objects.get(action="monitor_changed")
    assert (event.model, event.target, event.details["change"]) == ("m", "daily", "created")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": 7}, "name"),
        ({"model": "../etc"}, "model"),
        ({"window_hours": 0}, "window_hours"),
        ({"window_hours": 745}, "window_hours"),
        ({"window_hours": "24"}, "window_hours"),
        ({"window_hours": True}, "window_hours"),
        ({"min_severity": "bad"}, "min_severity"),
        ({"emails": ["ops@example.com"]}, "emails"),
        ({"rolls_back_canary": 1}, "rolls_back_canary"),
        ({"is_active": "yes"}, "is_active"),
        ({"window": 24}, "window"),
        ({"segments": {}}, "segments"),
        ({"segments": [7]}, "segments"),
        ({"segments": [{}]}, "segments"),
        ({"segments": [{"feature": "plan", "arm": True}]}, "segments"),
        ({"segments": [{"feature": "plan", "value": "gold"}]}, "segments"),
        ({"segments": [{"feature": ""}]}, "segments"),
        ({"segments": [{"feature": "x" * 101}]}, "segments"),
        ({"segments": [{"feature": "unknown"}]}, "segments"),
        ({"segments": [{"feature": "image"}]}, "segments"),
        ({"segments": [{"feature": "email"}]}, "segments"),
        ({"segments": [{"metadata": "region"}]}, "segments"),
        ({"segments": [{"metadata": "region", "values": []}]}, "segments"),
        ({"segments": [{"metadata": "region", "values": list(range(21))}]}, "segments"),
        ({"segments": [{"metadata": "region", "values": [None]}]}, "segments"),
        ({"segments": [{"metadata": "region", "values": ["a", "a"]}]}, "segments"),
        ({"segments": [{"metadata": "region", "values": [1, "1"]}]}, "segments"),
        ({"segments": [{"metadata": "region", "values": ["x" * 201]}]}, "segments"),
        ({"segments": [{"arm": False}]}, "segments"),
        ({"segments": [{"arm": True, "values": ["canary"]}]}, "segments"),
        ({"segments": [{"arm": True}] * 2}, "segments"),
        ({"segments": [{"metadata": f"k{i}", "values": [1]} for i in range(11)]}, "segments"),
    ],
)
def test_an_invalid_field_is_named(api: APIClient, fields: dict[str, Any], field: str) -> None:
    response = create(api, **fields)

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]
    assert not Monitor.objects.exists()


def test_numbers_booleans_and_texts_may_be_segments(api: APIClient) -> None:
    values = [1, "one", True, 1.5]
    response = create(api, segments=[{"metadata": "tier", "values": values}, {"feature": "age"}])

    assert response.status_code == 201, response.content
    assert Monitor.objects.get().segments[0]["values"] == values


def test_a_name_is_taken_once_per_model_and_the_number_of_monitors_is_limited(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert create(api).status_code == 201
    assert create(api).status_code == 409

    other = create(api, name="hourly", window_hours=1).json()
    renamed = api.patch(f"{URL}{other['id']}/", {"name": "daily"}, format="json")
    assert renamed.status_code == 409
    monkeypatch.setattr("predictions.evaluation.monitoring.changes.MAX_MONITORS_PER_MODEL", 2)
    refused = create(api, name="third")
    assert refused.status_code == 409
    assert "2 monitors" in refused.json()["detail"]


def test_addresses_take_a_mail_server_and_are_not_in_the_audit_trail(
    api: APIClient, settings: LazySettings
) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    twice = create(api, emails=["ops@example.com"] * 2)
    malformed = create(api, emails=["ops"])
    response = create(api, emails=["ops@example.com"])

    assert (twice.status_code, malformed.status_code, response.status_code) == (400, 400, 201)
    details = AuditEvent.objects.get(action="monitor_changed").details
    assert details["fields"]["emails"] == "1 addresses"
    assert "ops@" not in str(details)


def test_only_who_may_move_aliases_lets_a_monitor_end_canaries(
    api: APIClient, user: User, version: ModelVersion
) -> None:
    assert create(api, rolls_back_canary=True).status_code == 403
    monitor = create(api).json()
    url = f"{URL}{monitor['id']}/"
    assert api.patch(url, {"rolls_back_canary": True}, format="json").status_code == 403
    assert not Monitor.objects.get().rolls_back_canary

    Grant.objects.update(move_aliases=True)
    assert api.patch(url, {"rolls_back_canary": True}, format="json").status_code == 200
    Grant.objects.update(move_aliases=False)
    # All of it decides when an alias moves.
    for change in ({"window_hours": 12}, {"is_active": False, "window_hours": 12}):
        assert api.patch(url, change, format="json").status_code == 403
    assert api.patch(url, {"rolls_back_canary": False}, format="json").status_code == 200
    assert api.patch(url, {"window_hours": 12}, format="json").status_code == 200


def test_all_who_manage_a_monitor_may_stop_it_but_not_let_it_move_aliases_again(
    api: APIClient, version: ModelVersion
) -> None:
    monitor = make_monitor(version, rolls_back_canary=True)
    url = f"{URL}{monitor.pk}/"

    assert api.patch(url, {"is_active": False}, format="json").status_code == 200
    assert api.patch(url, {"is_active": True}, format="json").status_code == 403

    monitor.refresh_from_db()
    assert not monitor.is_active
    assert api.delete(url).status_code == 204


def test_a_change_that_changes_nothing_leaves_no_trace(api: APIClient) -> None:
    monitor = create(api).json()

    response = api.patch(f"{URL}{monitor['id']}/", {"window_hours": 24}, format="json")

    assert response.status_code == 200
    assert AuditEvent.objects.filter(action="monitor_changed").count() == 1


def test_another_choice_of_segments_has_the_hours_counted_again(
    api: APIClient, version: ModelVersion
) -> None:
    make_reference(version)
    create_predictions(version, [1.0, 2.0], created_at=NOON)
    monitor = create(api).json()
    url = f"{URL}{monitor['id']}/"
    assert not StaleHour.objects.exists()

    def stale_after(change: dict[str, Any]) -> list[Any]:
        StaleHour.objects.all().delete()
        assert api.patch(url, change, format="json").status_code == 200
        return list(StaleHour.objects.values_list("model_id", "hour"))

    assert stale_after({"segments": [{"arm": True}]}) == [(version.pk, NOON)]
    assert stale_after({"window_hours": 2}) == []
    assert stale_after({"is_active": False}) == [(version.pk, NOON)]
    assert stale_after({"is_active": True}) == [(version.pk, NOON)]
    StaleHour.objects.all().delete()
    assert api.delete(url).status_code == 204
    assert StaleHour.objects.count() == 1
    assert create(api, segments=[{"feature": "plan"}]).status_code == 201


def test_deactivating_a_monitor_closes_its_alerts(api: APIClient, version: ModelVersion) -> None:
    alert = make_alert(version)

    api.patch(f"{URL}{alert.monitor_id}/", {"is_active": False}, format="json")

    alert.refresh_from_db()
    assert alert.closed_at is not None


def test_reports_are_listed_without_findings_and_one_has_them(
    api: APIClient, version: ModelVersion, django_assert_max_num_queries: Any
) -> None:
    monitor = make_monitor(version)
    reports = [
        make_report(None, finding(), monitor=monitor, version=version, day=day) for day in range(3)
    ]
    url = f"{URL}{monitor.pk}/reports/"

    first = api.get(url, {"limit": "2"})
    with django_assert_max_num_queries(8):
        rest = api.get(first["Link"].split(">")[0].strip("<"))
    detail = api.get(f"{url}{reports[0].pk}/").json()

    assert [row["id"] for row in first.json() + rest.json()] == [row.pk for row in reports[::-1]]
    assert "findings" not in first.json()[0]
    assert detail["findings"] == [finding()]
    assert (detail["version"], detail["status"]) == ("1", "alarm")
    assert api.get(url, {"status": "ok"}).json() == []
    assert len(api.get(url, {"model_id": str(version.pk)}).json()) == 3
    assert api.get(url, {"status": "bad"}).status_code == 400
    assert api.get(f"{url}{reports[-1].pk + 1}/").status_code == 404
    other = make_monitor(version, name="other")
    assert api.get(f"{URL}{other.pk}/reports/{reports[0].pk}/").status_code == 404


def test_monitors_of_private_models_are_not_found(version: ModelVersion) -> None:
    RegisteredModel.objects.update(is_private=True)
    monitor = make_monitor(version)
    api = api_client(User.objects.create_user("eve"))

    for answer in (
        api.get(f"{URL}{monitor.pk}/"),
        api.patch(f"{URL}{monitor.pk}/", {"name": "x"}, format="json"),
        api.delete(f"{URL}{monitor.pk}/"),
        api.get(f"{URL}{monitor.pk}/reports/"),
    ):
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"Monitor {monitor.pk} not found"
    assert create(api, name="x").status_code == 404


def test_rights_of_the_list_are_of_reading_the_log(version: ModelVersion) -> None:
    make_monitor(version)
    user = User.objects.create_user("eve")
    api = api_client(user)
    assert api.get(URL).json() == []

    model = RegisteredModel.objects.get(name=version.name)
    Grant.objects.create(registered_model=model, user=user, **{Right.READ_LOG.value: True})
    assert len(api.get(URL).json()) == 1
