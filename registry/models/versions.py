"""The table of model versions."""

from typing import Self, TypedDict, Unpack

from django.conf import settings
from django.db import connection, models
from django.db.models import F, Max, Q
from django.db.models.functions import Cast
from django.utils import timezone

from registry.database.statements import fetch
from registry.exact_json.fields import AnnotationField, ExactJSONField
from registry.exact_json.values import JSONObject
from registry.models.names import NAME_PATTERN, ModelNotFound
from registry.models.registered_models import RegisteredModel

MAX_FRAMEWORK_LENGTH = 50
MAX_CONCURRENCY = 10_000
MAX_TIMEOUT_SECONDS = 86_400
# 19 digits may overflow 64 bits, so longer versions are treated as text.
NUMBER_PATTERN = r"\A[0-9]{1,18}\Z"
# Keeps this advisory lock apart from other applications' locks in the same database.
NUMBERING_LOCK_ID = 0x6D6C6170

# Raw SQL because this runs on every prediction by version, and building the query with the ORM
# takes longer than executing it.
_ACTIVE_ID_SQL = "SELECT id FROM model_versions WHERE name = %s AND version = %s AND is_active"


class VersionChanges(TypedDict, total=False):
    """The fields of a version that can be changed after registration."""

    metrics: JSONObject | None
    description: str
    tags: JSONObject
    is_active: bool
    max_concurrency: int | None
    timeout_seconds: float | None


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def active(self) -> Self:
        return self.filter(is_active=True)

    def matching(
        self, *, active_only: bool = True, name: str | None = None, framework: str | None = None
    ) -> Self:
        """Apply the list endpoint's filters; None does not filter."""
        filters = {"name": name, "framework": framework}
        rows = self.active() if active_only else self
        return rows.filter(**{key: value for key, value in filters.items() if value is not None})

    def find(self, model_id: int) -> "ModelVersion":
        """The version with this id, active or not. Raises ModelNotFound."""
        version = self.filter(pk=model_id).first()
        if version is None:
            raise ModelNotFound(f"Model {model_id} not found")
        return version

    def resolve(self, model_id: int) -> "ModelVersion":
        """The active version with this id. Raises ModelNotFound."""
        version = self.active().filter(pk=model_id).first()
        if version is None:
            raise ModelNotFound(f"Model {model_id} not found or inactive")
        return version

    def resolve_specifier(self, specifier: str) -> "ModelVersion":
        """The active version for `name:version`, `name@alias` or `name` (the name's champion).

        A canary is not considered. Raises ModelNotFound.
        """
        name, colon, version = specifier.partition(":")
        if colon:
            rows = self.active().filter(name=name, version=version)
        else:
            name, at, alias = specifier.partition("@")
            alias = alias if at else "champion"
            rows = self.active().filter(aliases__name=name, aliases__alias=alias)
        resolved = rows.first()
        if resolved is None:
            raise ModelNotFound(f"Model {specifier} not found or inactive")
        return resolved

    def active_id(self, name: str, version: str) -> int:
        """The id of the active version `name:version`, in one query. Raises ModelNotFound."""
        rows = fetch(_ACTIVE_ID_SQL, (name, version))
        if not rows:
            raise ModelNotFound(f"Model {name}:{version} not found or inactive")
        return int(rows[0][0])

    def next_number(self, name: str) -> str:
        """One more than the name's highest numeric version; 1 if it has none.

        Call `lock_numbering` first, so that nobody else gets the same number.
        """
        numbers = self.filter(name=name, version__regex=NUMBER_PATTERN)
        highest = numbers.aggregate(highest=Max(Cast("version", models.BigIntegerField())))
        return str((highest["highest"] or 0) + 1)

    def lock_numbering(self, name: str) -> None:
        """Stop others from numbering a version of this name until the transaction ends.

        SQLite needs no lock: a writing transaction has the database to itself.
        """
        if connection.vendor == "postgresql":
            fetch("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (NUMBERING_LOCK_ID, name))


class ModelVersion(models.Model):
    """One trained model, immutable once its artifact is attached."""

    name = models.CharField(max_length=100)
    version = models.CharField(max_length=50)
    framework = models.CharField(max_length=MAX_FRAMEWORK_LENGTH)
    description = models.TextField(max_length=5000, blank=True, default="")
    metrics = AnnotationField(null=True, blank=True)
    tags = AnnotationField(default=dict, blank=True)
    is_active = models.BooleanField(default=True)
    max_concurrency = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Callers that each worker may keep waiting for it while it is slow. Empty: the"
        " setting MAX_CONCURRENT_PER_MODEL.",
    )
    timeout_seconds = models.FloatField(
        null=True,
        blank=True,
        help_text="Seconds within which it must answer. Empty: the setting"
        " PREDICTION_TIMEOUT_SECONDS.",
    )
    # Virtual: the name itself refers to it.
    registered_model = models.ForeignObject(
        RegisteredModel,
        on_delete=models.PROTECT,
        from_fields=["name"],
        to_fields=["name"],
        related_name="versions",
        editable=False,
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )

    artifact = models.CharField(max_length=300, blank=True, default="", editable=False)
    sha256 = models.CharField(max_length=64, blank=True, default="", editable=False)
    size_bytes = models.BigIntegerField(null=True, blank=True, editable=False)
    signature = ExactJSONField(null=True, blank=True, editable=False)
    libraries = ExactJSONField(default=dict, blank=True, editable=False)

    # Database defaults, so that a process of the release before can still insert rows.
    is_suspect = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="Scored in a process of its own, because a worker failed in one of its calls.",
    )
    crashes = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    quarantined_at = models.DateTimeField(null=True, blank=True, editable=False)
    quarantine_reason = models.CharField(
        max_length=200, default="", db_default="", blank=True, editable=False
    )

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        db_table = "model_versions"
        constraints = [
            # Its index also serves the list by name, and `name:version`.
            models.UniqueConstraint(fields=["name", "version"], name="model_version_unique"),
            models.CheckConstraint(
                condition=Q(name__regex=NAME_PATTERN) & Q(version__regex=NAME_PATTERN),
                name="model_version_name_is_safe",
            ),
            models.CheckConstraint(
                condition=Q(artifact="", sha256="", size_bytes=None, signature__isnull=True)
                # A CHECK that evaluates to NULL passes, so a missing size is tested for explicitly.
                | Q(size_bytes__isnull=False, size_bytes__gt=0, signature__isnull=False)
                & ~Q(artifact="")
                & ~Q(sha256=""),
                name="model_version_artifact_is_whole",
            ),
            models.CheckConstraint(
                condition=Q(max_concurrency=None)
                | Q(max_concurrency__gte=1, max_concurrency__lte=MAX_CONCURRENCY),
                name="model_version_max_concurrency_is_valid",
            ),
            models.CheckConstraint(
                condition=Q(timeout_seconds=None)
                | Q(timeout_seconds__gt=0, timeout_seconds__lte=MAX_TIMEOUT_SECONDS),
                name="model_version_timeout_is_valid",
            ),
        ]
        indexes = [
            # GET /api/v1/models/ and the versions loaded at startup: newest first, paged by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="model_version_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def has_artifact(self) -> bool:
        return self.artifact != ""

    def update(self, **changes: Unpack[VersionChanges]) -> None:
        """Write these fields only. Raises ModelNotFound if the version is gone."""
        # Not save(): that would insert the row again if it has been deleted in the meantime.
        if changes and not ModelVersion.objects.filter(pk=self.pk).update(**changes):
            raise ModelNotFound(f"Model {self.pk} not found")
        for field, value in changes.items():
            setattr(self, field, value)
