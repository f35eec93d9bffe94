"""The audit trail: who did what to keys, rights, versions and data, and who looked."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils import timezone

from registry.exact_json.fields import ExactJSONField
from registry.models.access import ApiKey


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")


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
        WEBHOOK_CHANGED = "webhook_changed", "changed a webhook"

    action = models.CharField(max_length=30, choices=Action)
    # No index: looked up by user only when a user is deleted, which is rare.
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
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.target or self.model or '-'}"
