"""When monitors and reports are deleted, and what is kept until then."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from predictions.evaluation.monitoring import changes, work
from predictions.evaluation.monitoring.alerts.lifecycle import update_alerts
from predictions.models import Alert, Monitor, MonitorNotFound, MonitorReport
from predictions.testing.monitors import finding, make_monitor, make_report
from predictions.testing.rows import REGRESSOR_SIGNATURE, make_version
from registry.models import AuditEvent, ModelVersion, RegisteredModel

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def version() -> ModelVersion:
    version = make_version(REGRESSOR_SIGNATURE)
    make_monitor(version)
    return version


def test_a_monitor_is_deleted_with_a_report_that_is_being_written(version: ModelVersion) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    row, other, is_written = Monitor.objects.get(), Monitor.objects.get(), threading.Event()

    def write_report() -> None:
        try:
            with transaction.atomic():
                Monitor.objects.select_for_update(no_key=True, of=("self",)).find(row.pk)
                make_report(None, monitor=row, version=version)
                is_written.set()
                # Meanwhile the deletion gets as far as it can.
                time.sleep(0.5)
        finally:
            connections.close_all()

    thread = threading.Thread(target=write_report)
    thread.start()
    assert is_written.wait(10)
    changes.delete(other)
    thread.join()

    assert not Monitor.objects.exists()
    assert not MonitorReport.objects.exists()
    with pytest.raises(MonitorNotFound):
        changes.delete(row)
    event = AuditEvent.objects.get(action="monitor_changed")
    assert event.details["change"] == "deleted"


def test_alerts_open_although_the_retention_is_as_short_as_a_window(version: ModelVersion) -> None:
    now, row = timezone.now(), Monitor.objects.get()
    RegisteredModel.objects.update(retention_days=1)
    new = finding(kind="new_categories", reason="new: “Ada”", figures={"new": {"Ada": 1}})
    reports = [
        make_report(None, finding(), new, monitor=row, version=version, day=day) for day in range(3)
    ]
    for each, age in zip(reports, (80, 25, 1), strict=True):
        MonitorReport.objects.filter(pk=each.pk).update(until=now - timedelta(hours=age))

    work.tidy()
    work.tidy()

    # The oldest decides on nothing any more. The next does, and quotes nothing any more.
    kept = list(MonitorReport.objects.newest_first())
    assert kept == [reports[2], reports[1]]
    assert kept[0].findings == [finding(), new]
    assert kept[1].findings == [finding(), new | {"reason": work.NOT_KEPT, "figures": {}}]
    with transaction.atomic():
        update_alerts(kept[0])
    assert set(Alert.objects.values_list("kind", flat=True)) == {"input_drift", "new_categories"}
