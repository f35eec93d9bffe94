"""A severe alert ends the canary of its version."""

import pytest

from predictions.evaluation.monitoring.alerts.lifecycle import update_alerts
from predictions.models import Alert, Monitor
from predictions.testing.monitors import finding, make_monitor, make_report
from predictions.testing.rows import REGRESSOR_SIGNATURE, make_version
from registry.models import (
    Alias,
    AliasMove,
    AuditEvent,
    ModelVersion,
    RegisteredModel,
    Webhook,
    WebhookDelivery,
)


@pytest.fixture
def canary(db: None) -> ModelVersion:
    make_version(REGRESSOR_SIGNATURE)
    first = ModelVersion.objects.get()
    canary = ModelVersion.objects.create(
        name=first.name,
        version="2",
        framework="sklearn",
        artifact="a",
        sha256="b",
        size_bytes=1,
        signature=REGRESSOR_SIGNATURE,
    )
    for alias in ("champion", "live"):
        Alias.objects.create(
            name=first.name, alias=alias, version=first, canary=canary, canary_percent=5.0
        )
    Alias.objects.create(name=first.name, alias="other", version=canary)
    Webhook.objects.create(name="chat", url="https://hooks.example.com/", events=["alias.moved"])
    return canary


def report_twice(version: ModelVersion, severity: str, start: int = 0, **fields: object) -> Monitor:
    monitor = make_monitor(version, **fields)
    for day in (start, start + 1):
        found = finding(severity, reason="x moved " + "far " * 200)
        update_alerts(make_report(None, found, monitor=monitor, version=version, day=day))
    return monitor


@pytest.mark.parametrize("needs_approval", [False, True])
def test_a_severe_alert_ends_the_canary_with_the_reason_in_the_history(
    canary: ModelVersion, needs_approval: bool
) -> None:
    RegisteredModel.objects.update(needs_approval=needs_approval)

    report_twice(canary, "severe", rolls_back_canary=True)

    alert = Alert.objects.get()
    for alias in ("champion", "live"):
        row = Alias.objects.get(alias=alias)
        assert (row.canary_id, row.canary_percent) == (None, None)
        assert row.version.version == "1"
        move = AliasMove.objects.get(alias=alias)
        assert (move.action, move.user_id) == ("configured", None)
        assert move.reason.startswith(f"Alert {alert.pk} of monitor daily: x moved far")
        assert len(move.reason) == 500
    # Where it is not a canary, somebody has decided that it answers everybody.
    assert Alias.objects.get(alias="other").version == canary
    assert AuditEvent.objects.filter(action="alias_moved").count() == 2
    assert WebhookDelivery.objects.filter(event="alias.moved").count() == 2


def test_values_of_inputs_do_not_get_into_the_history(canary: ModelVersion) -> None:
    monitor = make_monitor(canary, rolls_back_canary=True)
    for day in (0, 1):
        found = finding(
            "severe", kind="new_categories", effect="share_increase", reason="new: a@example.com"
        )
        update_alerts(make_report(None, found, monitor=monitor, version=canary, day=day))

    assert Alert.objects.get().reason == "new: a@example.com"
    reason = AliasMove.objects.first().reason  # type: ignore[union-attr]
    assert reason.endswith("daily: new categories of x (share increase 0.3)")


def test_without_the_monitors_consent_or_a_severe_alert_the_canary_stays(
    canary: ModelVersion,
) -> None:
    report_twice(canary, "warning", rolls_back_canary=True)
    report_twice(canary, "severe", name="other")

    assert Alias.objects.filter(canary=canary).count() == 2


def test_an_alert_that_gets_severe_ends_the_canary(canary: ModelVersion) -> None:
    report_twice(canary, "warning", rolls_back_canary=True)
    assert Alias.objects.filter(canary=canary).count() == 2

    report_twice(canary, "severe", start=2, rolls_back_canary=True)

    assert not Alias.objects.filter(canary=canary).exists()


def test_a_canary_set_again_while_the_alert_is_open_stays(canary: ModelVersion) -> None:
    report_twice(canary, "severe", rolls_back_canary=True)
    Alias.objects.filter(alias="live").update(canary=canary, canary_percent=1.0)

    report_twice(canary, "severe", start=2, rolls_back_canary=True)

    assert Alias.objects.get(alias="live").canary == canary
