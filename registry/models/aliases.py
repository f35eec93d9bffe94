"""The tables of aliases: which versions a name means now."""

import secrets
from dataclasses import dataclass
from typing import Self

from django.db import models
from django.db.models import F, Prefetch, Q
from django.utils import timezone

from registry.models.versions import NAME_PATTERN, ModelNotFound, ModelVersion
from registry.statements import fetch

# The alias that a name alone means.
CHAMPION = "champion"
MAX_ALIAS_LENGTH = 50
# Each shadow scores every input once more.
MAX_SHADOWS = 5

# Written out: building it anew by the ORM costs a prediction more than the database takes for it.
# It reads one row of `alias_unique`'s index, and the few shadows by theirs.
_ROUTE = (
    "SELECT a.version_id, a.canary_id, a.canary_percent, a.salt, s.version_id"
    " FROM model_aliases a LEFT JOIN model_alias_shadows s ON s.alias_id = a.id"
    " WHERE a.name = %s AND a.alias = %s"
)


class AliasNotFound(ModelNotFound):
    """There is no such alias, or none at that time; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class Route:
    """Which versions answer for an alias, as ids: all that a prediction needs to know of it."""

    name: str
    alias: str
    version_id: int
    canary_id: int | None
    canary_percent: float | None
    salt: str
    shadow_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Arms:
    """The versions of an alias: one that answers, one that answers for a share of the subjects, and
    some that score the same input unseen.
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
        """The rows that the filters of the list endpoint leave."""
        wanted = {"name": name, "alias": alias}
        return self.filter(**{key: value for key, value in wanted.items() if value is not None})

    def listed(self) -> Self:
        """Rows with the names of their versions, in two queries however many."""
        shadows = AliasShadow.objects.select_related("version").only(
            "alias_id", "version__name", "version__version"
        )
        named = [
            f"{arm}__{field}" for arm in ("version", "canary") for field in ("name", "version")
        ]
        return (
            self.select_related("version", "canary")
            .prefetch_related(Prefetch("shadows", shadows.order_by("version_id")))
            .only("name", "alias", "canary_percent", "salt", "created_at", "updated_at", *named)
        )

    def holding(self, version: ModelVersion) -> Self:
        """The aliases in which a version answers, is the canary or a shadow."""
        shadowed = AliasShadow.objects.filter(version=version).values("alias")
        return self.filter(Q(version=version) | Q(canary=version) | Q(pk__in=shadowed))

    def find(self, name: str, alias: str) -> "Alias":
        """The alias with its versions; raises AliasNotFound."""
        row = self.filter(name=name, alias=alias).first()
        if row is None:
            raise AliasNotFound(f"Model {name}@{alias} not found: no such alias")
        return row

    def lock(self) -> Self:
        """These rows, each held until the transaction ends, in the order that all take them.

        Versions are locked before aliases, everywhere: then nobody waits for each other.
        """
        return self.select_for_update(of=("self",)).order_by("pk")

    def route(self, name: str, alias: str = CHAMPION) -> Route:
        """Which versions answer for `name@alias`, in one query; raises AliasNotFound."""
        rows = fetch(_ROUTE, (name, alias))
        if not rows:
            raise AliasNotFound(f"Model {name}@{alias} not found: no such alias")
        version_id, canary_id, percent, salt, _ = rows[0]
        shadows = tuple(sorted(row[4] for row in rows if row[4] is not None))
        return Route(name, alias, version_id, canary_id, percent, salt, shadows)


class Alias(models.Model):
    """A name's stable handle: callers ask `name@alias`, and a move changes who answers."""

    name = models.CharField(max_length=100, editable=False)
    alias = models.CharField(max_length=MAX_ALIAS_LENGTH, editable=False)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="aliases")
    canary = models.ForeignKey(
        ModelVersion,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Answers instead for a share of the subjects.",
    )
    canary_percent = models.FloatField(
        null=True, blank=True, help_text="The share: above 0 to 100."
    )
    salt = models.CharField(
        max_length=32,
        default=new_salt,
        editable=False,
        help_text="Mixed into the hash of subjects; it never changes.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = AliasQuerySet.as_manager()

    class Meta:
        db_table = "model_aliases"
        verbose_name_plural = "aliases"
        constraints = [
            # Its index also resolves a reference: one row, on every prediction by name.
            models.UniqueConstraint(fields=["name", "alias"], name="alias_unique"),
            models.CheckConstraint(
                condition=Q(name__regex=NAME_PATTERN) & Q(alias__regex=NAME_PATTERN),
                name="alias_name_is_safe",
            ),
            models.CheckConstraint(
                condition=Q(canary=None, canary_percent=None)
                # A check whose outcome is NULL passes: what is missing must be false by itself.
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
            # GET /api/v1/aliases/: newest first, by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="alias_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}"

    @property
    def arms(self) -> Arms:
        shadows = sorted((row.version for row in self.shadows.all()), key=lambda row: row.pk)
        return Arms(self.version, self.canary, self.canary_percent, tuple(shadows))


class AliasShadow(models.Model):
    """A version that scores what an alias is asked, and whose answers nobody gets."""

    alias = models.ForeignKey(
        Alias, on_delete=models.CASCADE, related_name="shadows", db_index=False
    )
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "model_alias_shadows"
        constraints = [
            # Its index also finds the shadows of an alias.
            models.UniqueConstraint(fields=["alias", "version"], name="alias_shadow_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.alias} shadows {self.version}"
