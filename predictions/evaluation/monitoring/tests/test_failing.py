"""What goes wrong while windows are reported, and what others do meanwhile."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import OperationalError

from predictions.evaluation.counting import reading
from predictions.evaluation.monitoring import reporting, work
from predictions.evaluation.monitoring.reporting import Outdated, report
from predictions.evaluation.monitoring.windows import Window, due_windows
from predictions.models import Alert, Monitor, MonitorReport, Prediction
from predictions.testing.counting import (
    DAY,
    churn,
    count_all,
    monitor,
    predict_day,
    set_random_reference,
)
from predictions.testing.monitors import MIDNIGHT, make_alert
from registry.models import ModelVersion
from registry.work import conflicts

pytestmark = pytest.mark.django_db(transaction=True)

TODAY = MIDNIGHT + 6 * DAY
Interfere = Callable[[Callable[[], object]], None]


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "counted_until", lambda: TODAY)
    monkeypatch.setattr(conflicts, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def version() -> ModelVersion:
    version = churn()
    set_random_reference(version, rows=2000)
    monitor(version, [])
    return version


@pytest.fixture
def other() -> ModelVersion:
    other = churn("other")
    set_random_reference(other, seed=2)
    monitor(other, [])
    return other


def run() -> work.Totals:
    count_all()
    return work.report_due(since=MIDNIGHT)


def days_reported(version: ModelVersion) -> list[int]:
    reports = MonitorReport.objects.filter(model=version).order_by("until")
    return [(report.since - MIDNIGHT).days for report in reports]


def failing(error: Exception, version: ModelVersion, times: int = 1000) -> Callable[..., Any]:
    """A `report` that fails so often for a version."""
    left = [error] * times

    def fail(window: Window) -> Any:
        if window.reference.model == version and left:
            raise left.pop()
        return report(window)

    return fail


def database_error(error: psycopg.Error) -> OperationalError:
    """As Django wraps it."""
    wrapped = OperationalError("refused")
    wrapped.__cause__ = error
    return wrapped


DEADLOCK = psycopg.errors.DeadlockDetected
CONFLICT = psycopg.errors.SerializationFailure
TIMEOUT = psycopg.errors.QueryCanceled
GONE = psycopg.errors.AdminShutdown


@pytest.mark.parametrize(
    "error", [ValueError("broken"), *(database_error(each()) for each in (DEADLOCK, TIMEOUT))]
)
def test_a_version_that_fails_does_not_stop_the_others(
    version: ModelVersion, other: ModelVersion, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for each in (version, other):
        for day in (0, 1):
            predict_day(each, day)
    monkeypatch.setattr(work, "report", failing(error, version))

    assert run() == work.Totals(reported=2, failed=1)
    assert days_reported(other) == [0, 1]


@pytest.mark.parametrize("kind", [DEADLOCK, CONFLICT])
def test_a_report_is_repeated_after_a_conflict(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch, kind: type[psycopg.Error]
) -> None:
    predict_day(version, 0)
    monkeypatch.setattr(work, "report", failing(database_error(kind()), version, times=2))

    assert run() == work.Totals(reported=1)


def test_a_monitor_whose_windows_cannot_be_found_does_not_stop_the_others(
    version: ModelVersion, other: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (version, other):
        predict_day(each, 0)

    def fail(monitor: Monitor, *arguments: Any) -> Any:
        if monitor.registered_model.name == version.name:
            raise database_error(DEADLOCK())
        return due_windows(monitor, *arguments)

    monkeypatch.setattr(work, "due_windows", fail)

    assert run() == work.Totals(reported=1, failed=1)
    assert days_reported(other) == [0]


def test_nothing_goes_on_without_a_database(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_day(version, 0)
    monkeypatch.setattr(work, "report", failing(database_error(GONE()), version))

    with pytest.raises(OperationalError):
        run()


def set_another_reference(version: ModelVersion) -> None:
    set_random_reference(version, seed=3, rows=2000)


def change_segments(version: ModelVersion) -> None:
    Monitor.objects.update(segments=[] if Monitor.objects.get().segments else [{"arm": True}])


def delete_a_row(version: ModelVersion) -> None:
    Prediction.objects.all()[0].delete()


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("change", [set_another_reference, change_segments, delete_a_row])
def test_a_window_whose_counts_change_meanwhile_is_reported_later(
    version: ModelVersion,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[ModelVersion], None],
    is_before: bool,
) -> None:
    predict_day(version, 0)
    count_all()

    def count_and_change(*arguments: Any) -> Any:
        if is_before:
            change(version)
        counts = reading.counts_of(*arguments)
        if not is_before:
            change(version)
        return counts

    with monkeypatch.context() as patch:
        patch.setattr(reporting, "counts_of", count_and_change)
        with pytest.raises(Outdated):
            report(next(due_windows(Monitor.objects.get(), TODAY, MIDNIGHT)))
        assert work.report_due(since=MIDNIGHT).failed == 0
    assert not MonitorReport.objects.exists()

    assert run() == work.Totals(reported=1)
    assert MonitorReport.objects.get().rows > 190


def test_an_alert_of_a_segment_stays_open_while_the_segment_has_no_rows(
    version: ModelVersion,
) -> None:
    watched = Monitor.objects.get()
    Monitor.objects.update(segments=[{"arm": True}])
    of_canary = make_alert(version, monitor=watched, segment="arm=canary", variable="input:age")
    of_nothing = make_alert(version, monitor=watched, segment="arm=gone", variable="input:age")
    for day in (0, 1, 2):
        predict_day(version, day)

    run()

    closed = Alert.objects.filter(closed_at__isnull=False)
    assert days_reported(version) == [0, 1, 2]
    # What is not compared any more ends, what had no rows does not.
    assert list(closed) == [of_nothing]
    assert Alert.objects.open().filter(pk=of_canary.pk).exists()
