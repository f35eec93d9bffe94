"""The gauges of alerts and of the newest reports."""

import threading
from collections.abc import Iterable

import pytest
from django.utils import timezone
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from predictions.evaluation.monitoring import metrics
from predictions.evaluation.monitoring.metrics import MonitorGauges
from predictions.models import Alert, Monitor, MonitorReport
from predictions.testing.monitors import (
    MIDNIGHT,
    finding,
    make_alert,
    make_monitor,
    make_reference,
    make_report,
)
from predictions.testing.rows import REGRESSOR_SIGNATURE, make_version
from registry.access.background import Background
from registry.models import ModelVersion


@pytest.fixture
def version(db: None) -> ModelVersion:
    version = make_version(REGRESSOR_SIGNATURE)
    make_reference(version)
    make_monitor(version)
    return version


def text_of(gauges: MonitorGauges) -> str:
    class Families(Collector):
        def collect(self) -> Iterable[Metric]:
            return gauges.families()

    registry = CollectorRegistry()
    registry.register(Families())
    return generate_latest(registry).decode()


def read() -> str:
    gauges = MonitorGauges()
    gauges.read()
    return text_of(gauges)


def test_open_alerts_are_counted_by_version_and_severity(version: ModelVersion) -> None:
    assert 'mlapi_alerts_open{model="m:1",severity="severe"} 0.0' in read()

    for number in range(3):
        make_alert(version, variable=f"input:{number}")
    make_alert(version, severity="severe")
    Alert.objects.filter(variable="input:0").update(closed_at=timezone.now())
    Alert.objects.filter(variable="input:1").update(acknowledged_at=timezone.now())

    text = read()
    assert 'mlapi_alerts_open{model="m:1",severity="warning"} 2.0' in text
    assert 'mlapi_alerts_open{model="m:1",severity="severe"} 1.0' in text


def test_figures_are_those_of_the_newest_report(version: ModelVersion) -> None:
    monitor = make_monitor(version)
    accuracy = {"figures": {"accuracy": 0.75}}
    make_report(None, finding(value=0.9), monitor=monitor, version=version)
    newest = make_report(
        None,
        finding(value=0.3),
        finding(None, value=0.01, variable="prediction", kind="prediction_drift"),
        finding(value=0.7, segment="arm=canary"),
        finding(None, effect="l_infinity", variable="input:plan"),
        finding(None, kind="estimated_quality", variable="", effect="accuracy_drop", **accuracy),
        finding(None, kind="measured_quality", variable="", value=None, effect=""),
        monitor=monitor,
        version=version,
        day=1,
        rows=321,
    )

    text = read()

    labels = 'model="m:1",monitor="daily"'
    assert f'mlapi_monitor_psi{{{labels},variable="input:x"}} 0.3' in text
    assert f'mlapi_monitor_psi{{{labels},variable="prediction"}} 0.01' in text
    assert "input:plan" not in text
    assert f"mlapi_monitor_rows{{{labels}}} 321.0" in text
    assert f"mlapi_monitor_estimated_accuracy{{{labels}}} 0.75" in text
    assert "mlapi_monitor_measured_accuracy{" not in text
    until = newest.until.timestamp()
    [line] = [line for line in text.splitlines() if line.startswith(metrics.REPORTED_UNTIL)]
    assert float(line.rsplit(" ", 1)[1]) == until > MIDNIGHT.timestamp()


def test_the_number_of_series_is_bounded(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [finding(None, variable=f"input:{i}", value=i / 1000) for i in range(50)]
    make_report(None, *findings, monitor=make_monitor(version), version=version)

    text = read()
    assert text.count("mlapi_monitor_psi{") == metrics.MAX_VARIABLES
    assert 'variable="input:49"' in text

    make_report(None, monitor=make_monitor(version, name="other"), version=version)
    monkeypatch.setattr(metrics, "MAX_REPORTS", 1)
    assert read().count("mlapi_monitor_rows{") == 1


def test_what_is_not_watched_has_no_series(version: ModelVersion) -> None:
    make_report(None, finding(), monitor=make_monitor(version), version=version)
    Monitor.objects.update(is_active=False)

    assert "{" not in read()


def test_findings_are_read_once(version: ModelVersion) -> None:
    make_report(None, finding(), monitor=make_monitor(version), version=version)
    gauges = MonitorGauges()
    gauges.read()
    MonitorReport.objects.update(findings=[])

    gauges.read()

    assert "mlapi_monitor_psi{" in text_of(gauges)


def test_a_scrape_does_not_wait_for_a_database_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests' own fixture keeps threads from starting.
    monkeypatch.undo()
    monkeypatch.setattr(metrics, "MAX_WAIT_SECONDS", 0.01)
    started, never = threading.Event(), threading.Event()

    def hang() -> None:
        started.set()
        never.wait(60)

    gauges = MonitorGauges()
    gauges._background = Background("test", hang, 60)

    assert "mlapi_alerts_open" in text_of(gauges)
    assert started.wait(30)
    never.set()


def test_a_scrape_waits_for_a_short_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    read: list[bool] = []
    background = Background("test", lambda: read.append(True), 60)

    background.poke_and_wait(30)

    assert read == [True]
