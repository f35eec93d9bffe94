"""The alias tables: which versions currently serve `name@alias`."""

import secrets
from dataclasses import dataclass
from typing import Self

from django.db import models
from django.db.models import F, Prefetch, Q
from django.utils import timezone

from registry.database.statements import fetch
from registry.models.names import NAME_PATTERN, ModelNotFound
from registry.models.registered_models import RegisteredModel
from registry.models.versions import ModelVersion

# The alias that a bare name refers to.
CHAMPION = "champion"
MAX_ALIAS_LENGTH = 50
# Every shadow scores each input again.
MAX_SHADOWS = 5

# Raw SQL because this runs on every prediction by alias, and building the query with the ORM takes
# longer than executing it. Both tables are read through their unique indexes.
_ROUTE_SQL = (
    "SELECT a.version_id, a.canary_id, a.canary_percent, a.salt, s.version_id"
    " FROM model_aliases a LEFT JOIN model_alias_shadows s ON s.alias_id = a.id"
    " WHERE a.name = %s AND a.alias = %s"
)


class AliasNotFound(ModelNotFound):
    """The alias does not exist or did not at that time. The message can be shown to the caller."""


@dataclass(frozen=True, slots=True)
class Route:
    """The ids of an alias's versions: everything a prediction needs to pick one."""

    name: str
    alias: str
    version_id: int
    canary_id: int | None
    canary_percent: float | None
    salt: str
    shadow_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Arms:
    """The versions of an alias.

    `version` answers, `canary` answers instead for `canary_percent` of the subjects, and `shadows`
    score the same input without their answers being returned.
    """

    version: ModelVersion
    canary: ModelVersion | None = None
    canary_percent: float | None = None
    shadows: tuple[ModelVersion, ...] = ()


def new_salt() -> str:
    return secrets.token_hex(8)


class AliasQuerySet(models.QuerySet["Alias"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def matching(self, *, name: str | None = None, alias: str | None = None) -> Self:
        """Apply the list endpoint's filters; None does not filter."""
        filters = {"name": name, "alias": alias}
        return self.filter(**{key: value for key, value in filters.items() if value is not None})

    def with_versions(self) -> Self:
        """Load the versions, canaries and shadows as well: two queries for any number of rows."""
        shadows = AliasShadow.objects.select_related("version").only(
            "alias_id", "version__name", "version__version"
        )
        version_fields = [
            f"{arm}__{field}" for arm in ("version", "canary") for field in ("name", "version")
        ]
        return (
            self.select_related("version", "canary")
            .prefetch_related(Prefetch("shadows", shadows.order_by("version_id")))
            .only(
                "name",
                "alias",
                "canary_percent",
                "salt",
                "created_at",
                "updated_at",
                *version_fields,
            )
        )

    def referring_to(self, version: ModelVersion) -> Self:
        """The aliases that have this version as their own, as canary or as a shadow."""
        shadowed = AliasShadow.objects.filter(version=version).values("alias")
        return self.filter(Q(version=version) | Q(canary=version) | Q(pk__in=shadowed))

    def find(self, name: str, alias: str) -> "Alias":
        """Raises AliasNotFound."""
        row = self.filter(name=name, alias=alias).first()
        if row is None:
            raise AliasNotFound(f"Model {name}@{alias} not found: no such alias")
        return row

    def lock(self) -> Self:
        """Lock these rows until the transaction ends.

        To rule out deadlocks, rows are always locked in id order, and versions before aliases.
        """
        return self.select_for_update(of=("self",)).order_by("pk")

    def route(self, name: str, alias: str = CHAMPION) -> Route:
        """Look up the versions of `name@alias` in one query. Raises AliasNotFound."""
        rows = fetch(_ROUTE_SQL, (name, alias))
        if not rows:
            raise AliasNotFound(f"Model {name}@{alias} not found: no such alias")
        version_id, canary_id, percent, salt, _ = rows[0]
        shadows = tuple(sorted(row[4] for row in rows if row[4] is not None))
        return Route(name, alias, version_id, canary_id, percent, salt, shadows)


class Alias(models.Model):
    """A stable name for callers: they use `name@alias`, and moves change which version answers."""

    name = models.CharField(max_length=100, editable=False)
    alias = models.CharField(max_length=MAX_ALIAS_LENGTH, editable=False)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="aliases")
    canary = models.ForeignKey(
        ModelVersion,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Answers for a share of the subjects instead of the alias's own version.",
    )
    canary_percent = models.FloatField(
        null=True,
        blank=True,
        help_text="The canary's share of the subjects, in percent: above 0, at most 100.",
    )
    salt = models.CharField(
        max_length=32,
        default=new_salt,
        editable=False,
        help_text="Mixed into the hash that assigns subjects to arms. It never changes.",
    )
    # Virtual: the name itself refers to it.
    registered_model = models.ForeignObject(
        RegisteredModel,
        on_delete=models.PROTECT,
        from_fields=["name"],
        to_fields=["name"],
        related_name="aliases",
        editable=False,
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = AliasQuerySet.as_manager()

    class Meta:
        db_table = "model_aliases"
        verbose_name_plural = "aliases"
        constraints = [
            # Its index also serves `_ROUTE_SQL`, on every prediction by alias.
            models.UniqueConstraint(fields=["name", "alias"], name="alias_unique"),
            models.CheckConstraint(
                condition=Q(name__regex=NAME_PATTERN) & Q(alias__regex=NAME_PATTERN),
                name="alias_name_is_safe",
            ),
            models.CheckConstraint(
                condition=Q(canary=None, canary_percent=None)
                # A CHECK that evaluates to NULL passes, so each half is tested for NULL explicitly.
                | Q(
                    canary__isnull=False,
                    canary_percent__isnull=False,
                    canary_percent__gt=0,
                    canary_percent__lte=100,
                ),
                name="alias_canary_has_percent",
            ),
            models.CheckConstraint(
                condition=Q(canary=None) | ~Q(canary=F("version")), name="alias_canary_is_another"
            ),
        ]
        indexes = [
            # GET /api/v1/aliases/: newest first, paged by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="alias_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}"

    @property
    def arms(self) -> Arms:
        shadows = sorted((row.version for row in self.shadows.all()), key=lambda row: row.pk)
        return Arms(self.version, self.canary, self.canary_percent, tuple(shadows))


class AliasShadow(models.Model):
    """A version that scores an alias's inputs without returning its answers."""

    alias = models.ForeignKey(
        Alias, on_delete=models.CASCADE, related_name="shadows", db_index=False
    )
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "model_alias_shadows"
        constraints = [
            # Its index also finds an alias's shadows.
            models.UniqueConstraint(fields=["alias", "version"], name="alias_shadow_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.alias} shadows {self.version}"
