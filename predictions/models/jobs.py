"""The tables of jobs: long work that somebody has asked for, and the errors of its rows."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from predictions.models.idempotency_keys import MAX_KEY_LENGTH
from predictions.models.predictions import MAX_CALLERS_NAME_LENGTH, MAX_ERROR_LENGTH
from registry.exact_json.fields import ExactJSONField
from registry.models import ApiKey

MAX_JOB_KIND_LENGTH = 50
# Of one job. More are counted, but not stored.
MAX_JOB_ERRORS = 1000


class JobNotFound(LookupError):
    """No job has this ID, or the caller may not see it; the message is for the caller."""


class JobQuerySet(models.QuerySet["Job"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def matching(
        self, *, kind: str | None = None, status: str | None = None, model: str | None = None
    ) -> Self:
        """The rows that match the filters of the list endpoint."""
        filters = {"kind": kind, "status": status, "model_name": model}
        return self.filter(**{key: value for key, value in filters.items() if value is not None})

    def unfinished(self) -> Self:
        return self.filter(status__in=Job.UNFINISHED)

    def find(self, job_id: int) -> "Job":
        """Raises JobNotFound."""
        job = self.filter(pk=job_id).first()
        if job is None:
            raise JobNotFound(f"Job {job_id} not found")
        return job


class Job(models.Model):
    """One piece of work, which a worker does.

    A worker that takes it writes a `lease` of its own and moves `due_at` to the end of that lease,
    which it renews while it works. If the worker dies, the job is due again then, and goes on after
    `cursor`. Every later write is conditional on the lease, so that a worker that has lost it
    changes nothing any more.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    UNFINISHED = (Status.QUEUED.value, Status.RUNNING.value)

    kind = models.CharField(max_length=MAX_JOB_KIND_LENGTH)
    # A name and not a key: the job outlives the model, and may be about none.
    model_name = models.CharField(
        "model",
        max_length=100,
        blank=True,
        default="",
        help_text="The registered model that it is about, if it is about one.",
    )
    parameters = ExactJSONField(default=dict, help_text="As the caller has sent them.")
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    rows_done = models.BigIntegerField(default=0)
    rows_expected = models.BigIntegerField(null=True, help_text="Unknown until it is counted.")
    cursor = ExactJSONField(null=True, help_text="Where an interrupted job continues.")
    result = ExactJSONField(null=True)
    error = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True, default="")
    error_count = models.BigIntegerField(default=0, help_text="How many rows had an error.")
    attempts = models.PositiveIntegerField(
        default=0, help_text="How often it was started since it last made progress."
    )
    # When it may be taken: after a pause while queued, at the end of the lease while running.
    due_at = models.DateTimeField(default=timezone.now)
    lease = models.UUIDField(null=True)
    is_cancel_requested = models.BooleanField(default=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    api_key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    idempotency_key = models.CharField(  # noqa: DJ001
        max_length=MAX_KEY_LENGTH, null=True
    )
    idempotency_digest = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, help_text="When it was started the first time.")
    finished_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        db_table = "jobs"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["queued", "running"], finished_at=None)
                | Q(
                    status__in=["succeeded", "failed", "cancelled"],
                    finished_at__isnull=False,
                ),
                name="job_finished_has_time",
            ),
            models.CheckConstraint(
                condition=Q(status="running", lease__isnull=False, started_at__isnull=False)
                | ~Q(status="running") & Q(lease=None),
                name="job_running_has_lease",
            ),
            models.CheckConstraint(
                condition=Q(status="succeeded", result__isnull=False, error="")
                | ~Q(status="succeeded") & Q(result__isnull=True),
                name="job_succeeded_has_result",
            ),
            models.CheckConstraint(
                condition=~Q(status="failed") | ~Q(error=""), name="job_failed_says_why"
            ),
            models.CheckConstraint(
                condition=Q(rows_done__gte=0, error_count__gte=0)
                & (Q(rows_expected=None) | Q(rows_expected__gte=0)),
                name="job_counts_not_negative",
            ),
            # Its index finds the job of a repeated request. The user's other jobs have no key.
            models.UniqueConstraint(
                fields=["created_by", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="job_idempotency_key_unique",
            ),
        ]
        indexes = [
            # Workers: the job that is due first. Metrics and checks: those that are unfinished.
            models.Index(
                "due_at",
                "id",
                condition=Q(status__in=["queued", "running"]),
                name="job_due",
            ),
            # GET /jobs/ and the admin, newest first, by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="job_newest"),
            # The same of one model.
            models.Index(
                "model_name", F("created_at").desc(), F("id").desc(), name="job_newest_of_model"
            ),
            # The same of one status; cancelled and failed jobs are rare.
            models.Index(
                "status", F("created_at").desc(), F("id").desc(), name="job_newest_of_status"
            ),
            # The same of one user, who sees their own jobs, and the foreign key check.
            models.Index(
                "created_by", F("created_at").desc(), F("id").desc(), name="job_newest_of_user"
            ),
            # Pruning: finished jobs, the oldest first.
            models.Index(
                "finished_at",
                "id",
                condition=Q(finished_at__isnull=False),
                name="job_finished",
            ),
        ]

    def __str__(self) -> str:
        return f"Job {self.pk}"

    @property
    def is_finished(self) -> bool:
        return self.status not in self.UNFINISHED


class JobErrorQuerySet(models.QuerySet["JobError"]):
    def in_order(self) -> Self:
        return self.order_by("position", "id")


class JobError(models.Model):
    """Why one row of a job's input has no answer. The first MAX_JOB_ERRORS of a job are kept."""

    # No index of its own: the one below begins with it.
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="errors", db_index=False)
    position = models.BigIntegerField(help_text="Of the row, from 0.")
    reference = models.CharField(
        max_length=MAX_CALLERS_NAME_LENGTH,
        blank=True,
        default="",
        help_text="What the row itself says it is, if anything.",
    )
    message = models.CharField(max_length=MAX_ERROR_LENGTH)

    objects = JobErrorQuerySet.as_manager()

    class Meta:
        db_table = "job_errors"
        indexes = [
            # GET /jobs/{id}/errors/, by key.
            models.Index(fields=["job", "position", "id"], name="job_error_of_job"),
            # Erasures: the errors of one reference.
            models.Index(
                fields=["reference"], condition=~Q(reference=""), name="job_error_of_reference"
            ),
        ]

    def __str__(self) -> str:
        return f"Error of row {self.position} of job {self.job_id}"
