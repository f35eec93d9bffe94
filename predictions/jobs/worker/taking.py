"""Which job is next, and how many wait."""

import uuid
from datetime import timedelta

from django.db.models import Count, F, Min, Value
from django.db.models.functions import Coalesce

from predictions.jobs import kinds
from predictions.jobs.finishing import finish
from predictions.jobs.running import LEASE
from predictions.metrics import JOBS_OLDEST_QUEUED_SECONDS, JOBS_UNFINISHED
from predictions.models import Job
from predictions.models.jobs import JobQuerySet
from registry.database import clock
from registry.work.kinds import Backlog

# Others may take the same job first; then the next one is tried.
MAX_TRIES = 10


def take_due() -> Job | None:
    """Claim the job that has been due for longest, by compare-and-swap.

    A job whose lease has ended is due as well: its worker has died. One that has used up its
    attempts in this way fails here, and one that was cancelled meanwhile ends here.
    """
    for _ in range(MAX_TRIES):
        job = _due().order_by("due_at", "id").first()
        if job is None:
            return None
        if job.status == Job.Status.RUNNING and _ends_without_worker(job):
            continue
        now, lease = clock.now(), uuid.uuid4()
        if _untouched(job).update(
            status=Job.Status.RUNNING,
            lease=lease,
            due_at=now + LEASE,
            attempts=F("attempts") + 1,
            started_at=Coalesce("started_at", Value(now)),
        ):
            taken = Job.objects.select_related("created_by", "api_key")
            return taken.filter(pk=job.pk, lease=lease).first()
    return None


def _due() -> JobQuerySet:
    # A job of a newer release waits for a worker that knows its kind.
    known = [kind.name for kind in kinds.registered()]
    return Job.objects.unfinished().filter(due_at__lte=clock.now(), kind__in=known)


def _untouched(job: Job) -> JobQuerySet:
    return Job.objects.filter(pk=job.pk, status=job.status, lease=job.lease, due_at=job.due_at)


def _ends_without_worker(job: Job) -> bool:
    """End a job whose worker has died, if it must not be started again."""
    if job.is_cancel_requested:
        finish(job, Job.Status.CANCELLED, within=_untouched(job))
        return True
    if job.attempts < kinds.find(job.kind).max_attempts:
        return False
    error = (
        f"Its worker died in each of {job.attempts} attempts that made no progress: too little"
        " memory, or a row that crashes the model?"
    )
    finish(job, Job.Status.FAILED, within=_untouched(job), error=error)
    return True


def measure() -> Backlog:
    """The unfinished jobs, also by kind for their own metrics."""
    now = clock.now()
    rows = Job.objects.unfinished().values("kind", "status")
    counts = {
        (row["kind"], row["status"]): row
        for row in rows.annotate(n=Count("pk"), oldest=Min("due_at")).order_by()
    }
    oldest_seconds = 0.0
    for kind in kinds.registered():
        for status in Job.UNFINISHED:
            found = counts.get((kind.name, status))
            JOBS_UNFINISHED.labels(kind.name, status).set(found["n"] if found else 0)
        queued = counts.get((kind.name, Job.Status.QUEUED))
        age = now - queued["oldest"] if queued else timedelta()
        seconds = max(0.0, age.total_seconds())
        JOBS_OLDEST_QUEUED_SECONDS.labels(kind.name).set(seconds)
        oldest_seconds = max(oldest_seconds, seconds)
    return Backlog(sum(row["n"] for row in counts.values()), oldest_seconds)
