"""Runs one job until it succeeds, fails, is cancelled, or has to wait for another attempt."""

import logging
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.db.models import F
from django.db.models.functions import Greatest
from rest_framework.exceptions import ValidationError
from rest_framework.settings import api_settings

from predictions.jobs import kinds
from predictions.jobs.finishing import finish
from predictions.jobs.kinds import JobKind
from predictions.jobs.running import (
    JobCancelled,
    JobFailed,
    JobInterrupted,
    JobTaken,
    RunningJob,
)
from predictions.jobs.visibility import NO_LONGER_ALLOWED, creator_refusal
from predictions.jobs.worker.heartbeat import heartbeat
from predictions.models import Job
from predictions.models.jobs import JobQuerySet
from predictions.models.predictions import MAX_ERROR_LENGTH
from predictions.serving.records import storable_reason
from registry.access.accessor import Accessor
from registry.database import clock
from registry.exact_json.values import JSONObject
from registry.models import ModelNotFound
from registry.work.kinds import IsStopping

# Before the second, third ... attempt without progress: 5 s, 20 s, 80 s and so on.
FIRST_RETRY_SECONDS, RETRY_FACTOR, MAX_RETRY_SECONDS = 5.0, 4.0, 600.0
JITTER = 0.2
UNEXPECTED = (
    "An unexpected error occurred. The log of the worker has it, with the number of the job."
)

logger = logging.getLogger(__name__)


def run(job: Job, is_stopping: IsStopping) -> None:
    """Run a job that `take_due` has returned, and record what came of it.

    Raises an exception that the kind of job does not expect, after it is recorded, and database
    errors if nothing can be recorded: the job is then due again when its lease ends.
    """
    kind = kinds.find(job.kind)
    assert job.lease is not None
    running = RunningJob(job, {}, _accessor_of(job), job.lease, is_stopping)
    try:
        with heartbeat(running):
            result = _run(kind, running)
    except JobTaken as error:
        logger.warning("%s; this worker leaves it", error)
    except JobInterrupted:
        _queue(running, timedelta(), is_attempt=False)
    except JobCancelled:
        finish(job, Job.Status.CANCELLED, within=_mine(running))
    except Exception as error:
        # The connection may be the reason. (Only tests have an open transaction here.)
        if not connection.in_atomic_block:
            close_old_connections()
        if not _handle(kind, running, error):
            raise
    else:
        finish(job, Job.Status.SUCCEEDED, within=_mine(running), result=result)


def _run(kind: JobKind, running: RunningJob) -> JSONObject:
    if running.job.is_cancel_requested:
        raise JobCancelled
    try:
        # Validated again: the limits of settings may have changed since then.
        payload = kind.parameters(data=running.job.parameters)
        payload.is_valid(raise_exception=True)
        running.parameters = payload.validated_data
        _require_rights(kind, running)
    except ValidationError as error:
        reasons = "; ".join(_reasons(error.detail))
        raise JobFailed(f"Its parameters are not valid any more: {reasons}") from error
    return kind.run(running)


def _reasons(detail: Any, path: str = "") -> Iterator[str]:
    """What is wrong with each parameter, by its path: `filters.model: This field is required.`"""
    if isinstance(detail, dict):
        for name, below in detail.items():
            yield from _reasons(below, f"{path}.{name}".removeprefix("."))
    elif isinstance(detail, list):
        for below in detail:
            yield from _reasons(below, path)
    else:
        yield f"{path}: {detail}".removeprefix(f"{api_settings.NON_FIELD_ERRORS_KEY}: ")


def _require_rights(kind: JobKind, running: RunningJob) -> None:
    if refusal := creator_refusal(running.accessor):
        raise JobFailed(refusal)
    try:
        kind.require_rights(running.accessor, running.parameters)
    except (PermissionDenied, ModelNotFound) as error:
        raise JobFailed(f"{NO_LONGER_ALLOWED}: {error}") from error


def _accessor_of(job: Job) -> Accessor:
    return Accessor(job.created_by, job.api_key)


def _handle(kind: JobKind, running: RunningJob, error: Exception) -> bool:
    """Record that an attempt has failed; whether its error is one that the kind expects."""
    job = running.job
    is_expected = isinstance(error, (JobFailed, *kind.explained))
    if not is_expected and isinstance(error, (OperationalError, InterfaceError, *kind.retried)):
        is_database = not isinstance(error, kind.retried)
        reason = "The database was unavailable" if is_database else storable_reason(error)
        logger.warning("%s failed in attempt %d: %s", job, job.attempts, error)
        if job.attempts < kind.max_attempts:
            _queue(running, _pause(job.attempts), error=reason)
        else:
            ending = f" (in each of {job.attempts} attempts)"
            reason = reason[: MAX_ERROR_LENGTH - len(ending)] + ending
            finish(job, Job.Status.FAILED, within=_mine(running), error=reason)
        return True
    reason = storable_reason(error) if is_expected else UNEXPECTED
    finish(job, Job.Status.FAILED, within=_mine(running), error=reason)
    return is_expected


def _pause(attempts: int) -> timedelta:
    seconds = min(FIRST_RETRY_SECONDS * RETRY_FACTOR ** (attempts - 1), MAX_RETRY_SECONDS)
    return timedelta(seconds=seconds * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311


def _queue(
    running: RunningJob, pause: timedelta, *, error: str = "", is_attempt: bool = True
) -> None:
    """Queue the job again, to be taken after the pause."""
    attempts = F("attempts") if is_attempt else Greatest(F("attempts") - 1, 0)
    _mine(running).update(
        status=Job.Status.QUEUED,
        lease=None,
        due_at=clock.now() + pause,
        attempts=attempts,
        error=error,
    )


def _mine(running: RunningJob) -> JobQuerySet:
    return Job.objects.filter(pk=running.job.pk, lease=running.lease)
