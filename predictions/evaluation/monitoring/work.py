"""Reporting what is due, for the worker and the command."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.db import InterfaceError, OperationalError

from predictions.evaluation.monitoring.alerts import mail
from predictions.evaluation.monitoring.alerts.announcements import QUOTING_KINDS
from predictions.evaluation.monitoring.alerts.lifecycle import (
    WINDOWS_LOOKED_AT,
    close_alerts_of_inactive_versions,
)
from predictions.evaluation.monitoring.reporting import Outdated, report
from predictions.evaluation.monitoring.windows import Window, counted_until, due_windows
from predictions.models import Monitor, MonitorReport
from registry.database import clock
from registry.work.conflicts import concerns_one_transaction, repeated
from registry.work.recurring import Turn, recurring

NOT_KEPT = "Not kept: its rows are older than the retention of the model"

logger = logging.getLogger(__name__)


class MonitoringFailed(Exception):
    """Some windows could not be reported; the log has the reasons."""


@dataclass(slots=True)
class Totals:
    reported: int = 0
    alarms: int = 0
    failed: int = 0


def report_due(
    *,
    model: str | None = None,
    name: str | None = None,
    since: datetime | None = None,
    may_continue: Callable[[], bool] = lambda: True,
    on_report: Callable[[MonitorReport], object] = lambda report: None,
) -> Totals:
    """Report every due window of the active monitors, of one model or name if given.

    See `due_windows` for `since`. A window that fails, or a monitor, does not keep others from
    being reported; the later windows of its own version wait for it. Several processes may run at
    once. Ends early if `may_continue` says so.
    """
    totals = Totals()
    until = counted_until()
    if until is None:
        return totals
    monitors = Monitor.objects.matching(model=model, is_active=True)
    if name is not None:
        monitors = monitors.filter(name=name)
    for monitor in monitors.select_related("registered_model").order_by("pk"):
        if not may_continue():
            break
        windows: list[Window] = []
        with _failures_of(monitor, totals):
            repeated(partial(close_alerts_of_inactive_versions, monitor))
            windows += due_windows(monitor, until, since)
        waiting: set[int] = set()
        for window in windows:
            if not may_continue():
                break
            if window.reference.pk not in waiting and not _report(window, totals, on_report):
                waiting.add(window.reference.pk)
    return totals


def _report(window: Window, totals: Totals, on_report: Callable[[MonitorReport], object]) -> bool:
    """Whether the next window may be reported."""
    is_over = False
    with _failures_of(window, totals):
        try:
            row = repeated(partial(report, window))
        except Outdated:
            logger.info("%s is reported once it has been counted again", window)
            return False
        is_over = True
        if row is not None:
            totals.reported += 1
            totals.alarms += row.status == MonitorReport.Status.ALARM
            on_report(row)
    return is_over


@contextmanager
def _failures_of(what: Monitor | Window, totals: Totals) -> Iterator[None]:
    """Log and count an exception, so that it does not stop the others. One that says that the
    database cannot be used at all is raised.
    """
    monitor = what if isinstance(what, Monitor) else what.monitor
    try:
        yield
    except InterfaceError:
        raise
    except Exception as error:
        if isinstance(error, OperationalError) and not concerns_one_transaction(error):
            raise
        logger.exception("Monitor %s could not report %s", monitor, what)
        totals.failed += 1


def tidy() -> None:
    """Delete what is kept no longer: sent mails, and of models with a retention the reports and
    closed alerts that are older, since they may quote values of inputs.

    With a retention shorter than WINDOWS_LOOKED_AT windows, alerts would never open or close. So
    reports stay for that long, but without what they quote.
    """
    mail.tidy()
    monitors = Monitor.objects.filter(registered_model__retention_days__isnull=False)
    for monitor in monitors.select_related("registered_model"):
        repeated(partial(_tidy, monitor))


def _tidy(monitor: Monitor) -> None:
    now = clock.now()
    before = now - timedelta(days=monitor.registered_model.retention_days or 0)
    decides_from = now - WINDOWS_LOOKED_AT * timedelta(hours=monitor.window_hours)
    monitor.reports.filter(until__lt=min(before, decides_from)).delete()
    for row in monitor.reports.filter(until__lt=before):
        _forget_values(row)
    monitor.alerts.filter(closed_at__lt=before).delete()


def _forget_values(row: MonitorReport) -> None:
    forgotten = {"reason": NOT_KEPT, "figures": {}}
    findings = [
        each | forgotten if each["kind"] in QUOTING_KINDS else each for each in row.findings
    ]
    if findings != row.findings:
        MonitorReport.objects.filter(pk=row.pk).update(findings=findings)


def _report_turn(turn: Turn) -> None:
    totals = report_due(may_continue=turn.may_continue)
    tidy()
    if totals.failed:
        raise MonitoringFailed(f"{totals.failed} windows could not be reported; see the log")


MONITORING = recurring(
    "monitoring",
    "Reports the windows of monitors that have ended",
    _report_turn,
    every=timedelta(minutes=1),
)
