"""The end of a job: its status and result, its event, and what is not kept of it."""

from django.db import transaction

from predictions.jobs import kinds
from predictions.jobs.announcements import announce
from predictions.metrics import JOBS_FINISHED
from predictions.models import Job
from predictions.models.jobs import JobQuerySet
from registry.database import clock
from registry.exact_json.values import JSONObject


def finish(
    job: Job,
    status: Job.Status,
    *,
    within: JobQuerySet,
    result: JSONObject | None = None,
    error: str = "",
) -> bool:
    """End a job with this status, if it is still among the rows of `within`; whether it was.

    The event is published in the same transaction. `error` is for the caller, and can be stored.
    """
    changes: dict[str, object] = {
        "status": status,
        "result": result,
        "error": error,
        "lease": None,
        "is_cancel_requested": False,
        "finished_at": clock.now(),
    }
    kind = kinds.get(job.kind)
    if kind is not None and kind.redact is not None:
        changes["parameters"] = kind.redact(job.parameters)
    with transaction.atomic():
        if not within.filter(pk=job.pk).update(**changes):
            return False
        announce(job, status, error=error)
    for name, value in changes.items():
        setattr(job, name, value)
    JOBS_FINISHED.labels(job.kind, status.value).inc()
    return True
