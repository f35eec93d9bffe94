"""The event that a job has finished; docs/webhooks.md describes its data."""

from predictions.models import Job
from registry.webhooks.events import Event
from registry.webhooks.outbox import publish

JOB_FINISHED = Event("job.finished", "A job has succeeded, failed or been cancelled.")


def announce(job: Job, status: Job.Status, *, error: str = "") -> None:
    """Publish that a job has ended with this status, in the transaction that ends it.

    The result is left out: only those who may see the job may read it.
    """
    data = {
        "job_id": job.pk,
        "kind": job.kind,
        "status": status.value,
        "error": error,
        "rows": job.rows_done,
        "row_errors": job.error_count,
        "user_id": job.created_by_id,
    }
    publish(JOB_FINISHED, job.model_name, data)
