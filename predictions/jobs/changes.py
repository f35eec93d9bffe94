"""Creating, cancelling and retrying jobs: each is one transaction with its audit event."""

from datetime import timedelta

import orjson
from django.conf import settings
from django.db import IntegrityError, transaction

from predictions.jobs import kinds
from predictions.jobs.finishing import finish
from predictions.jobs.kinds import JobKind
from predictions.models import Job
from predictions.serving.idempotency import HEADER, Claim, KeyReused
from registry.access import audit
from registry.access.accessor import SYSTEM, Accessor
from registry.database import clock
from registry.exact_json.values import JSONObject
from registry.models import AuditEvent

# Queued and running jobs of one user.
MAX_UNFINISHED = 100


class TooManyJobs(Exception):
    """The user has too many unfinished jobs; the message is for the caller."""


class JobEnded(Exception):
    """The job has finished, so that it cannot be cancelled; the message is for the caller."""


class JobNotRetriable(Exception):
    """The job cannot be started again; the message is for the caller."""


def create(
    kind: JobKind,
    parameters: JSONObject,
    *,
    model_name: str,
    accessor: Accessor = SYSTEM,
    idempotency_key: str | None = None,
) -> Job:
    """A queued job; the earlier one if this request was made before.

    `parameters` are those of the request, which the kind's serializer has accepted. Raises
    InvalidKey, KeyReused or TooManyJobs.
    """
    claim = _claim(kind, parameters, accessor, idempotency_key)
    if claim is not None and (earlier := _find_earlier(claim)) is not None:
        return earlier
    _require_few_unfinished(accessor)
    now = clock.now()
    job = Job(
        kind=kind.name,
        model_name=model_name,
        parameters=parameters,
        created_by=accessor.user,
        api_key=accessor.key,
        created_at=now,
        due_at=now,
        idempotency_key=claim.key if claim else None,
        idempotency_digest=claim.digest if claim else "",
    )
    try:
        with transaction.atomic():
            job.save(force_insert=True)
            _record(AuditEvent.Action.JOB_CREATED, job, accessor)
    except IntegrityError:
        # Another request with this key was faster.
        if claim is None or (earlier := _find_earlier(claim)) is None:
            raise
        return earlier
    return job


def _require_few_unfinished(accessor: Accessor) -> None:
    if accessor.user is None:
        return
    if Job.objects.unfinished().filter(created_by=accessor.user).count() >= MAX_UNFINISHED:
        raise TooManyJobs(f"You have {MAX_UNFINISHED} unfinished jobs: wait until one has finished")


def _claim(
    kind: JobKind, parameters: JSONObject, accessor: Accessor, key: str | None
) -> Claim | None:
    if key is None or accessor.user is None:
        return None
    content = orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS)
    return Claim.of(accessor.user.pk, key, b"job", kind.name.encode(), content)


def _find_earlier(claim: Claim) -> Job | None:
    """The job of an earlier request with this key; raises KeyReused if that was another request."""
    rows = Job.objects.filter(created_by=claim.user_id, idempotency_key=claim.key)
    expired = clock.now() - timedelta(hours=settings.IDEMPOTENCY_KEY_HOURS)
    rows.filter(created_at__lte=expired).update(idempotency_key=None, idempotency_digest="")
    job = rows.select_related("created_by").first()
    if job is not None and job.idempotency_digest != claim.digest:
        raise KeyReused(f"{HEADER} {claim.key!r} was used for another request")
    return job


def cancel(job: Job, *, accessor: Accessor = SYSTEM) -> Job:
    """End a queued job at once, and have a running one end at its next checkpoint.

    Raises JobEnded. Cancelling a job again changes nothing.
    """
    with transaction.atomic():
        # A worker that takes or finishes it waits.
        row = Job.objects.select_for_update(of=("self",)).find(job.pk)
        if row.is_finished and row.status != Job.Status.CANCELLED:
            raise JobEnded(f"{row} has already {row.status}")
        if not (row.is_finished or row.is_cancel_requested):
            if row.status == Job.Status.QUEUED:
                finish(row, Job.Status.CANCELLED, within=Job.objects.filter(lease=None))
            else:
                Job.objects.filter(pk=row.pk).update(is_cancel_requested=True)
            _record(AuditEvent.Action.JOB_CANCELLED, row, accessor)
    return Job.objects.select_related("created_by").find(job.pk)


def retry(job: Job, *, accessor: Accessor = SYSTEM) -> Job:
    """Queue a failed or cancelled job again, to go on after its last checkpoint.

    Raises JobNotRetriable.
    """
    with transaction.atomic():
        # As it is now: its parameters are redacted when it ends.
        row = Job.objects.select_for_update(of=("self",)).find(job.pk)
        _require_retriable(row)
        Job.objects.filter(pk=row.pk).update(
            status=Job.Status.QUEUED,
            error="",
            attempts=0,
            due_at=clock.now(),
            finished_at=None,
        )
        _record(AuditEvent.Action.JOB_RETRIED, job, accessor)
    return Job.objects.select_related("created_by").find(job.pk)


def _require_retriable(job: Job) -> None:
    if job.status not in (Job.Status.FAILED, Job.Status.CANCELLED):
        raise JobNotRetriable(f"{job} has not failed, and was not cancelled")
    kind = kinds.get(job.kind)
    if kind is None:
        raise JobNotRetriable(f"This release has no jobs of kind {job.kind}")
    if not kind.parameters(data=job.parameters).is_valid():
        raise JobNotRetriable(
            f"The parameters of {job} are not kept, or are not valid any more: create another job"
        )


def _record(action: AuditEvent.Action, job: Job, accessor: Accessor) -> None:
    # Without the parameters, which may name a subject: events are kept for ever.
    audit.record(
        action,
        accessor,
        model=job.model_name,
        target=str(job),
        details={"job_id": job.pk, "kind": job.kind},
    )
