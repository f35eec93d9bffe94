"""The gauges of alerts and of the newest reports, for /metrics.

They are read from the database by the process that answers the scrape: monitors may run in another
process or by cron. It does not wait long, since scrapes must be answered while the database is not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Count, F, OuterRef, Subquery
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from predictions.evaluation.drift.comparisons import Kind
from predictions.models import Alert, Monitor, MonitorReport
from registry.access.background import Background
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion

SECONDS_BETWEEN_READINGS = 10
# Otherwise each of several workers would show what it read at the scrape before.
MAX_WAIT_SECONDS = 1.0
# Of each report, the variables that have moved most: Prometheus keeps each series for long.
MAX_VARIABLES = 20
# Of all reports together.
MAX_REPORTS = 500
ALERTS_OPEN = "mlapi_alerts_open"
REPORTED_UNTIL = "mlapi_monitor_reported_until_timestamp_seconds"
ROWS = "mlapi_monitor_rows"
PSI = "mlapi_monitor_psi"
ESTIMATED_ACCURACY = "mlapi_monitor_estimated_accuracy"
MEASURED_ACCURACY = "mlapi_monitor_measured_accuracy"
ACCURACIES = {
    Kind.ESTIMATED_QUALITY: ESTIMATED_ACCURACY,
    Kind.MEASURED_QUALITY: MEASURED_ACCURACY,
}
DESCRIPTIONS = {
    ALERTS_OPEN: "Open alerts of monitors, acknowledged or not, by version and severity.",
    REPORTED_UNTIL: "The end of the newest window that a monitor has reported of a version.",
    ROWS: "Rows of that window.",
    PSI: "Population stability index of that window against the reference, without its bias, of the"
    " variables that have moved most.",
    ESTIMATED_ACCURACY: "Accuracy of that window, estimated from the confidences.",
    MEASURED_ACCURACY: "Accuracy of the outcomes that were recorded in that window.",
}
LABELS = {
    ALERTS_OPEN: ("model", "severity"),
    REPORTED_UNTIL: ("model", "monitor"),
    ROWS: ("model", "monitor"),
    PSI: ("model", "monitor", "variable"),
    ESTIMATED_ACCURACY: ("model", "monitor"),
    MEASURED_ACCURACY: ("model", "monitor"),
}


@dataclass(frozen=True, slots=True)
class _Sample:
    name: str
    labels: tuple[str, ...]
    value: float


class MonitorGauges:
    """What was read last; each call that finds it old has it read again."""

    def __init__(self) -> None:
        self._samples: Sequence[_Sample] = ()
        # By report, which never changes: its findings may have megabytes.
        self._of_reports: Mapping[int, Sequence[_Sample]] = {}
        self._background = Background("monitor-gauges", self.read, SECONDS_BETWEEN_READINGS)

    def families(self) -> list[Metric]:
        self._background.poke_and_wait(MAX_WAIT_SECONDS)
        families = {
            name: GaugeMetricFamily(name, text, labels=LABELS[name])
            for name, text in DESCRIPTIONS.items()
        }
        for sample in self._samples:
            families[sample.name].add_metric(sample.labels, sample.value)
        return list(families.values())

    def read(self) -> None:
        """Read them now."""
        newest = _newest_reports()
        known = {pk: samples for pk, samples in self._of_reports.items() if pk in newest}
        missing = MonitorReport.objects.filter(pk__in=newest - known.keys())
        for report in missing.select_related("model", "monitor").iterator(20):
            known[report.pk] = list(_samples_of(report))
        self._of_reports = known
        self._samples = [*_open_alerts(), *(each for pk in known for each in known[pk])]


GAUGES = MonitorGauges()


def _open_alerts() -> Iterable[_Sample]:
    """Of every version with an active monitor: a count that ends at 0 is seen to end."""
    counts: dict[tuple[str, str], int] = {}
    watched = ModelVersion.objects.filter(
        is_active=True, references__isnull=False, registered_model__monitors__is_active=True
    )
    for name, version in watched.values_list("name", "version").distinct():
        counts |= {(f"{name}:{version}", severity): 0 for severity in ("warning", "severe")}
    rows = Alert.objects.open().order_by().values("model__name", "model__version", "severity")
    for row in rows.annotate(n=Count("pk")):
        counts[f"{row['model__name']}:{row['model__version']}", row["severity"]] = row["n"]
    return [_Sample(ALERTS_OPEN, labels, n) for labels, n in counts.items()]


def _newest_reports() -> set[int]:
    """The newest report of each active monitor and version, by an index for each pair."""
    reports = MonitorReport.objects.filter(monitor=OuterRef("pk"), model=OuterRef("version_id"))
    pairs = (
        Monitor.objects.filter(is_active=True, registered_model__versions__is_active=True)
        .order_by("-pk")
        .values(version_id=F("registered_model__versions__id"))
        .annotate(newest=Subquery(reports.order_by("-until").values("pk")[:1]))
        .filter(newest__isnull=False)
    )
    return set(pairs.values_list("newest", flat=True)[:MAX_REPORTS])


def _samples_of(report: MonitorReport) -> Iterable[_Sample]:
    labels = (str(report.model), report.monitor.name)
    yield _Sample(REPORTED_UNTIL, labels, report.until.timestamp())
    yield _Sample(ROWS, labels, report.rows)
    moved: list[JSONObject] = []
    for finding in report.findings:
        if finding["segment"] or finding["value"] is None:
            continue
        if finding["effect"] == "psi":
            moved.append(finding)
        elif name := ACCURACIES.get(finding["kind"]):
            accuracy = finding["figures"].get("accuracy")
            if accuracy is not None:
                yield _Sample(name, labels, accuracy)
    moved.sort(key=lambda finding: finding["value"], reverse=True)
    for finding in moved[:MAX_VARIABLES]:
        yield _Sample(PSI, (*labels, finding["variable"]), finding["value"])
