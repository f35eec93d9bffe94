"""The tables of webhooks: targets, and the outbox of what is delivered to them."""

import secrets
from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from registry.database import clock
from registry.exact_json.fields import ExactJSONField

MAX_WEBHOOK_NAME_LENGTH = 100
MAX_URL_LENGTH = 2000
MAX_EVENT_LENGTH = 100
MAX_DELIVERY_ERROR_LENGTH = 500
# How long a delivery is tried again before it counts as failed.
MAX_DELIVERY_AGE = timedelta(days=3)
# How long messages are also signed with the secret before the last rotation.
ROTATION_OVERLAP = timedelta(hours=24)


class WebhookNotFound(LookupError):
    """The webhook or the delivery does not exist. The message can be shown to the caller."""


def new_salt() -> str:
    return secrets.token_hex(16)


def _give_up_at() -> datetime:
    return clock.now() + MAX_DELIVERY_AGE


class WebhookQuerySet(models.QuerySet["Webhook"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def find(self, webhook_id: int) -> "Webhook":
        """Raises WebhookNotFound."""
        webhook = self.filter(pk=webhook_id).first()
        if webhook is None:
            raise WebhookNotFound(f"Webhook {webhook_id} not found")
        return webhook


class Webhook(models.Model):
    """A target: the URL that events are sent to.

    No secret is stored. The one that signs the messages is derived from SECRET_KEY and `salt`; see
    registry/webhooks/delivery/signing.py.
    """

    name = models.CharField(max_length=MAX_WEBHOOK_NAME_LENGTH, unique=True)
    url = models.CharField("URL", max_length=MAX_URL_LENGTH)
    events = ExactJSONField(
        default=list, blank=True, help_text="The events to send; none chosen means all."
    )
    model_names = ExactJSONField(
        default=list, blank=True, help_text="The models whose events are sent; none means all."
    )
    is_active = models.BooleanField(default=True, help_text="Events are sent only while active.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    salt = models.CharField(max_length=32, default=new_salt, editable=False)
    previous_salt = models.CharField(max_length=32, blank=True, default="", editable=False)
    rotated_at = models.DateTimeField(null=True, editable=False)
    failures = models.PositiveIntegerField(
        default=0, editable=False, help_text="Attempts in a row to which the server did not answer."
    )
    paused_until = models.DateTimeField(null=True, editable=False)
    disabled_reason = models.CharField(max_length=200, blank=True, default="", editable=False)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        db_table = "webhooks"
        indexes = [
            # GET /api/v1/webhooks/: newest first, paged by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="webhook_newest"),
        ]

    def __str__(self) -> str:
        return self.name

    def wants(self, event: str, model: str) -> bool:
        """Whether this event is to be sent; a `model` of "" means that it is not about one."""
        return (not self.events or event in self.events) and (
            not self.model_names or model in self.model_names
        )

    def rotate(self) -> str:
        """Replace the salt, and with it the secret; the last one signs as well for a day."""
        self.previous_salt, self.salt = self.salt, new_salt()
        self.rotated_at = clock.now()
        self.save(update_fields=["previous_salt", "salt", "rotated_at"])
        return self.salt

    @property
    def valid_salts(self) -> list[str]:
        """The salts of the secrets that sign now, the newest first."""
        if self.rotated_at is None or clock.now() >= self.rotated_at + ROTATION_OVERLAP:
            return [self.salt]
        return [self.salt, self.previous_salt]


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def matching(self, *, state: str | None = None, event: str | None = None) -> Self:
        """Apply the list endpoint's filters; None does not filter."""
        filters = {"state": state, "event": event}
        return self.filter(**{key: value for key, value in filters.items() if value is not None})

    def pending(self) -> Self:
        return self.filter(state=WebhookDelivery.State.PENDING)

    def not_under_way(self) -> Self:
        """Those without an attempt in progress; that of a worker that died has ended."""
        return self.filter(Q(locked_until=None) | Q(locked_until__lte=clock.now()))


class WebhookDelivery(models.Model):
    """One event on its way to one target.

    A worker that takes it sets `locked_until` and moves `due_at` to the same time: if the worker
    dies, the delivery is due again then. `locked_until` also identifies the attempt, so that a
    worker whose lease has ended does not overwrite the result of a later one.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    # No index of its own: those below begin with it.
    webhook = models.ForeignKey(
        Webhook, on_delete=models.CASCADE, related_name="deliveries", db_index=False
    )
    event_id = models.UUIDField()
    event = models.CharField(max_length=MAX_EVENT_LENGTH)
    model = models.CharField(max_length=100, blank=True, default="")
    payload = ExactJSONField()
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=timezone.now)
    give_up_at = models.DateTimeField(default=_give_up_at)
    locked_until = models.DateTimeField(null=True)
    attempted_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True)
    last_error = models.CharField(max_length=MAX_DELIVERY_ERROR_LENGTH, blank=True, default="")

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        db_table = "webhook_deliveries"
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["webhook", "event_id"], name="webhook_delivery_event_unique"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", finished_at=None)
                | ~Q(state="pending") & Q(finished_at__isnull=False, locked_until=None),
                name="webhook_delivery_finished_or_pending",
            ),
        ]
        indexes = [
            # Taking: the first due delivery of each target, and how many are pending.
            models.Index(
                "webhook",
                "due_at",
                "id",
                condition=Q(state="pending"),
                name="webhook_delivery_due",
            ),
            # Taking: how many of a target's deliveries are under way.
            models.Index(
                "webhook",
                condition=Q(locked_until__isnull=False),
                name="webhook_delivery_locked",
            ),
            # GET /api/v1/webhooks/{id}/deliveries/: newest first, paged by key.
            models.Index(
                "webhook",
                F("created_at").desc(),
                F("id").desc(),
                name="webhook_delivery_newest_of",
            ),
            # The admin's list, and the removal of old deliveries.
            models.Index(F("created_at").desc(), F("id").desc(), name="webhook_delivery_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.event_id}"
