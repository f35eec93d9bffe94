"""When alerts open, get worse and close, from the reports of one version by one monitor.

An alert opens once a finding was an alarm in two of the last three windows. It closes after two
windows in a row that are calm: the difference is below half of what makes it an alarm, or well
within chance. So an alert does not open and close with every window around the thresholds. A window
without a verdict, such as one with too few rows, counts as neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from predictions.evaluation.drift.comparisons import Kind
from predictions.evaluation.monitoring.alerts.announcements import (
    ALERT_CLOSED,
    ALERT_ESCALATED,
    ALERT_OPENED,
    SEVERITIES,
    announce,
    rank,
)
from predictions.evaluation.monitoring.alerts.canaries import end_canary_of
from predictions.models import MAX_REASON_LENGTH, Alert, Monitor, MonitorReport, Severity
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion

# Kinds of findings that say that nothing of their segment was compared.
WITHOUT_VERDICT = (Kind.TOO_FEW_ROWS, Kind.NO_REFERENCE)
# Adjusted; an alarm takes a much smaller one (ALPHA).
MIN_CALM_P_VALUE = 0.05
WINDOWS_LOOKED_AT = 3
WINDOWS_TO_OPEN = 2
WINDOWS_TO_CLOSE = 2


class Subject(NamedTuple):
    """What a finding is about: in each report there is at most one finding of it."""

    kind: str
    variable: str
    segment: str


class Verdicts:
    """The findings of one report, by what they are about."""

    def __init__(self, report: MonitorReport) -> None:
        self._findings = {
            Subject(finding["kind"], finding["variable"], finding["segment"]): finding
            for finding in report.findings
        }
        self._segments_without_verdict = {
            finding["segment"] for finding in report.findings if finding["kind"] in WITHOUT_VERDICT
        }

    def alarms(self) -> list[Subject]:
        return [subject for subject, found in self._findings.items() if found["severity"]]

    def alarm(self, subject: Subject) -> JSONObject | None:
        """The finding, if it is an alarm."""
        finding = self._findings.get(subject)
        return finding if finding and finding["severity"] else None

    def is_calm(self, subject: Subject) -> bool:
        """Also if it is not compared any more, but not if there is no verdict about it."""
        finding = self._findings.get(subject)
        if finding is None:
            return subject.segment not in self._segments_without_verdict
        value, threshold, p_value = (finding[name] for name in ("value", "threshold", "adjusted_p"))
        if finding["severity"] or value is None or threshold is None:
            return False
        # Of a small window, the difference alone may be large by chance, time and again.
        return value < threshold / 2 or p_value is None or p_value > MIN_CALM_P_VALUE


@dataclass(frozen=True, slots=True)
class History:
    """The findings of the last windows with a verdict, newest first."""

    windows: Sequence[Verdicts]

    def alarms(self, subject: Subject) -> list[JSONObject]:
        """The alarms among the windows looked at, newest first."""
        found = (window.alarm(subject) for window in self.windows[:WINDOWS_LOOKED_AT])
        return [finding for finding in found if finding is not None]

    def is_established(self, subject: Subject) -> bool:
        """Whether it was an alarm in enough windows to open an alert."""
        return len(self.alarms(subject)) >= WINDOWS_TO_OPEN

    def severity(self, subject: Subject) -> Severity:
        """The worst that was reached in as many windows as it takes to open an alert."""
        ranks = sorted(rank(finding["severity"]) for finding in self.alarms(subject))[::-1]
        return SEVERITIES[ranks[WINDOWS_TO_OPEN - 1]]

    def is_over(self, subject: Subject) -> bool:
        """Whether the finding is gone, or well below its threshold, for long enough."""
        recent = self.windows[:WINDOWS_TO_CLOSE]
        return len(recent) == WINDOWS_TO_CLOSE and all(window.is_calm(subject) for window in recent)


def update_alerts(report: MonitorReport) -> None:
    """Open, change and close the alerts of a new report, in its transaction.

    The caller has locked the monitor, so that nobody else changes its alerts. Nothing happens if
    there is a report of a later window, or if the version has been deactivated: alerts tell of now.
    """
    if not ModelVersion.objects.filter(pk=report.model_id, is_active=True).exists():
        return
    reports = MonitorReport.objects.filter(
        monitor=report.monitor_id, model=report.model_id, reference=report.reference_id
    )
    if reports.filter(until__gt=report.until).exists():
        return
    if report.status == MonitorReport.Status.TOO_FEW_ROWS:
        return
    with_verdict = reports.exclude(status=MonitorReport.Status.TOO_FEW_ROWS).newest_first()
    history = History([Verdicts(row) for row in with_verdict[:WINDOWS_LOOKED_AT]])
    alerts = Alert.objects.open().select_related("model", "monitor")
    is_open = {
        Subject(alert.kind, alert.variable, alert.segment): alert
        for alert in alerts.filter(monitor=report.monitor_id, model=report.model_id)
    }
    for subject, alert in is_open.items():
        finding = history.windows[0].alarm(subject)
        if finding is not None:
            _renew(alert, finding, subject, history, report)
        elif history.is_over(subject):
            close(alert)
    for subject in history.windows[0].alarms():
        if subject not in is_open and history.is_established(subject):
            _open(subject, history, report)


def _open(subject: Subject, history: History, report: MonitorReport) -> None:
    finding = history.windows[0].alarm(subject)
    assert finding is not None
    alert = Alert.objects.create(
        monitor=report.monitor,
        model=report.model,
        **subject._asdict(),
        severity=history.severity(subject),
        window_until=report.until,
        reason=_reason(finding),
        finding=finding,
    )
    announce(ALERT_OPENED, alert)
    end_canary_of(alert)


def _renew(
    alert: Alert, finding: JSONObject, subject: Subject, history: History, report: MonitorReport
) -> None:
    alert.reason, alert.finding, alert.window_until = _reason(finding), finding, report.until
    is_worse = False
    if history.is_established(subject):
        severity = history.severity(subject)
        # Never less while it is open: it must show how bad it was.
        is_worse = rank(severity) > rank(alert.severity)
        if is_worse:
            alert.severity = severity
    alert.save(update_fields=["reason", "finding", "window_until", "severity"])
    if is_worse:
        announce(ALERT_ESCALATED, alert)
        end_canary_of(alert)


def close_alerts_of(monitor: Monitor) -> None:
    """Close the open alerts of a monitor that reports nothing any more, in the same transaction.

    The caller has locked the monitor.
    """
    for alert in monitor.alerts.open().select_related("model", "monitor"):
        close(alert)


def close_alerts_of_inactive_versions(monitor: Monitor) -> None:
    """Close the open alerts of versions that were deactivated: nothing is answered by them."""
    with transaction.atomic():
        Monitor.objects.select_for_update(no_key=True, of=("self",)).filter(pk=monitor.pk).first()
        alerts = monitor.alerts.open().filter(model__is_active=False)
        for alert in alerts.select_related("model", "monitor"):
            close(alert)


def close(alert: Alert) -> None:
    alert.closed_at = timezone.now()
    alert.save(update_fields=["closed_at"])
    announce(ALERT_CLOSED, alert)


def _reason(finding: JSONObject) -> str:
    return str(finding["reason"])[:MAX_REASON_LENGTH]
