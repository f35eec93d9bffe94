"""Reporting windows: which are due, what a report has, and what it costs."""

import threading
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from predictions.evaluation.monitoring import work
from predictions.evaluation.monitoring.windows import COMMIT_MARGIN, counted_until, due_windows
from predictions.models import Alert, CountedTo, Monitor, MonitorReport, Prediction, StaleHour
from predictions.testing.counting import (
    churn,
    count_all,
    monitor,
    predict_day,
    set_random_reference,
)
from predictions.testing.monitors import MIDNIGHT, make_alert, make_report
from registry.models import ModelVersion, RecurringWork, RegisteredModel
from registry.work.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
# Everything before it has been counted, as far as these tests know.
TODAY = MIDNIGHT + 6 * DAY


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "counted_until", lambda: TODAY)


@pytest.fixture
def version() -> ModelVersion:
    version = churn()
    set_random_reference(version, rows=2000)
    monitor(version, [])
    return version


def run(since: datetime | None = MIDNIGHT, **options: Any) -> work.Totals:
    count_all()
    return work.report_due(since=since, **options)


def days_reported(**fields: Any) -> list[int]:
    reports = MonitorReport.objects.filter(**fields).order_by("until")
    return [(report.since - MIDNIGHT).days for report in reports]


def test_rows_like_the_reference_give_a_report_without_alarms(version: ModelVersion) -> None:
    predict_day(version, 0)

    assert run() == work.Totals(reported=1)

    report = MonitorReport.objects.get()
    assert (report.rows, report.status, report.model) == (200, "ok", version)
    assert (report.since, report.until) == (MIDNIGHT, MIDNIGHT + DAY)
    kinds = {(finding["kind"], finding["variable"]) for finding in report.findings}
    assert {("input_drift", "input:age"), ("failures", ""), ("measured_quality", "")} <= kinds
    assert not Alert.objects.exists()


def test_a_shift_is_an_alarm_and_after_two_windows_an_alert(version: ModelVersion) -> None:
    predict_day(version, 0, older=20)
    assert run() == work.Totals(reported=1, alarms=1)
    assert not Alert.objects.exists()
    predict_day(version, 1, older=20)
    assert run() == work.Totals(reported=1, alarms=1)

    alert = Alert.objects.get(kind="input_drift", variable="input:age")
    assert (alert.severity, alert.window_until) == ("severe", MIDNIGHT + 2 * DAY)
    assert "age" in alert.reason
    assert MonitorReport.objects.order_by("-until")[0].findings[0]["severity"] is not None

    for day in (2, 3):
        predict_day(version, day)
        run()
    alert.refresh_from_db()
    assert alert.closed_at is not None


def test_a_window_is_reported_once(version: ModelVersion) -> None:
    predict_day(version, 0)
    run()

    assert run() == work.Totals()
    assert MonitorReport.objects.count() == 1


def test_windows_since_the_last_report_are_made_up_for(version: ModelVersion) -> None:
    predict_day(version, 0)
    run()
    for day in (1, 2, 4):
        predict_day(version, day)

    run(since=None)

    # There are no rows on the fourth day, and none on the last.
    assert days_reported() == [0, 1, 2, 4]


def test_of_a_version_without_a_report_only_the_last_window_is_due(version: ModelVersion) -> None:
    for day in (0, 1, 5):
        predict_day(version, day)

    assert run(since=None).reported == 1
    assert days_reported() == [5]

    assert run(since=MIDNIGHT + timedelta(minutes=1)).reported == 1
    assert days_reported() == [1, 5]
    assert run(since=datetime(1970, 1, 1, tzinfo=UTC)).reported == 1
    assert days_reported() == [0, 1, 5]


def test_a_window_that_has_not_ended_or_is_not_counted_is_not_due(version: ModelVersion) -> None:
    predict_day(version, 0)
    count_all()
    row = Monitor.objects.get()
    end = MIDNIGHT + DAY

    assert not list(due_windows(row, end - timedelta(seconds=1)))
    assert len(list(due_windows(row, end))) == 1
    assert not list(due_windows(row, end + DAY))
    StaleHour.objects.create(model=version, hour=MIDNIGHT + timedelta(hours=5))
    assert not list(due_windows(row, end))


def test_a_window_waits_for_transactions_that_were_open_at_its_end() -> None:
    assert counted_until() is None

    count_all()
    reached_at = CountedTo.objects.get().reached_at
    assert reached_at is not None
    assert counted_until() == reached_at - COMMIT_MARGIN


def test_windows_after_one_that_must_be_counted_again_wait_for_it(version: ModelVersion) -> None:
    for day in (0, 1):
        predict_day(version, day)
    count_all()
    StaleHour.objects.create(model=version, hour=MIDNIGHT + timedelta(hours=30))

    assert work.report_due(since=MIDNIGHT).reported == 1
    assert days_reported() == [0]


