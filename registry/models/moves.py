"""The table of moves: what an alias meant at any time before, and who moved it."""

from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils import timezone

from registry.exact_json.fields import ExactJSONField
from registry.models.aliases import MAX_ALIAS_LENGTH, AliasNotFound, Arms
from registry.models.versions import ModelVersion

MAX_REASON_LENGTH = 500
# Each move was live for a while, so that a time means one of them.
SHORTEST_LIFE = timedelta(microseconds=1)


class AliasMoveQuerySet(models.QuerySet["AliasMove"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def of(self, name: str, alias: str) -> Self:
        return self.filter(name=name, alias=alias)

    def last_of(self, name: str, alias: str) -> "AliasMove | None":
        return self.of(name, alias).order_by("-number").first()

    def live_at(self, name: str, alias: str, at: datetime) -> "AliasMove":
        """The move whose outcome was live at that time, in one query; raises AliasNotFound."""
        move = self.of(name, alias).filter(created_at__lte=at).newest_first().first()
        if move is None or move.to_version_id is None:
            raise AliasNotFound(
                f"Model {name}@{alias} not found: no such alias at {at.isoformat()}"
            )
        return move

    def before_last_change(self, name: str, alias: str) -> "tuple[AliasMove, AliasMove] | None":
        """The last move of an alias, and the one whose outcome a rollback restores.

        A rollback undoes one change of version. It counts as the move that it went back to, so that
        a second one goes further back, and never forth. None where there is nothing before.
        """
        moves = self.of(name, alias)
        last = moves.order_by("-number").first()
        changes = moves.exclude(action__in=AliasMove.KEEPING_VERSION).order_by("-number")
        change = changes.first()
        while change is not None and change.restores is not None:
            change = changes.filter(number__lte=change.restores).first()
        target = moves.filter(number=change.number - 1).first() if change else None
        if last is None or last.to_version_id is None or target is None:
            return None
        return None if target.to_version_id is None else (last, target)


class AliasMove(models.Model):
    """What was done to an alias, by whom and why, and all of what was live from then on.

    Rows are added and never changed: a trigger of the database refuses it. They name versions by
    id and text, without a foreign key, so that an unused version can still be deleted.
    """

    class Action(models.TextChoices):
        AUTOMATIC = "automatic", "became champion as the first version"
        SET = "set", "set to another version"
        CONFIGURED = "configured", "canary or shadows changed"
        WITHDRAWN = "withdrawn", "a deactivated version taken out"
        ROLLED_BACK = "rolled_back", "rolled back"
        REMOVED = "removed", "removed"
        DELETED = "deleted", "deleted with its only version"

    KEEPING_VERSION = (Action.CONFIGURED, Action.WITHDRAWN)

    name = models.CharField(max_length=100)
    alias = models.CharField(max_length=MAX_ALIAS_LENGTH)
    number = models.PositiveIntegerField(help_text="1, 2, 3, ... of this alias, without a gap.")
    action = models.CharField(max_length=20, choices=Action)
    from_version_id = models.BigIntegerField(null=True)
    from_version = models.CharField(max_length=50, blank=True)
    to_version_id = models.BigIntegerField(null=True, help_text="Null where it was removed.")
    to_version = models.CharField(max_length=50, blank=True)
    canary_id = models.BigIntegerField(null=True)
    canary_version = models.CharField(max_length=50, blank=True)
    canary_percent = models.FloatField(null=True)
    shadows = ExactJSONField(default=list, help_text="Model id and version of each.")
    restores = models.PositiveIntegerField(
        null=True, help_text="Of a rollback, the number of the move that it went back to."
    )
    reason = models.CharField(max_length=MAX_REASON_LENGTH, blank=True)
    # No index: only the rare deletion of a user looks moves up by user.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    request_id = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = AliasMoveQuerySet.as_manager()

    class Meta:
        db_table = "model_alias_moves"
        constraints = [
            models.UniqueConstraint(
                fields=["name", "alias", "number"], name="alias_move_number_unique"
            ),
        ]
        indexes = [
            # GET /aliases/{name}/{alias}/history/, and what was live at a time.
            models.Index(
                "name",
                "alias",
                F("created_at").desc(),
                F("id").desc(),
                name="alias_move_newest_of_alias",
            ),
            # The list of the admin.
            models.Index(F("created_at").desc(), F("id").desc(), name="alias_move_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.name}@{self.alias} #{self.number}"

    def describe(self, before: Arms | None, after: Arms | None) -> None:
        """Take where the alias came from, and what is live from now on."""
        if before is not None:
            self.from_version_id, self.from_version = before.version.pk, before.version.version
        if after is None:
            return
        self.to_version_id, self.to_version = after.version.pk, after.version.version
        if after.canary is not None:
            self.canary_id, self.canary_version = after.canary.pk, after.canary.version
            self.canary_percent = after.canary_percent
        self.shadows = [_shadow(version) for version in after.shadows]


def _shadow(version: ModelVersion) -> dict[str, Any]:
    return {"model_id": version.pk, "version": version.version}
