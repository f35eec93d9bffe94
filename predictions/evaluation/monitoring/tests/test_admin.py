"""The admin pages of monitors, reports, alerts and mails."""

import json

import pytest
from django.conf import LazySettings
from django.test import Client

from predictions.models import Alert, AlertMail, Monitor
from predictions.testing.monitors import (
    finding,
    make_alert,
    make_monitor,
    make_reference,
    make_report,
)
from predictions.testing.rows import REGRESSOR_SIGNATURE, make_version
from registry.models import AuditEvent, ModelVersion, RegisteredModel
from registry.testing.clients import form_errors, text_of

MONITORS = "/admin/predictions/monitor/"
ALERTS = "/admin/predictions/alert/"
REPORTS = "/admin/predictions/monitorreport/"


@pytest.fixture
def version(db: None, settings: LazySettings) -> ModelVersion:
    settings.EMAIL_HOST = "mail.example.com"
    return make_version(REGRESSOR_SIGNATURE)


def form(**fields: object) -> dict[str, object]:
    return {
        "registered_model": RegisteredModel.objects.get().pk,
        "name": "daily",
        "window_hours": 24,
        "segments": "[]",
        "min_severity": "warning",
        "emails": "ops@example.com\nml@example.com",
        "is_active": "on",
        **fields,
    }


def test_a_monitor_is_added_changed_and_deleted(
    admin_client: Client, version: ModelVersion
) -> None:
    segments = [{"feature": "x", "values": [1]}]
    response = admin_client.post(f"{MONITORS}add/", form(segments=json.dumps(segments)))
    assert response.status_code == 302
    monitor = Monitor.objects.get()
    assert (monitor.segments, monitor.emails) == (segments, ["ops@example.com", "ml@example.com"])
    assert monitor.created_by is not None

    page = f"{MONITORS}{monitor.pk}/change/"
    text = text_of(admin_client.get(page))
    assert "Windows begin at multiples of it in UTC" in text
    admin_client.post(page, form(window_hours=12, segments="", emails=""))
    monitor.refresh_from_db()
    assert (monitor.window_hours, monitor.segments, monitor.emails) == (12, [], [])

    make_report(None, monitor=monitor, version=version)
    admin_client.post(f"{MONITORS}{monitor.pk}/delete/", {"post": "yes"})
    assert not Monitor.objects.exists()
    changes = AuditEvent.objects.filter(action="monitor_changed").order_by("id")
    assert [event.details["change"] for event in changes] == ["created", "changed", "deleted"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "taken"),
        ("window_hours", 0),
        ("segments", "{"),
        ("segments", '{"feature": "x"}'),
        ("segments", '[{"feature": "unknown"}]'),
        ("emails", "ops"),
        ("emails", "ops@example.com ops@example.com"),
        ("min_severity", "bad"),
    ],
)
def test_an_invalid_field_is_refused_at_the_field(
    admin_client: Client, version: ModelVersion, field: str, value: object
) -> None:
    make_monitor(version, name="taken")

    response = admin_client.post(f"{MONITORS}add/", form(**{field: value}))

    assert list(form_errors(response)) == [field]
    assert Monitor.objects.count() == 1


def test_a_name_is_not_taken_by_the_monitor_itself(
    admin_client: Client, version: ModelVersion
) -> None:
    monitor, _ = make_monitor(version), make_monitor(version, name="taken")
    page = f"{MONITORS}{monitor.pk}/change/"

    assert admin_client.post(page, form(min_severity="severe")).status_code == 302
    assert list(form_errors(admin_client.post(page, form(name="taken")))) == ["name"]


def test_reports_show_their_findings(admin_client: Client, version: ModelVersion) -> None:
    report = make_report(None, finding(), monitor=make_monitor(version), version=version)

    assert "m:1" in text_of(admin_client.get(REPORTS))
    page = text_of(admin_client.get(f"{REPORTS}{report.pk}/change/"))
    assert "x moved from a median of 1 to 2" in page


def test_alerts_are_acknowledged_and_filtered(admin_client: Client, version: ModelVersion) -> None:
    make_reference(version)
    first = make_alert(version)
    second = make_alert(version, variable="input:y", reason="y moved")

    for _ in range(2):
        response = admin_client.post(
            ALERTS, {"action": "acknowledge", "_selected_action": [first.pk]}, follow=True
        )
    assert "is acknowledged already" in text_of(response)
    assert Alert.objects.filter(acknowledged_at=None).get() == second

    for state, expected in (("open", True), ("waiting", True), ("closed", False), ("", True)):
        page = text_of(admin_client.get(f"{ALERTS}?state={state}" if state else ALERTS))
        assert ("y moved" in page) == expected
    assert "newest finding" in text_of(admin_client.get(f"{ALERTS}{second.pk}/change/")).lower()


def test_mails_are_shown(admin_client: Client, version: ModelVersion) -> None:
    AlertMail.objects.create(
        alert=make_alert(version), event="alert.opened", address="ops@example.com"
    )

    assert "ops@example.com" in text_of(admin_client.get("/admin/predictions/alertmail/"))
