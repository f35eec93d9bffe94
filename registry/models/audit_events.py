"""The audit trail: who did what to keys, rights, versions and data, and who looked."""

from datetime import datetime
from typing import Self

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from registry.exact_json.fields import ExactJSONField
from registry.models.access import ApiKey


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def matching(
        self,
        *,
        action: str | None = None,
        user: str | None = None,
        model: str | None = None,
        request_id: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Self:
        """The rows that match the filters of the list endpoint; both times are exclusive."""
        filters: dict[str, object] = {
            "action": action,
            "model": model,
            "request_id": request_id,
            "created_at__gt": created_after,
            "created_at__lt": created_before,
        }
        rows = self.filter(**{key: value for key, value in filters.items() if value is not None})
        if user is None:
            return rows
        # Not a join: the planner knows how many rows this id has.
        users = get_user_model().objects.filter(username=user)
        user_id = users.values_list("pk", flat=True).first()
        return rows.none() if user_id is None else rows.filter(user_id=user_id)


class AuditEvent(models.Model):
    """One event. Rows are only ever added: database triggers refuse updates and deletions.

    Models and targets are stored as text, so that an event survives what it is about.
    """

    class Action(models.TextChoices):
        LOGGED_IN = "logged_in", "logged in"
        LOGIN_FAILED = "login_failed", "failed to log in"
        KEY_CREATED = "key_created", "created an API key"
        KEY_CHANGED = "key_changed", "changed an API key"
        KEY_REVOKED = "key_revoked", "revoked an API key"
        RIGHTS_CHANGED = "rights_changed", "changed rights"
        MODEL_CHANGED = "model_changed", "changed a registered model"
        VERSION_REGISTERED = "version_registered", "registered a version"
        VERSION_CHANGED = "version_changed", "changed a version"
        VERSION_DELETED = "version_deleted", "deleted a version"
        ARTIFACT_DOWNLOADED = "artifact_downloaded", "downloaded an artifact"
        ALIAS_MOVED = "alias_moved", "moved an alias"
        APPROVAL_REQUESTED = "approval_requested", "asked for approval"
        APPROVAL_DECIDED = "approval_decided", "decided on an approval"
        PREDICTIONS_READ = "predictions_read", "read other people's predictions"
        EXPORTED = "exported", "exported predictions"
        ERASED = "erased", "erased a subject"
        PRUNED = "pruned", "deleted predictions past their retention"
        HOLD_PLACED = "hold_placed", "placed a legal hold"
        HOLD_RELEASED = "hold_released", "released a legal hold"
        USER_CHANGED = "user_changed", "changed a user or a group"
        WEBHOOK_CHANGED = "webhook_changed", "changed a webhook"
        REFERENCE_SET = "reference_set", "set a reference"
        MONITOR_CHANGED = "monitor_changed", "changed a monitor"
        JOB_CREATED = "job_created", "created a job"
        JOB_CANCELLED = "job_cancelled", "cancelled a job"
        JOB_RETRIED = "job_retried", "started a job again"
        ALERT_ACKNOWLEDGED = "alert_acknowledged", "acknowledged an alert"

    action = models.CharField(max_length=30, choices=Action)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    api_key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    model = models.CharField(
        max_length=100,
        blank=True,
        help_text="The name of the registered model, if it is about one.",
    )
    target = models.CharField(
        max_length=300, blank=True, help_text="What was changed or read, in words."
    )
    details = ExactJSONField(default=dict)
    request_id = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        db_table = "audit_events"
        indexes = [
            # The lists of the admin and the API: newest first, paged by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="audit_event_newest"),
            # The same of one model.
            models.Index(
                "model", F("created_at").desc(), F("id").desc(), name="audit_event_newest_of_model"
            ),
            # The same of one user, and the foreign key check.
            models.Index(
                "user",
                "created_at",
                "id",
                condition=Q(user__isnull=False),
                name="audit_event_of_user",
            ),
            # The same of one action, which may be rare, and of one request.
            models.Index("action", "created_at", "id", name="audit_event_of_action"),
            models.Index("request_id", "created_at", "id", name="audit_event_of_request"),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.target or self.model or '-'}"
