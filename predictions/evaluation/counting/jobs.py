"""Counting as a job: to catch up after a reference was set, or after the worker was off."""

from predictions.evaluation.counting.work import count_due
from predictions.following import LogRestored
from predictions.jobs.kinds import JobKind
from predictions.jobs.running import RunningJob
from predictions.jobs.visibility import require_permission
from predictions.models import StaleHour
from registry.access.accessor import Accessor
from registry.exact_json.serializers import StrictSerializer
from registry.exact_json.values import JSONObject

PERMISSION = "predictions.change_monitor"


class CountingParameters(StrictSerializer):
    """There are none: all versions are counted together."""


def require_rights(accessor: Accessor, parameters: JSONObject) -> str:
    require_permission(accessor, PERMISSION)
    return ""


def run(running: RunningJob) -> JSONObject:
    """Count all that can be counted now; each prediction is counted once, whoever counts it."""
    count(running)
    return {"rows": running.rows_done, "hours_left": StaleHour.objects.count()}


def count(running: RunningJob) -> None:
    """Count as a step of a job; its rows are the progress, and committed together with it. Raises
    JobStopped or LogRestored.
    """

    def commit(n_rows: int) -> None:
        running.checkpoint(running.cursor, running.rows_done + n_rows)

    count_due(lambda: not running.is_stopping(), commit)
    running.require_running()


COUNTING_NOW = JobKind(
    name="counting",
    description="Counts the predictions of versions with a reference by the hour, for monitors.",
    parameters=CountingParameters,
    require_rights=require_rights,
    run=run,
    permission=PERMISSION,
    explained=(LogRestored,),
)
