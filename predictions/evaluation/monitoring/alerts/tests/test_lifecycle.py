"""When alerts open, get worse and close."""

from typing import Any

import pytest

from predictions.evaluation.monitoring.alerts.lifecycle import (
    close_alerts_of_inactive_versions,
    update_alerts,
)
from predictions.models import Alert, Monitor, MonitorReport
from predictions.testing.monitors import (
    finding,
    make_alert,
    make_monitor,
    make_reference,
    too_few,
)
from predictions.testing.monitors import make_report as store_report
from predictions.testing.rows import REGRESSOR_SIGNATURE, make_version
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion, Webhook, WebhookDelivery

WARNING, SEVERE, NONE = finding(), finding("severe"), finding(None)
# Below the threshold, but not below half of it.
NEAR = finding(None, value=0.05, adjusted_p=0.05)
# By chance, a small window differs as much.
CHANCE = finding(None, value=0.2, adjusted_p=0.051)
UNTESTED = finding(None, value=0.2, adjusted_p=None)
NO_VERDICT = finding(None, value=None)
TOO_FEW = too_few()
OF_SEGMENT = {"segment": "feature:plan=gold"}


@pytest.fixture
def version(db: None) -> ModelVersion:
    return make_version(REGRESSOR_SIGNATURE)


@pytest.fixture
def monitor(version: ModelVersion) -> Monitor:
    Webhook.objects.create(name="chat", url="https://hooks.example.com/")
    return make_monitor(version)


class Days:
    """Reports one day after another."""

    def __init__(self, monitor: Monitor, version: ModelVersion) -> None:
        self.monitor, self.version, self.day = monitor, version, 0

    def report(self, *findings: JSONObject, **fields: Any) -> MonitorReport:
        fields = {"day": self.day, **fields}
        report = store_report(None, *findings, monitor=self.monitor, version=self.version, **fields)
        update_alerts(report)
        self.day += 1
        return report


@pytest.fixture
def days(monitor: Monitor, version: ModelVersion) -> Days:
    return Days(monitor, version)


def events() -> list[str]:
    return list(WebhookDelivery.objects.order_by("id").values_list("event", flat=True))


@pytest.mark.parametrize(
    ("windows", "opens_at"),
    [
        ([WARNING, WARNING], 2),
        ([WARNING, NONE, WARNING], 3),
        ([WARNING, NONE, NONE, WARNING], None),
        ([NONE, NONE, WARNING], None),
        ([WARNING, WARNING | OF_SEGMENT], None),
        ([WARNING, WARNING | {"variable": "input:y"}], None),
        ([WARNING, NO_VERDICT, WARNING], 3),
    ],
)
def test_an_alert_opens_after_two_of_three_windows(
    days: Days, windows: list[JSONObject], opens_at: int | None
) -> None:
    opened = None
    for number, window in enumerate(windows, start=1):
        days.report(window)
        if opened is None and Alert.objects.exists():
            opened = number

    assert opened == opens_at


def test_the_last_window_of_a_deactivated_version_opens_no_alert(
    days: Days, version: ModelVersion
) -> None:
    days.report(SEVERE)
    version.update(is_active=False)
    days.report(SEVERE)

    assert not Alert.objects.exists()
    assert events() == []


def test_an_alert_has_what_was_found_last(days: Days, version: ModelVersion) -> None:
    days.report(WARNING)
    last = days.report(WARNING | {"reason": "x moved from a median of 1 to 3"})

    alert = Alert.objects.get()
    assert (alert.model, alert.kind, alert.variable, alert.segment) == (
        version,
        "input_drift",
        "input:x",
        "",
    )
    assert alert.reason == "x moved from a median of 1 to 3"
    assert alert.window_until == last.until
    assert alert.finding == last.findings[0]
    assert events() == ["alert.opened"]

    newest = days.report(WARNING | {"reason": "x moved from a median of 1 to 4"})
    alert.refresh_from_db()
    assert (alert.reason, alert.window_until) == ("x moved from a median of 1 to 4", newest.until)
    assert events() == ["alert.opened"]


