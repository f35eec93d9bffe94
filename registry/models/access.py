"""Who may do what: the rights of users and groups on a registered model, and keys for machines."""

from typing import Self

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import F, Prefetch, Q
from django.utils import timezone

from registry.database import clock
from registry.models.registered_models import MAX_RATE_LIMIT, RegisteredModel

PREFIX_LENGTH = 12
MAX_KEY_NAME_LENGTH = 100
# As in Django's User.
MAX_USERNAME_LENGTH = 150


class ApiKeyNotFound(LookupError):
    """There is no such key. The message can be shown to the caller."""


class Right(models.TextChoices):
    """What somebody may do with a registered model."""

    PREDICT = "predict", "request predictions"
    READ_LOG = "read_log", "read everybody's predictions"
    REPORT_OUTCOMES = "report_outcomes", "report outcomes"
    MANAGE_VERSIONS = "manage_versions", "manage versions"
    MOVE_ALIASES = "move_aliases", "move aliases"


class Rights(models.Model):
    """A column for each right."""

    predict = models.BooleanField(default=False, help_text="May request predictions.")
    read_log = models.BooleanField(
        default=False, help_text="May read everybody's predictions, not only their own."
    )
    report_outcomes = models.BooleanField(
        default=False, help_text="May report what turned out to be true."
    )
    manage_versions = models.BooleanField(
        default=False, help_text="May register, change and delete versions, and their files."
    )
    move_aliases = models.BooleanField(
        default=False, help_text="May move aliases, and set canaries and shadows."
    )

    class Meta:
        abstract = True

    @property
    def rights(self) -> list[Right]:
        return [right for right in Right if getattr(self, right)]


class Grant(Rights):
    """The rights of a user, or of all users of a group, on a registered model."""

    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.CASCADE, related_name="grants", db_index=False
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="model_grants",
    )
    group = models.ForeignKey(
        Group, on_delete=models.CASCADE, null=True, blank=True, related_name="model_grants"
    )

    class Meta:
        db_table = "model_grants"
        constraints = [
            models.CheckConstraint(
                condition=Q(user=None, group__isnull=False) | Q(user__isnull=False, group=None),
                name="grant_is_of_user_or_group",
            ),
            # Their indexes also find the grants of a model.
            models.UniqueConstraint(
                fields=["registered_model", "user"],
                condition=Q(user__isnull=False),
                name="grant_of_user_unique",
            ),
            models.UniqueConstraint(
                fields=["registered_model", "group"],
                condition=Q(group__isnull=False),
                name="grant_of_group_unique",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user or self.group} on {self.registered_model}"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def with_details(self) -> Self:
        """Load owners, creators and models as well: two queries for any number of rows."""
        models_of_keys = RegisteredModel.objects.only("name").order_by("name")
        return self.select_related("owner", "created_by").prefetch_related(
            Prefetch("registered_models", models_of_keys)
        )

    def matching(self, *, owner: str | None = None, valid_only: bool = False) -> Self:
        """Apply the list endpoint's filters; None does not filter."""
        rows = self.valid() if valid_only else self
        return rows if owner is None else rows.filter(owner__username=owner)

    def find(self, key_id: int) -> "ApiKey":
        """Raises ApiKeyNotFound."""
        key = self.filter(pk=key_id).first()
        if key is None:
            raise ApiKeyNotFound(f"API key {key_id} not found")
        return key

    def valid(self) -> Self:
        """Neither revoked nor expired."""
        return self.filter(
            Q(expires_at=None) | Q(expires_at__gt=clock.now()), revoked_at__isnull=True
        )


class ApiKey(Rights):
    """A key for a machine: it may do what its owner may, within its scopes and its models.

    Rows are revoked and never deleted: predictions and audit events name them.
    """

    name = models.CharField(max_length=MAX_KEY_NAME_LENGTH)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_keys"
    )
    prefix = models.CharField(
        max_length=PREFIX_LENGTH, unique=True, editable=False, help_text="How the key begins."
    )
    digest = models.CharField(
        max_length=64, unique=True, editable=False, help_text="The SHA-256 of the whole key."
    )
    all_models = models.BooleanField(
        default=True, help_text="Whether it is for every model that its owner may use."
    )
    registered_models = models.ManyToManyField(
        RegisteredModel, blank=True, related_name="+", help_text="Those that it is for, if not all."
    )
    rate_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="Requests per minute. Empty: no limit."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
        db_index=False,
    )
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: it does not expire.")
    last_used_at = models.DateTimeField(
        null=True, editable=False, help_text="To within a minute or so."
    )
    revoked_at = models.DateTimeField(null=True, editable=False)
    replaces = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="replacements",
        help_text="The key that it was rotated from.",
    )

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        db_table = "api_keys"
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(
                condition=Q(rate_limit=None) | Q(rate_limit__gte=1, rate_limit__lte=MAX_RATE_LIMIT),
                name="api_key_rate_limit_is_valid",
            ),
        ]
        indexes = [
            # The lists of the admin and the API: newest first, paged by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="api_key_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.name} (mlapi_{self.prefix}_…)"