def test_nothing_is_due_before_anything_was_counted(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_day(version, 5)
    monkeypatch.setattr(work, "counted_until", lambda: None)

    assert work.report_due() == work.Totals()


def test_too_few_rows_give_no_verdict(version: ModelVersion) -> None:
    predict_day(version, 0, rows=20, older=90)

    run()

    assert MonitorReport.objects.get().status == "too_few_rows"


def test_windows_of_hours_begin_at_multiples_of_their_length(version: ModelVersion) -> None:
    Monitor.objects.update(window_hours=5)
    predict_day(version, 0)

    run(since=MIDNIGHT - DAY)

    begins = MonitorReport.objects.order_by("since").values_list("since", flat=True)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert all((begin - epoch) % timedelta(hours=5) == timedelta() for begin in begins)
    assert sum(MonitorReport.objects.values_list("rows", flat=True)) == 200


def test_segments_have_findings_of_their_own() -> None:
    version = churn()
    set_random_reference(version, rows=2000)
    monitor(version, [{"feature": "plan", "values": ["gold"]}, {"arm": True}])
    monitor(version, [], name="plain")
    predict_day(version, 0, rows=600, older=20)

    run()

    found, plain = (
        MonitorReport.objects.get(monitor__name=name).findings for name in ("m", "plain")
    )
    compared = {finding["segment"] for finding in found if finding["kind"] != "too_few_rows"}
    assert compared == {"", "feature:plan=gold"}
    assert any(finding["severity"] for finding in found if finding["segment"])
    silent = {finding["segment"] for finding in found if finding["kind"] == "too_few_rows"}
    assert silent == {f"arm={arm}" for arm in Prediction.Arm.values}
    assert {finding["segment"] for finding in plain} == {""}


def test_an_inactive_monitor_reports_nothing(version: ModelVersion) -> None:
    predict_day(version, 0)
    Monitor.objects.update(is_active=False)

    assert run() == work.Totals()


def test_a_report_costs_the_same_for_many_rows(
    version: ModelVersion, django_assert_max_num_queries: Any
) -> None:
    predict_day(version, 0, rows=50)
    predict_day(version, 1, rows=1500)
    count_all()

    with django_assert_max_num_queries(45):
        assert work.report_due(since=MIDNIGHT).reported == 2


def test_the_worker_reports(version: ModelVersion) -> None:
    predict_day(version, 5)
    count_all()
    worker = Worker([work.MONITORING], threads=1)

    worker.run_due()

    assert worker.totals.done == 1
    assert days_reported() == [5]
    assert RecurringWork.objects.get(pk="monitoring").error == ""


def test_of_two_processes_one_reports_a_window(version: ModelVersion) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    predict_day(version, 0, older=20)
    run()
    predict_day(version, 1, older=20)
    count_all()
    start, totals = threading.Barrier(2), []

    def report_all() -> None:
        try:
            start.wait()
            totals.append(work.report_due(since=MIDNIGHT))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=report_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(total.reported for total in totals) == 1
    assert sum(total.failed for total in totals) == 0
    alerts = Alert.objects.filter(kind="input_drift", variable="input:age")
    assert (MonitorReport.objects.count(), alerts.count()) == (2, 1)


def test_reports_and_closed_alerts_are_kept_as_long_as_predictions(version: ModelVersion) -> None:
    now, row = timezone.now(), Monitor.objects.get()
    reports = [make_report(None, monitor=row, version=version, day=day) for day in (0, 1)]
    MonitorReport.objects.filter(pk=reports[1].pk).update(until=now)
    closed = [make_alert(version, monitor=row, closed_at=at) for at in (MIDNIGHT, now)]
    is_open = make_alert(version, monitor=row, opened_at=MIDNIGHT)
    work.tidy()
    assert (MonitorReport.objects.count(), Alert.objects.count()) == (2, 3)

    RegisteredModel.objects.update(retention_days=30)
    work.tidy()

    assert MonitorReport.objects.get() == reports[1]
    assert set(Alert.objects.all()) == {closed[1], is_open}


def call(*arguments: str) -> str:
    out = StringIO()
    call_command("monitor", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_the_command_counts_first_and_names_alarms(version: ModelVersion) -> None:
    predict_day(version, 5, older=20)

    text = call("--due")

    assert text.splitlines()[1:] == ["Reported 1 windows, 1 of them with alarms."]
    assert "churn:1 until 2026-01-07 00:00: severe: age moved" in text
    assert "Reported 0 windows" in call("--due", "--model", "churn", "--monitor", "m")
    assert "Reported 0 windows" in call("--since", "2026-01-01")


def test_the_command_fails_if_a_window_does(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_day(version, 5)

    def fail(window: Any) -> Any:
        raise ValueError("broken")

    monkeypatch.setattr(work, "report", fail)

    with pytest.raises(CommandError, match="1 could not be reported"):
        call("--due")


def test_the_command_refuses_names_that_there_are_not(version: ModelVersion) -> None:
    for arguments in (("--model", "chrun"), ("--monitor", "weekly")):
        with pytest.raises(CommandError, match="There is no monitor"):
            call("--due", *arguments)
    with pytest.raises(CommandError, match="--due"):
        call()
    with pytest.raises(CommandError, match="not a date"):
        call("--since", "yesterday")
