"""The table of model versions."""

from typing import Any, Self

from django.conf import settings
from django.db import connection, models
from django.db.models import F, Max, Q
from django.db.models.functions import Cast
from django.utils import timezone

from registry.exact_json.fields import AnnotationField, ExactJSONField
from registry.statements import fetch

MAX_FRAMEWORK_LENGTH = 50
# Names become folder names below MODEL_PATH: none may climb out of it or hide in it.
NAME_PATTERN = r"\A[A-Za-z0-9][A-Za-z0-9._+-]*\Z"
# More digits need not fit into 64 bits: such a version is a name like any other.
NUMBER_PATTERN = r"\A[0-9]{1,18}\Z"
# Tells this advisory lock from those of others in the same database.
NUMBERING = 0x6D6C6170

# Written out: building it anew by the ORM costs a prediction more than the database takes for it.
_ID = "SELECT id FROM model_versions WHERE name = %s AND version = %s AND is_active"


class ModelNotFound(LookupError):
    """There is no such version, or none that may answer; the message is for the caller."""


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def active(self) -> Self:
        return self.filter(is_active=True)

    def matching(
        self, *, active_only: bool = True, name: str | None = None, framework: str | None = None
    ) -> Self:
        """The rows that the filters of the list endpoint leave."""
        wanted: dict[str, Any] = {"name": name, "framework": framework}
        rows = self.active() if active_only else self
        return rows.filter(**{key: value for key, value in wanted.items() if value is not None})

    def find(self, model_id: int) -> "ModelVersion":
        """The version with this id; raises ModelNotFound."""
        version = self.filter(pk=model_id).first()
        if version is None:
            raise ModelNotFound(f"Model {model_id} not found")
        return version

    def resolve(self, model_id: int) -> "ModelVersion":
        """The version that answers predictions for this id; raises ModelNotFound."""
        version = self.active().filter(pk=model_id).first()
        if version is None:
            raise ModelNotFound(f"Model {model_id} not found or inactive")
        return version

    def resolve_reference(self, reference: str) -> "ModelVersion":
        """The active version that `name:version`, `name@alias` or `name`, its champion, means.

        Raises ModelNotFound.
        """
        name, colon, version = reference.partition(":")
        if colon:
            rows = self.active().filter(name=name, version=version)
        else:
            name, at, alias = reference.partition("@")
            alias = alias if at else "champion"
            rows = self.active().filter(aliases__name=name, aliases__alias=alias)
        found = rows.first()
        if found is None:
            raise ModelNotFound(f"Model {reference} not found or inactive")
        return found

    def id_of(self, name: str, version: str) -> int:
        """The id of the active version `name:version`, in one query; raises ModelNotFound."""
        rows = fetch(_ID, (name, version))
        if not rows:
            raise ModelNotFound(f"Model {name}:{version} not found or inactive")
        return int(rows[0][0])

    def next_number(self, name: str) -> str:
        """The number after the highest of a name's versions that are numbers; the first is 1.

        To keep it until the version is written, `lock_numbers` first.
        """
        numbers = self.filter(name=name, version__regex=NUMBER_PATTERN)
        highest = numbers.aggregate(highest=Max(Cast("version", models.BigIntegerField())))
        return str((highest["highest"] or 0) + 1)

    def lock_numbers(self, name: str) -> None:
        """Until the transaction ends, let nobody else number a version of this name.

        On SQLite a transaction has the whole database to itself already.
        """
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (NUMBERING, name))


class ModelVersion(models.Model):
    """One trained model, immutable once its artifact is attached."""

    name = models.CharField(max_length=100)
    version = models.CharField(max_length=50)
    framework = models.CharField(max_length=MAX_FRAMEWORK_LENGTH)
    description = models.TextField(max_length=5000, blank=True, default="")
    metrics = AnnotationField(null=True, blank=True)
    tags = AnnotationField(default=dict, blank=True)
    is_active = models.BooleanField(default=True)
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
                # A check whose outcome is NULL passes: a missing size must be false by itself.
                | Q(size_bytes__isnull=False, size_bytes__gt=0, signature__isnull=False)
                & ~Q(artifact="")
                & ~Q(sha256=""),
                name="model_version_artifact_is_whole",
            ),
        ]
        indexes = [
            # GET /api/v1/models/, and the versions loaded at start: newest first, by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="model_version_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def has_artifact(self) -> bool:
        return self.artifact != ""

    def revise(self, **changes: Any) -> None:
        """Write what may change of a version: metrics, description, tags, is_active.

        Raises ModelNotFound.
        """
        # Not save(): the version may have been deleted meanwhile.
        if changes and not ModelVersion.objects.filter(pk=self.pk).update(**changes):
            raise ModelNotFound(f"Model {self.pk} not found")
        for field, value in changes.items():
            setattr(self, field, value)
