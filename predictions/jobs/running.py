"""A job while a worker runs it: its position, its lease, and whether to go on."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.db import transaction

from predictions.models import MAX_JOB_ERRORS, Job, JobError
from predictions.models.predictions import MAX_CALLERS_NAME_LENGTH, MAX_ERROR_LENGTH
from registry.access.accessor import Accessor
from registry.database import clock
from registry.exact_json.values import JSONObject

# How often `progress` writes.
PROGRESS_SECONDS = 1.0
# How long after its last sign of life a worker counts as dead.
LEASE = timedelta(seconds=60)


class JobStopped(Exception):
    """The job must not go on now. Code between the worker and `checkpoint` lets it through."""


class JobCancelled(JobStopped):
    """Somebody has asked for the job to be cancelled: end without a result."""


class JobTaken(JobStopped):
    """The lease has ended, and another worker may be running the job: write nothing."""


class JobInterrupted(JobStopped):
    """The worker is stopping: the job goes on later, after its last checkpoint."""


class JobFailed(Exception):
    """The job cannot succeed, however often it is tried; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class RowError:
    """Why one row has no answer: its position in the input from 0, and what it says it is."""

    position: int
    message: str
    reference: str = ""


@dataclass(slots=True)
class RunningJob:
    """A job while a worker runs it.

    `parameters` are validated by the kind's serializer. `accessor` is who asked for the job.
    """

    job: Job
    parameters: JSONObject
    accessor: Accessor
    lease: UUID
    # Set by the worker, and by the thread that renews the lease; read between steps.
    is_worker_stopping: Callable[[], bool] = lambda: False
    is_cancel_requested: bool = field(default=False, init=False)
    is_lost: bool = field(default=False, init=False)
    refusal: str = field(default="", init=False)
    _progress_at: float = field(default=0.0, init=False)

    @property
    def cursor(self) -> JSONObject | None:
        """What the last checkpoint committed, also that of an earlier attempt."""
        cursor: JSONObject | None = self.job.cursor
        return cursor

    @property
    def rows_done(self) -> int:
        return self.job.rows_done

    def is_stopping(self) -> bool:
        """Whether to end after the current step, without a query. See `require_running`."""
        return (
            self.is_lost
            or self.is_cancel_requested
            or self.refusal != ""
            or self.is_worker_stopping()
        )

    def require_running(self) -> None:
        """Call it between steps; raises JobTaken, JobCancelled or JobInterrupted, or JobFailed if
        its creator may not run it any more.
        """
        if self.is_lost:
            raise JobTaken(f"{self.job} was taken by another worker")
        if self.is_cancel_requested:
            raise JobCancelled(f"{self.job} was cancelled")
        if self.refusal:
            raise JobFailed(self.refusal)
        if self.is_worker_stopping():
            raise JobInterrupted(f"{self.job} was interrupted")

    def expect(self, rows: int) -> None:
        """Record how many rows there are; raises JobTaken or JobCancelled."""
        rows = max(rows, self.rows_done)
        if rows != self.job.rows_expected:
            self._update(rows_expected=rows)

    def checkpoint(
        self, cursor: JSONObject | None, rows_done: int, errors: Sequence[RowError] = ()
    ) -> None:
        """Commit the position, with the errors of the rows up to it, and renew the lease.

        `rows_done` is the total so far. In an open transaction it is committed with that: what
        belongs to the position is then written exactly once. Raises JobTaken if another
        worker may have the job, JobCancelled if it is cancelled; the transaction must not be
        committed then.
        """
        changes: dict[str, object] = {"cursor": cursor, "rows_done": rows_done}
        if self.job.rows_expected is not None and rows_done > self.job.rows_expected:
            # An estimate, or rows that were added since.
            changes["rows_expected"] = rows_done
        if rows_done > self.job.rows_done:
            # Only attempts in a row without progress are counted.
            changes["attempts"] = 1
        if errors:
            changes["error_count"] = self.job.error_count + len(errors)
        with transaction.atomic():
            kept = errors[: max(0, MAX_JOB_ERRORS - self.job.error_count)]
            self._update(**changes)
            JobError.objects.bulk_create([_row_of(self.job, error) for error in kept])

    def progress(self, rows_done: int) -> None:
        """Record the number of rows, at most once a second, where no position can be committed.

        Raises nothing but database errors: a reason to stop is left to `is_stopping`.
        """
        if self.is_stopping() or time.monotonic() < self._progress_at:
            return
        self._progress_at = time.monotonic() + PROGRESS_SECONDS
        with suppress(JobStopped):
            # Never less: this attempt may be repeating what an interrupted one did.
            self.checkpoint(self.cursor, max(rows_done, self.rows_done))

    def _update(self, **changes: object) -> None:
        """Update the row while the lease is ours, and nobody has cancelled the job."""
        due_at = clock.now() + LEASE
        mine = Job.objects.filter(pk=self.job.pk, lease=self.lease)
        if not mine.filter(is_cancel_requested=False).update(due_at=due_at, **changes):
            self.is_cancel_requested = mine.filter(is_cancel_requested=True).exists()
            self.is_lost = not self.is_cancel_requested
            self.require_running()
        for name, value in changes.items():
            setattr(self.job, name, value)


def _row_of(job: Job, error: RowError) -> JobError:
    return JobError(
        job=job,
        position=error.position,
        reference=_storable(error.reference, MAX_CALLERS_NAME_LENGTH),
        message=_storable(error.message, MAX_ERROR_LENGTH),
    )


def _storable(text: str, max_length: int) -> str:
    # PostgreSQL stores neither NUL nor lone surrogates.
    return text.replace("\0", "").encode(errors="replace").decode()[:max_length]
