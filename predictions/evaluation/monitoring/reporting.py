"""Reporting a window: what is compared, and its report with the alerts that follow from it."""

from typing import Any

from django.db import transaction

from predictions.evaluation.counting.plans import profile_of
from predictions.evaluation.counting.reading import counts_of, is_current
from predictions.evaluation.counting.segments import expand
from predictions.evaluation.drift.comparisons import Kind
from predictions.evaluation.drift.findings import Finding, compare
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.monitoring.alerts.lifecycle import update_alerts
from predictions.evaluation.monitoring.measured_quality import measured_quality
from predictions.evaluation.monitoring.windows import Window
from predictions.models import MAX_SEGMENT_LENGTH, Monitor, MonitorReport


class Outdated(Exception):
    """What the window is compared with has changed meanwhile: it must be reported later."""


def report(window: Window) -> MonitorReport | None:
    """Compare the window's counts with its reference. The report and what it changes of alerts are
    one transaction.

    None if the window has a report by now, if another process was faster, or if the monitor was
    deleted. Counts cost the same however many rows they stand for; outcomes are read one by one.
    Raises Outdated if the reference, the segments or rows of the window have changed since.
    """
    profile = profile_of(window.reference.pk)
    rows, findings = _compared(window, profile)
    with transaction.atomic():
        # Reports of one monitor wait for each other: alerts follow from several.
        locked = Monitor.objects.select_for_update(no_key=True, of=("self",))
        monitor = locked.filter(pk=window.monitor.pk, is_active=True).first()
        existing = MonitorReport.objects.filter(
            monitor=window.monitor, model=window.reference.model_id, until=window.until
        )
        if monitor is None or existing.exists():
            return None
        has_same_segments = monitor.segments == window.monitor.segments
        if not rows or not has_same_segments or not is_current(*window.counted):
            raise Outdated
        row = MonitorReport.objects.create(
            monitor=monitor,
            model=window.reference.model,
            reference=window.reference,
            since=window.since,
            until=window.until,
            rows=rows,
            status=_status(findings),
            findings=[finding.as_json() for finding in findings],
        )
        update_alerts(row)
    return row


def _compared(window: Window, profile: Profile) -> tuple[int, list[Finding]]:
    """The rows of the window, and all its findings, alarms first."""
    segments = ["", *segment_texts(window.monitor, profile)]
    reference, since, until = window.counted
    counts = counts_of(reference, segments, since, until)
    everything = counts[""]
    findings = compare(profile, counts)
    measured = measured_quality(
        reference.model,
        profile.quality,
        since,
        until,
        independent=everything.n_effective / everything.rows if everything.rows else 1.0,
    )
    if measured is not None:
        findings.insert(0 if measured.severity else _number_of_alarms(findings), measured)
    return everything.rows, findings


def segment_texts(monitor: Monitor, profile: Profile) -> list[str]:
    """The segments that a monitor compares, as the counts name them."""
    expanded: list[Any] = [
        segment for definition in monitor.segments for segment in expand(definition, profile)
    ]
    texts = dict.fromkeys(segment.text for segment in expanded)
    return [text for text in texts if len(text) <= MAX_SEGMENT_LENGTH]


def _number_of_alarms(findings: list[Finding]) -> int:
    return sum(finding.severity is not None for finding in findings)


def _status(findings: list[Finding]) -> MonitorReport.Status:
    if _number_of_alarms(findings):
        return MonitorReport.Status.ALARM
    without_verdict = (Kind.TOO_FEW_ROWS, Kind.NO_REFERENCE)
    if any(finding.kind in without_verdict and not finding.segment for finding in findings):
        return MonitorReport.Status.TOO_FEW_ROWS
    return MonitorReport.Status.OK
