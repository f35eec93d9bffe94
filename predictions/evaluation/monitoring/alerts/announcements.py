"""Telling of alerts: events for webhooks, and mails.

Both are rows that are written in the transaction of the change, and sent by workers later.
"""

from datetime import datetime

from predictions.evaluation.drift.comparisons import Kind
from predictions.models import Alert, AlertMail, Severity
from registry.webhooks.events import Event
from registry.webhooks.outbox import publish

ALERT_OPENED = Event("alert.opened", "A monitor found something in two of three windows.")
ALERT_ESCALATED = Event("alert.escalated", "An open alert has become severe.")
ALERT_ACKNOWLEDGED = Event("alert.acknowledged", "Somebody is looking at an alert.")
ALERT_CLOSED = Event("alert.closed", "What an alert was about is over.")
EVENTS = (ALERT_OPENED, ALERT_ESCALATED, ALERT_ACKNOWLEDGED, ALERT_CLOSED)
# Of the finding; its reason may quote values of inputs.
FIGURES = ("effect", "value", "threshold", "adjusted_p")
# Kinds of findings whose reasons name single values: new categories, and the farthest numbers.
QUOTING_KINDS = (Kind.NEW_CATEGORIES, Kind.OUT_OF_RANGE)
# In the order of how bad they are.
SEVERITIES = (Severity.WARNING, Severity.SEVERE)


def announce(event: Event, alert: Alert) -> None:
    """Tell of what happened to an alert, unless its monitor wants only worse ones."""
    monitor = alert.monitor
    if rank(alert.severity) < rank(monitor.min_severity):
        return
    publish(event, alert.model.name, _data(alert))
    AlertMail.objects.bulk_create(
        AlertMail(alert=alert, event=event.name, address=address) for address in monitor.emails
    )


def rank(severity: str) -> int:
    return SEVERITIES.index(Severity(severity))


def reason_without_values(alert: Alert) -> str:
    """The reason for mails and for the history of aliases, from which nothing can be erased, and
    for people who may not read the log.
    """
    if alert.kind in QUOTING_KINDS:
        finding = alert.finding
        return f"{alert.what} ({finding['effect'].replace('_', ' ')} {finding['value']:.3g})"
    return alert.reason


def _data(alert: Alert) -> dict[str, object]:
    return {
        "alert_id": alert.pk,
        "monitor": {"id": alert.monitor_id, "name": alert.monitor.name},
        "version": {"model_id": alert.model_id, "version": alert.model.version},
        "kind": alert.kind,
        "variable": alert.variable,
        "segment": alert.segment,
        "severity": str(alert.severity),
        **{name: alert.finding.get(name) for name in FIGURES},
        "opened_at": _text(alert.opened_at),
        "window_until": _text(alert.window_until),
        "user_id": alert.acknowledged_by_id,
    }


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
