"""The end of a job: its status and result, its event, and the redaction of its parameters."""

import logging
from collections.abc import Callable

from django.db import transaction

from predictions.jobs import kinds
from predictions.jobs.announcements import announce
from predictions.metrics import JOBS_FINISHED
from predictions.models import Job
from predictions.models.jobs import JobQuerySet
from registry.database import clock
from registry.exact_json.values import JSONObject

logger = logging.getLogger(__name__)


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
    if status == Job.Status.SUCCEEDED and job.rows_expected is not None:
        # It may have been an estimate.
        changes["rows_expected"] = job.rows_done
    kind = kinds.get(job.kind)
    if kind is not None and kind.redact is not None:
        changes["parameters"] = _redacted(kind.redact, job)
    with transaction.atomic():
        if not within.filter(pk=job.pk).update(**changes):
            return False
        announce(job, status, error=error)
    for name, value in changes.items():
        setattr(job, name, value)
    JOBS_FINISHED.labels(job.kind, status.value).inc()
    return True


def _redacted(redact: Callable[[JSONObject], JSONObject], job: Job) -> JSONObject:
    """The parameters without names; empty if that fails, so that the job ends all the same."""
    try:
        return redact(job.parameters)
    except Exception:
        logger.exception("The parameters of %s cannot be redacted, and are not kept", job)
        return {}
