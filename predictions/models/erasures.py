"""The table of erasures: evidence that a subject's data was deleted, without the data."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from predictions.models.legal_holds import MAX_PRIVACY_REASON_LENGTH


class ErasureQuerySet(models.QuerySet["Erasure"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def matching(self, *, pseudonym: str | None = None) -> Self:
        """The rows that match the filters of the list endpoint."""
        return self if pseudonym is None else self.filter(pseudonym=pseudonym)


class Erasure(models.Model):
    """One erasure. It is all that is left, and is itself never deleted."""

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
