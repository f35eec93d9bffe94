"""Writing an alias together with the move that explains the change.

Every function runs inside the caller's transaction, on an alias that the caller has locked.
"""

import logging
from dataclasses import dataclass
from typing import Self

from django.contrib.auth.models import User
from django.http import HttpRequest
from rest_framework.request import Request

from registry.access import audit
from registry.access.accessor import Accessor
from registry.aliases.decisions import close
from registry.database import clock
from registry.models import (
    Alias,
    AliasMove,
    AliasRequest,
    AliasShadow,
    ApiKey,
    Arms,
    AuditEvent,
    ModelVersion,
    RegisteredModel,
)
from registry.models.alias_moves import MIN_MOVE_INTERVAL
from registry.webhooks.announcements import announce_move

logger = logging.getLogger(__name__)

# Each retry means that others removed the alias between the attempts to create and to lock it.
MAX_LOCK_ATTEMPTS = 10


class AliasMoved(Exception):
    """Someone else moved the alias in the meantime. The message can be shown to the caller."""


class ApprovalRequired(Exception):
    """Somebody else must approve the move first. The message can be shown to the caller."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who made a change, and why; for a move that somebody asked for, who approved it."""

    reason: str = ""
    user: User | None = None
    request_id: str = ""
    key: ApiKey | None = None
    approved: AliasRequest | None = None

    @classmethod
    def from_request(cls, request: HttpRequest | Request, reason: str = "") -> Self:
        accessor = Accessor.of(request)  # every change requires authentication
        return cls(reason, accessor.user, accessor.request_id, accessor.key)

    @property
    def accessor(self) -> Accessor:
        """Who it was, for the audit trail."""
        return Accessor(self.user, self.key, self.request_id)


# The registry acts on its own.
SYSTEM = Attribution()


def lock_or_create(name: str, alias: str, version: ModelVersion) -> tuple[Alias, bool]:
    """Lock the alias until the transaction ends, and say whether this call created it."""
    for _ in range(MAX_LOCK_ATTEMPTS):
        row = Alias.objects.lock().filter(name=name, alias=alias).first()
        if row is not None:
            return row, False
        created = Alias(name=name, alias=alias, version=version)
        # If another transaction is creating this alias, this waits for it and then adds nothing.
        Alias.objects.bulk_create([created], ignore_conflicts=True)
        row = Alias.objects.lock().filter(name=name, alias=alias).first()
        if row is not None:
            return row, row.salt == created.salt
    raise AliasMoved(f"Others keep creating and removing {name}@{alias}; try again")


def save_move(
    row: Alias,
    before: Arms | None,
    after: Arms,
    action: AliasMove.Action,
    attribution: Attribution,
    *,
    restores: int | None = None,
) -> None:
    """Give the alias its new versions, and add the move to its history."""
    move = _record(row, before, after, action, attribution, restores=restores)
    row.version, row.canary, row.canary_percent = after.version, after.canary, after.canary_percent
    row.updated_at = move.created_at
    row.save(update_fields=["version", "canary", "canary_percent", "updated_at"])
    # Shadows that stay are not rewritten. Their versions are not locked, so the foreign key check
    # could wait for a transaction that is deleting one and is itself waiting for this alias.
    old = set(before.shadows) if before else set()
    row.shadows.filter(version__in=old - set(after.shadows)).delete()
    AliasShadow.objects.bulk_create(
        AliasShadow(alias=row, version=version) for version in after.shadows if version not in old
    )


def delete_alias(row: Alias, action: AliasMove.Action, attribution: Attribution) -> None:
    """Delete the alias, and add the move to its history, which stays."""
    _record(row, row.arms, None, action, attribution)
    row.delete()


def _record(
    row: Alias,
    before: Arms | None,
    after: Arms | None,
    action: AliasMove.Action,
    attribution: Attribution,
    *,
    restores: int | None = None,
) -> AliasMove:
    last = AliasMove.objects.last_move(row.name, row.alias)
    _check_approval(row, action, attribution, last.number if last else 0)
    # The alias is locked, so a later move gets a later time even if the clocks of two hosts differ.
    now = clock.now()
    move = AliasMove(
        name=row.name,
        alias=row.alias,
        number=last.number + 1 if last else 1,
        action=action,
        restores=restores,
        reason=attribution.reason,
        user=attribution.user,
        approved_request=attribution.approved,
        request_id=attribution.request_id,
        created_at=max(now, last.created_at + MIN_MOVE_INTERVAL) if last else now,
    )
    move.set_arms(before, after)
    move.save(force_insert=True)
    _audit(move, attribution)
    announce_move(move)
    logger.info(
        "%s: %s, from %s to %s",
        move,
        action.label,
        move.from_version or "-",
        move.to_version or "-",
    )
    return move


def _audit(move: AliasMove, attribution: Attribution) -> None:
    audit.record(
        AuditEvent.Action.ALIAS_MOVED,
        attribution.accessor,
        model=move.name,
        target=f"{move.name}@{move.alias}",
        details={
            "move": move.number,
            "action": str(move.action),
            "from": move.from_version,
            "to": move.to_version,
            "reason": move.reason,
        },
    )


def _check_approval(
    row: Alias, action: AliasMove.Action, attribution: Attribution, last_number: int
) -> None:
    """Refuse a user's move that must be approved first, and one that was approved for another state
    of the alias. What the registry does on its own needs no approval.
    """
    if attribution.approved is not None:
        if attribution.approved.based_on != last_number:
            raise AliasMoved(f"{row} has been moved since this was asked for; ask again")
        approved = AliasRequest.Status.APPROVED
        close(attribution.approved, approved, attribution.reason, attribution.accessor)
    elif (
        attribution.user is not None
        and action in AliasMove.ACTIONS_TO_APPROVE
        and RegisteredModel.objects.needs_approval(row.name)
    ):
        raise ApprovalRequired(f"Somebody else must approve each move of {row}; ask for it")
