"""Monitoring as a job: the windows of one monitor, now or since an earlier time."""

from contextlib import suppress

from rest_framework import serializers

from predictions.evaluation.counting.work import count_due
from predictions.evaluation.fields import BoundedDateTimeField
from predictions.evaluation.monitoring.work import report_due
from predictions.following import LogRestored
from predictions.jobs.kinds import JobKind
from predictions.jobs.running import JobFailed, JobStopped, RunningJob
from predictions.models import Monitor, MonitorNotFound, MonitorReport
from registry.access import rights
from registry.access.accessor import Accessor
from registry.exact_json.serializers import StrictSerializer
from registry.exact_json.values import JSONObject
from registry.models import Right
from registry.pagination import MAX_ID


class MonitoringParameters(StrictSerializer):
    monitor_id = serializers.IntegerField(min_value=1, max_value=MAX_ID)
    since = BoundedDateTimeField(
        required=False,
        help_text="All windows that begin at this time or later and have no report; by default"
        " those since the last report of each version.",
    )


def require_rights(accessor: Accessor, parameters: JSONObject) -> str:
    """The model of the monitor; raises MonitorNotFound, or PermissionDenied unless the accessor may
    manage its versions.
    """
    monitor = Monitor.objects.visible_to(accessor).find(parameters["monitor_id"])
    rights.require(accessor, Right.MANAGE_VERSIONS, monitor.registered_model.name)
    return monitor.registered_model.name


def run(running: RunningJob) -> JSONObject:
    """Count, then report the windows that have no report; raises JobFailed if any cannot be."""
    monitor = Monitor.objects.find(running.parameters["monitor_id"])

    def may_continue() -> bool:
        return not running.is_stopping()

    def note(report: MonitorReport) -> None:
        n_alarms = _alarms(running) + (report.status == MonitorReport.Status.ALARM)
        # Not raised here: `report_due` ends by itself.
        with suppress(JobStopped):
            running.checkpoint({"alarms": n_alarms}, running.rows_done + 1)

    count_due(may_continue)
    running.require_running()
    totals = report_due(
        model=monitor.registered_model.name,
        name=monitor.name,
        since=running.parameters.get("since"),
        may_continue=may_continue,
        on_report=note,
    )
    running.require_running()
    if totals.failed:
        raise JobFailed(f"{totals.failed} windows could not be reported; see the log of the worker")
    return {"reports": running.rows_done, "alarms": _alarms(running)}


def _alarms(running: RunningJob) -> int:
    """How many of the job's reports are alarms, those of earlier attempts included."""
    return int((running.cursor or {"alarms": 0})["alarms"])


MONITORING_NOW = JobKind(
    name="monitoring",
    description="Reports the windows of one monitor that have ended.",
    parameters=MonitoringParameters,
    require_rights=require_rights,
    run=run,
    right=Right.MANAGE_VERSIONS,
    explained=(LogRestored, MonitorNotFound),
)
