"""The tables of privacy: legal holds, under which predictions must not be deleted, and erasures,
the evidence that a subject's data was deleted, without the data.
"""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from predictions.models.predictions import MAX_CALLERS_NAME_LENGTH
from registry.models import RegisteredModel

MAX_PRIVACY_REASON_LENGTH = 500


class LegalHoldNotFound(LookupError):
    """No legal hold has this ID; the message is for the caller."""


class LegalHoldQuerySet(models.QuerySet["LegalHold"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def active(self) -> Self:
        return self.filter(released_at=None)

    def matching(self, *, is_active: bool | None = None) -> Self:
        """The rows that match the filters of the list endpoint."""
        return self if is_active is None else self.filter(released_at__isnull=is_active)


class LegalHold(models.Model):
    """Keeps the predictions of a model, of a subject, or of a subject by a model."""

    registered_model = models.ForeignKey(
        RegisteredModel,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Empty: of every model.",
    )
    subject = models.CharField(  # noqa: DJ001
        max_length=MAX_CALLERS_NAME_LENGTH,
        null=True,
        blank=True,
        help_text="Empty: of every subject.",
    )
    reason = models.CharField(max_length=MAX_PRIVACY_REASON_LENGTH)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
        db_index=False,
    )
    released_at = models.DateTimeField(null=True, editable=False)
    released_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
        db_index=False,
    )
    release_reason = models.CharField(
        max_length=MAX_PRIVACY_REASON_LENGTH, blank=True, default="", editable=False
    )

    objects = LegalHoldQuerySet.as_manager()

    class Meta:
        db_table = "legal_holds"
        constraints = [
            models.CheckConstraint(
                condition=Q(registered_model__isnull=False) | Q(subject__isnull=False),
                name="legal_hold_has_model_or_subject",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="legal_hold_has_reason"),
            models.CheckConstraint(
                condition=Q(released_at=None, released_by=None, release_reason="")
                | Q(released_at__isnull=False) & ~Q(release_reason=""),
                name="legal_hold_release_has_reason",
            ),
        ]
        indexes = [
            # GET /legal-holds/, newest first, by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="legal_hold_newest"),
        ]

    def __str__(self) -> str:
        return f"Legal hold {self.pk}"

    @property
    def what(self) -> str:
        """What it keeps, in words, without the subject."""
        subject = "the predictions" if self.subject is None else "a subject's predictions"
        return f"{subject} of {self.registered_model or 'every model'}"


class ErasureQuerySet(models.QuerySet["Erasure"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def matching(self, *, pseudonym: str | None = None) -> Self:
        """The rows that match the filters of the list endpoint."""
        return self if pseudonym is None else self.filter(pseudonym=pseudonym)


class Erasure(models.Model):
    """One erasure: the only trace of what was deleted, and never deleted itself."""

    class Kind(models.TextChoices):
        SUBJECT = "subject"
        REFERENCE = "reference"

    kind = models.CharField(max_length=10, choices=Kind)
    # Of the subject or reference, by the secret key: anyone with the name can check it, nobody can
    # guess the name from it.
    pseudonym = models.CharField(max_length=64)
    model = models.CharField(
        max_length=100, blank=True, default="", help_text="The model's name, if it was only one."
    )
    reason = models.CharField(max_length=MAX_PRIVACY_REASON_LENGTH)
    counts = models.JSONField(help_text="How many rows were deleted, by kind.")
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )

    objects = ErasureQuerySet.as_manager()

    class Meta:
        db_table = "erasures"
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="erasure_has_reason"),
        ]
        indexes = [
            # GET /erasures/, newest first, by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="erasure_newest"),
            # GET /erasures/?pseudonym=: was this subject erased?
            models.Index(fields=["pseudonym"], name="erasure_of_pseudonym"),
        ]

    def __str__(self) -> str:
        return f"Erasure {self.pk}"
