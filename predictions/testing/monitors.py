"""Monitors, reports and alerts that no monitor has made."""

from datetime import timedelta
from typing import Any

from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.tables import Table
from predictions.models import Alert, Monitor, MonitorReport, Reference
from predictions.testing.rows import NOON
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion, RegisteredModel

MIDNIGHT = NOON.replace(hour=0)


def make_monitor(version: ModelVersion, **fields: Any) -> Monitor:
    """A monitor of the version's model; one that there is already keeps its fields."""
    model = RegisteredModel.objects.get(name=version.name)
    name = fields.pop("name", "daily")
    monitor, _ = Monitor.objects.get_or_create(registered_model=model, name=name, defaults=fields)
    return monitor


def make_reference(version: ModelVersion, **fields: Any) -> Reference:
    """A reference whose profile has no variables."""
    profile = Profile.build(Table(1), salt="salt").as_json()
    values = {"source": "file", "rows": 1000, "profile": profile, "digest": "0" * 64}
    return Reference.objects.create(model=version, **{**values, **fields})


def finding(severity: str | None = "warning", **fields: Any) -> JSONObject:
    """A finding of drift, as reports have it."""
    return {
        "kind": "input_drift",
        "variable": "input:x",
        "segment": "",
        "severity": severity,
        "p_value": 1e-6,
        "adjusted_p": 1e-5,
        "effect": "psi",
        "value": 0.04 if severity is None else 0.3,
        "threshold": 0.1,
        "figures": {},
        "reason": "x moved from a median of 1 to 2",
        **fields,
    }


def too_few(segment: str = "") -> JSONObject:
    """The finding of a segment in which nothing was compared."""
    figures = dict.fromkeys(("p_value", "adjusted_p", "value", "threshold"))
    reason = "Too few rows: 7 of at least 100"
    about = {"kind": "too_few_rows", "variable": "", "segment": segment, "effect": ""}
    return finding(None, reason=reason, **about, **figures)


def make_report(
    alert: Alert | None = None,
    *findings: JSONObject,
    monitor: Monitor | None = None,
    version: ModelVersion | None = None,
    day: int = 0,
    **fields: Any,
) -> MonitorReport:
    """The report of a day, by default with one finding of the monitor and version of an alert."""
    if alert is not None:
        monitor, version = alert.monitor, alert.model
    assert monitor is not None
    assert version is not None
    since = MIDNIGHT + timedelta(days=day)
    reference = Reference.objects.filter(model=version).last() or make_reference(version)
    is_alarm = any(item["severity"] for item in findings)
    values = {"rows": 1000, "status": "alarm" if is_alarm else "ok", "findings": list(findings)}
    return MonitorReport.objects.create(
        monitor=monitor,
        model=version,
        reference=reference,
        since=since,
        until=since + timedelta(days=1),
        **{**values, **fields},
    )


def make_alert(version: ModelVersion, **fields: Any) -> Alert:
    """An open alert of a monitor of the version's model."""
    monitor = fields.pop("monitor", None) or make_monitor(version)
    values = {
        "kind": "input_drift",
        "variable": "input:x",
        "severity": "warning",
        "reason": "x moved from a median of 1 to 2",
        "finding": finding(),
        "window_until": NOON,
    }
    return Alert.objects.create(monitor=monitor, model=version, **{**values, **fields})
