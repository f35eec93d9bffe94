"""Requests to move an alias of a model whose moves somebody else must approve."""

from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from registry.database import clock
from registry.exact_json.fields import ExactJSONField
from registry.models.access import ApiKey
from registry.models.aliases import MAX_ALIAS_LENGTH

MAX_REASON_LENGTH = 500


class RequestNotFound(LookupError):
    """No request has this ID. The message can be shown to the caller."""


class AliasRequestQuerySet(models.QuerySet["AliasRequest"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def matching(
        self, *, name: str | None = None, alias: str | None = None, status: str | None = None
    ) -> Self:
        """Apply the list endpoint's filters; None does not filter."""
        rows = self if status is None else self.with_status(status)
        filters = {"name": name, "alias": alias}
        return rows.filter(**{key: value for key, value in filters.items() if value is not None})

    def with_status(self, status: str) -> Self:
        if status == AliasRequest.EXPIRED:
            return self.filter(status=AliasRequest.Status.PENDING, expires_at__lte=clock.now())
        rows = self.filter(status=status)
        if status == AliasRequest.Status.PENDING:
            return rows.filter(expires_at__gt=clock.now())
        return rows

    def find(self, request_id: int) -> "AliasRequest":
        """Raises RequestNotFound."""
        row = self.filter(pk=request_id).first()
        if row is None:
            raise RequestNotFound(f"Request {request_id} not found")
        return row


def default_expiry() -> datetime:
    return clock.now() + timedelta(hours=settings.APPROVAL_HOURS)


class AliasRequest(models.Model):
    """A move that waits for somebody else's approval, or what became of it.

    Rows are never deleted: the moves of an alias refer to them.
    """

    class Kind(models.TextChoices):
        SET = "set", "set the alias"
        ROLL_BACK = "roll_back", "roll the alias back"
        REMOVE = "remove", "remove the alias"
        END_APPROVAL = "end_approval", "move aliases without approval from now on"

    class Status(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        REJECTED = "rejected"
        WITHDRAWN = "withdrawn"

    # Not stored: a pending request turns into it as time passes.
    EXPIRED = "expired"

    kind = models.CharField(max_length=20, choices=Kind)
    name = models.CharField(max_length=100)
    alias = models.CharField(max_length=MAX_ALIAS_LENGTH, blank=True)
    move = ExactJSONField(default=dict, help_text="What to do, as in the body of the request.")
    based_on = models.PositiveIntegerField(
        default=0, help_text="The number of the alias's last move at that time, 0 for none."
    )
    reason = models.CharField(max_length=MAX_REASON_LENGTH, blank=True)
    # No indexes: looked up by user or key only when one of them is deleted, which is rare.
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    api_key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    request_id = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(default=default_expiry)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    decided_at = models.DateTimeField(null=True)
    decision_reason = models.CharField(max_length=MAX_REASON_LENGTH, blank=True)

    objects = AliasRequestQuerySet.as_manager()

    class Meta:
        db_table = "model_alias_requests"
        constraints = [
            models.CheckConstraint(
                condition=Q(status="pending", decided_by=None, decided_at=None)
                | ~Q(status="pending") & Q(decided_by__isnull=False, decided_at__isnull=False),
                name="alias_request_decision_is_whole",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["approved", "rejected"])
                | Q(decided_by__isnull=False) & ~Q(decided_by=F("requested_by")),
                name="alias_request_is_decided_by_another",
            ),
            models.CheckConstraint(
                condition=Q(status="withdrawn", decided_by=F("requested_by"))
                | ~Q(status="withdrawn"),
                name="alias_request_is_withdrawn_by_its_user",
            ),
        ]
        indexes = [
            # GET /api/v1/alias-requests/, and its filter by name: newest first, paged by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="alias_request_newest"),
            models.Index(
                "name", F("created_at").desc(), F("id").desc(), name="alias_request_newest_of_model"
            ),
        ]

    def __str__(self) -> str:
        target = f"{self.name}@{self.alias}" if self.alias else self.name
        return f"Request {self.pk}: {self.get_kind_display()}, {target}"

    @property
    def state(self) -> str:
        """The status, or "expired"."""
        is_expired = self.status == self.Status.PENDING and self.expires_at <= clock.now()
        return self.EXPIRED if is_expired else str(self.status)