@pytest.mark.parametrize(
    ("windows", "closes_at"),
    [
        ([NONE, NONE], 2),
        ([CHANCE, UNTESTED], 2),
        ([NEAR, NEAR, NONE, NONE], 4),
        ([NONE, NEAR, NONE], None),
        ([NONE, WARNING, NONE], None),
        ([NONE, NO_VERDICT, NONE], None),
        ([NO_VERDICT, NO_VERDICT], None),
        ([TOO_FEW, TOO_FEW], None),
        ([too_few("arm=canary")] * 2, 2),
        # It is not compared any more, such as after another choice of segments.
        ([None, None], 2),
    ],
)
def test_an_alert_closes_after_two_windows_well_below_the_threshold(
    days: Days, windows: list[JSONObject | None], closes_at: int | None
) -> None:
    days.report(WARNING)
    days.report(WARNING)
    closed = None
    for number, window in enumerate(windows, start=1):
        days.report(*([window] if window else []))
        if closed is None and not Alert.objects.open().exists():
            closed = number

    assert closed == closes_at
    assert (events()[-1] == "alert.closed") == (closes_at is not None)


def test_a_finding_that_comes_back_opens_another_alert(days: Days) -> None:
    for window in (WARNING, WARNING, NONE, NONE, WARNING, WARNING):
        days.report(window)

    assert Alert.objects.count() == 2
    assert Alert.objects.open().count() == 1


def test_windows_with_too_few_rows_neither_open_nor_close(days: Days) -> None:
    few = {"status": "too_few_rows"}
    days.report(WARNING)
    days.report(TOO_FEW, **few)
    days.report(TOO_FEW, **few)
    days.report(WARNING)
    assert Alert.objects.open().count() == 1

    days.report(NONE)
    days.report(TOO_FEW, **few)
    assert Alert.objects.open().count() == 1
    days.report(NONE)
    assert not Alert.objects.open().exists()


def test_an_alert_gets_worse_but_not_better_while_it_is_open(days: Days) -> None:
    days.report(WARNING)
    days.report(SEVERE)
    assert Alert.objects.get().severity == "warning"

    days.report(SEVERE)
    assert Alert.objects.get().severity == "severe"
    assert events() == ["alert.opened", "alert.escalated"]

    days.report(WARNING)
    days.report(WARNING)
    assert Alert.objects.get().severity == "severe"
    assert events() == ["alert.opened", "alert.escalated"]


def test_nobody_is_told_of_alerts_below_the_severity_that_is_wanted(
    days: Days, monitor: Monitor
) -> None:
    Monitor.objects.update(min_severity="severe", emails=["ops@example.com"])
    monitor.refresh_from_db()

    days.report(WARNING)
    days.report(WARNING)
    assert (Alert.objects.count(), events()) == (1, [])

    days.report(SEVERE)
    days.report(SEVERE)
    assert events() == ["alert.escalated"]
    assert [mail.event for mail in Alert.objects.get().mails.all()] == ["alert.escalated"]


def test_a_window_made_up_for_later_changes_no_alert(days: Days) -> None:
    days.report(WARNING, day=5)
    days.report(NONE, day=6)

    days.report(WARNING, day=2)

    assert not Alert.objects.exists()


def test_windows_of_another_reference_do_not_count(days: Days, version: ModelVersion) -> None:
    days.report(WARNING)
    make_reference(version, digest="1" * 64)

    days.report(WARNING)
    assert not Alert.objects.exists()
    days.report(WARNING)
    assert Alert.objects.count() == 1


def test_alerts_of_other_versions_and_monitors_are_their_own(
    days: Days, version: ModelVersion
) -> None:
    other = make_alert(version, monitor=make_monitor(version, name="hourly"))
    for _ in range(2):
        days.report(NONE)

    other.refresh_from_db()
    assert other.closed_at is None


def test_alerts_of_a_deactivated_version_are_closed(days: Days, version: ModelVersion) -> None:
    days.report(WARNING)
    days.report(WARNING)
    close_alerts_of_inactive_versions(days.monitor)
    assert Alert.objects.open().count() == 1

    version.update(is_active=False)
    close_alerts_of_inactive_versions(days.monitor)

    assert not Alert.objects.open().exists()
    assert events()[-1] == "alert.closed"


def test_a_long_reason_is_cut(days: Days) -> None:
    for _ in range(2):
        days.report(WARNING | {"reason": "x" * 5000})

    assert len(Alert.objects.get().reason) == 1000
