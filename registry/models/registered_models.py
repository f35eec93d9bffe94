"""The registered models: what the versions, aliases and rights of one name have in common."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from registry.exact_json.fields import AnnotationField
from registry.models.names import NAME_PATTERN, ModelNotFound

MAX_RETENTION_DAYS = 36_500
MAX_RATE_LIMIT = 100_000_000


class RegisteredModelQuerySet(models.QuerySet["RegisteredModel"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def matching(self, *, name: str | None = None, owner: str | None = None) -> Self:
        """Apply the list endpoint's filters; None does not filter."""
        filters = {"name": name, "owner__username": owner}
        return self.filter(**{key: value for key, value in filters.items() if value is not None})

    def find(self, name: str) -> "RegisteredModel":
        """The registered model of this name. Raises ModelNotFound."""
        row = self.filter(name=name).first()
        if row is None:
            raise ModelNotFound(f"Model {name} not found")
        return row

    def needs_approval(self, name: str) -> bool:
        """Whether somebody else must approve a user's moves of the aliases of this model."""
        return self.filter(name=name, needs_approval=True).exists()


class RegisteredModel(models.Model):
    """A model name: its owner, who may use it, and how long its predictions are kept.

    The first version of a name adds its row (by a trigger, so that no way of adding a version can
    forget it), unless somebody added it before.
    """

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(max_length=5000, blank=True, default="", db_default="")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Has every right on this model.",
    )
    contact = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="Where to ask about it: an e-mail address, a channel, a team.",
    )
    tags = AnnotationField(default=dict, blank=True)
    is_private = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Only its owner and users with a grant may know that it exists. Otherwise, every"
        " user has the rights in the setting DEFAULT_RIGHTS.",
    )
    needs_approval = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Somebody else must approve each move of its aliases.",
    )
    retention_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Days for which its predictions are kept. Empty: for ever.",
    )
    rate_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Prediction requests per minute, of all callers together. Empty: no limit.",
    )
    created_at = models.DateTimeField(
        default=timezone.now, db_default=models.functions.Now(), editable=False
    )

    objects = RegisteredModelQuerySet.as_manager()

    class Meta:
        db_table = "registered_models"
        constraints = [
            models.CheckConstraint(
                condition=Q(name__regex=NAME_PATTERN), name="registered_model_name_is_safe"
            ),
            models.CheckConstraint(
                condition=Q(retention_days=None)
                | Q(retention_days__gte=1, retention_days__lte=MAX_RETENTION_DAYS),
                name="registered_model_retention_is_valid",
            ),
            models.CheckConstraint(
                condition=Q(rate_limit=None) | Q(rate_limit__gte=1, rate_limit__lte=MAX_RATE_LIMIT),
                name="registered_model_rate_limit_is_valid",
            ),
        ]
        indexes = [
            # GET /api/v1/registered-models/: newest first, paged by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="registered_model_newest"),
        ]

    def __str__(self) -> str:
        return self.name
