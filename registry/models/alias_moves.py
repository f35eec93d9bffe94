"""The alias history: which versions an alias had at any time, and who changed them."""

from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils import timezone

from registry.exact_json.fields import ExactJSONField
from registry.models.alias_requests import MAX_REASON_LENGTH, AliasRequest
from registry.models.aliases import MAX_ALIAS_LENGTH, AliasNotFound, Arms

# The moves of an alias have distinct times, so that a point in time identifies one of them.
MIN_MOVE_INTERVAL = timedelta(microseconds=1)


class AliasMoveQuerySet(models.QuerySet["AliasMove"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def of_alias(self, name: str, alias: str) -> Self:
        return self.filter(name=name, alias=alias)

    def with_users(self) -> Self:
        return self.select_related("user", "approved_request__requested_by")

    def last_move(self, name: str, alias: str) -> "AliasMove | None":
        return self.of_alias(name, alias).order_by("-number").first()

    def live_at(self, name: str, alias: str, at: datetime) -> "AliasMove":
        """The latest move at that time, in one query. Raises AliasNotFound."""
        move = self.of_alias(name, alias).filter(created_at__lte=at).newest_first().first()
        if move is None or move.to_version_id is None:
            raise AliasNotFound(
                f"Model {name}@{alias} not found: no such alias at {at.isoformat()}"
            )
        return move

    def rollback_target(self, name: str, alias: str) -> "tuple[AliasMove, AliasMove] | None":
        """The alias's last move, and the earlier move whose versions a rollback restores.

        None if there is nothing to go back to. A rollback undoes one change of version. It counts
        as the move that it restored, so that a second rollback goes further back instead of undoing
        the first.
        """
        moves = self.of_alias(name, alias)
        last = moves.order_by("-number").first()
        changes = moves.exclude(action__in=AliasMove.ACTIONS_KEEPING_VERSION).order_by("-number")
        change = changes.first()
        while change is not None and change.restores is not None:
            change = changes.filter(number__lte=change.restores).first()
        target = moves.filter(number=change.number - 1).first() if change else None
        if last is None or last.to_version_id is None or target is None:
            return None
        return None if target.to_version_id is None else (last, target)


class AliasMove(models.Model):
    """One change of an alias: who made it and why, and the versions that were live from then on.

    Rows are only ever added: database triggers refuse updates and deletions. Versions are stored by
    id and text, without a foreign key, so that a version no longer in use can still be deleted.
    """

    class Action(models.TextChoices):
        AUTOMATIC = "automatic", "first version became champion"
        SET = "set", "version set"
        CONFIGURED = "configured", "canary or shadows changed"
        WITHDRAWN = "withdrawn", "deactivated version removed"
        ROLLED_BACK = "rolled_back", "rolled back"
        REMOVED = "removed", "alias removed"
        DELETED = "deleted", "alias deleted with its only version"

    ACTIONS_KEEPING_VERSION = (Action.CONFIGURED, Action.WITHDRAWN)
    # For models that need approval. Deactivating a version must stay possible at once.
    ACTIONS_TO_APPROVE = (Action.SET, Action.CONFIGURED, Action.ROLLED_BACK, Action.REMOVED)

    name = models.CharField(max_length=100)
    alias = models.CharField(max_length=MAX_ALIAS_LENGTH)
    number = models.PositiveIntegerField(
        help_text="Counts this alias's moves from 1, without gaps."
    )
    action = models.CharField(max_length=20, choices=Action)
    from_version_id = models.BigIntegerField(null=True)
    from_version = models.CharField(max_length=50, blank=True)
    to_version_id = models.BigIntegerField(null=True, help_text="Null if the alias was removed.")
    to_version = models.CharField(max_length=50, blank=True)
    canary_id = models.BigIntegerField(null=True)
    canary_version = models.CharField(max_length=50, blank=True)
    canary_percent = models.FloatField(null=True)
    shadows = ExactJSONField(default=list, help_text="Each shadow's model id and version.")
    restores = models.PositiveIntegerField(
        null=True, help_text="For a rollback, the number of the move that it restored."
    )
    reason = models.CharField(max_length=MAX_REASON_LENGTH, blank=True)
    # No index: moves are looked up by user only when a user is deleted, which is rare.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    # If somebody asked for the move and `user` approved it.
    approved_request = models.ForeignKey(
        AliasRequest, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
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
            # GET /aliases/{name}/{alias}/history/, and GET /aliases/{name}/{alias}/?at=...
            models.Index(
                "name",
                "alias",
                F("created_at").desc(),
                F("id").desc(),
                name="alias_move_newest_of_alias",
            ),
            # The admin's list.
            models.Index(F("created_at").desc(), F("id").desc(), name="alias_move_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.name}@{self.alias} #{self.number}"

    def set_arms(self, before: Arms | None, after: Arms | None) -> None:
        """Fill in the versions before and after this move; None means that there is no alias."""
        if before is not None:
            self.from_version_id, self.from_version = before.version.pk, before.version.version
        if after is None:
            return
        self.to_version_id, self.to_version = after.version.pk, after.version.version
        if after.canary is not None:
            self.canary_id, self.canary_version = after.canary.pk, after.canary.version
            self.canary_percent = after.canary_percent
        self.shadows = [
            {"model_id": shadow.pk, "version": shadow.version} for shadow in after.shadows
        ]
