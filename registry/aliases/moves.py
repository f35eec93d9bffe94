"""Moves of aliases: set, rolled back, removed, each whole and each kept in the history.

Versions are locked before aliases, both in the order of their ids, so that moves, deactivations and
deletions wait for each other and never in a circle.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal, TypeAlias

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from registry.models import (
    MAX_SHADOWS,
    Alias,
    AliasMove,
    AliasNotFound,
    AliasShadow,
    Arms,
    ModelNotFound,
    ModelVersion,
)
from registry.models.moves import SHORTEST_LIFE
from registry.signatures.compatibility import refusals
from registry.signatures.signature import Signature

logger = logging.getLogger(__name__)

# How often an alias may be removed by others between the tries to make and to lock it.
LOCK_TRIES = 10


class MoveRefused(Exception):
    """The alias can not be moved there; the message is for the caller."""


class AliasMoved(Exception):
    """The alias was moved by somebody else meanwhile; the message is for the caller."""


class Unchanged(Enum):
    KEPT = "kept"


KEPT = Unchanged.KEPT
Canary: TypeAlias = tuple[str, float]


@dataclass(frozen=True, slots=True)
class Cause:
    """Who moves an alias, and why; nobody where the registry does it by itself."""

    reason: str = ""
    user: User | None = None
    request_id: str = ""


BY_ITSELF = Cause()


def set_alias(
    *,
    name: str,
    alias: str,
    version: str,
    canary: Canary | Literal[Unchanged.KEPT] | None = KEPT,
    shadows: Sequence[str] | Literal[Unchanged.KEPT] = KEPT,
    force: bool = False,
    require: Mapping[str, Any] | None = None,
    cause: Cause = BY_ITSELF,
) -> tuple[Alias, bool]:
    """Point an alias at a version, making it where there is none; tell whether it is new.

    A canary (version and percent) and shadows that are not given stay, but for those that are
    promoted. A move to what is there already changes nothing. With `require`, PROMOTION_GATE must
    let the new version pass. Raises ModelNotFound; MoveRefused for a version that is inactive, has
    no artifact, or could not score what the present callers send (unless `force`); AliasMoved where
    the version that the gate compared is no longer the alias's; and what the gate raises.
    """
    compared = _pass_gate(name, alias, version, require) if require is not None else None
    given = [version, *([canary[0]] if isinstance(canary, tuple) else ())]
    given += [] if shadows is KEPT else shadows
    with transaction.atomic():
        versions = _lock_versions(name, given)
        for each in versions.values():
            _require_usable(each)
        row, is_new = lock_or_make(name, alias, versions[version])
        if compared is not None and (is_new or row.version_id != compared):
            raise AliasMoved(
                f"{row} was moved by somebody else meanwhile; look at it and try again"
            )
        before = None if is_new else row.arms
        after = _arms_after(before, versions[version], canary, shadows, versions)
        if after != before:
            _require_sensible(after)
            if not force:
                _require_accepting(after, before)
            _set(row, before, after, cause)
    return row, is_new


def rollback(*, name: str, alias: str, cause: Cause = BY_ITSELF) -> Alias:
    """Return to what an alias was before its last change of version; again, and further back.

    The canary is not restored: it mostly was the version that is left now. Shadows are, where they
    still can answer. Raises AliasNotFound; MoveRefused where there is nothing before, or nothing
    that can answer; AliasMoved where somebody else moved it at the same time.
    """
    Alias.objects.find(name, alias)
    found = AliasMove.objects.before_last_change(name, alias)
    if found is None:
        raise MoveRefused(f"{name}@{alias} had no other version before this one")
    last, target = found
    shadow_ids = [shadow["model_id"] for shadow in target.shadows]
    with transaction.atomic():
        usable = {
            version.pk: version
            for version in _locked(pk__in=[target.to_version_id, *shadow_ids])
            if version.is_active and version.has_artifact
        }
        row = Alias.objects.lock().find(name, alias)
        newest = AliasMove.objects.last_of(name, alias)
        if newest is None or newest.number != last.number:
            raise AliasMoved(
                f"{row} was moved by somebody else meanwhile; look at it and try again"
            )
        version = usable.pop(target.to_version_id or 0, None)
        if version is None:
            raise MoveRefused(
                f"{name}:{target.to_version}, which {row} was before, is inactive or deleted"
            )
        after = Arms(version, shadows=tuple(usable[pk] for pk in sorted(usable)))
        # What a rollback went back to is told by the move that first led there.
        restores = target.restores or target.number
        write(row, row.arms, after, AliasMove.Action.ROLLED_BACK, cause, restores=restores)
    return row


def remove_alias(*, name: str, alias: str, cause: Cause = BY_ITSELF) -> None:
    """Remove an alias; its history stays. Raises AliasNotFound."""
    with transaction.atomic():
        row = Alias.objects.lock().find(name, alias)
        remove(row, AliasMove.Action.REMOVED, cause)


# -- steps of a move, inside its transaction


def lock_or_make(name: str, alias: str, version: ModelVersion) -> tuple[Alias, bool]:
    """The alias, locked until the transaction ends, and whether it was made now."""
    for _ in range(LOCK_TRIES):
        row = Alias.objects.lock().filter(name=name, alias=alias).first()
        if row is not None:
            return row, False
        made = Alias(name=name, alias=alias, version=version)
        # Waits for whoever makes the same one, and then adds nothing.
        Alias.objects.bulk_create([made], ignore_conflicts=True)
        row = Alias.objects.lock().filter(name=name, alias=alias).first()
        if row is not None:
            return row, row.salt == made.salt
    raise AliasMoved(f"{name}@{alias} is being made and removed by others; try again")


def write(
    row: Alias,
    before: Arms | None,
    after: Arms,
    action: AliasMove.Action,
    cause: Cause,
    *,
    restores: int | None = None,
) -> None:
    """Write what a locked alias is from now on, and the move."""
    move = _record(row, before, after, action, cause, restores=restores)
    row.version, row.canary, row.canary_percent = after.version, after.canary, after.canary_percent
    row.updated_at = move.created_at
    row.save(update_fields=["version", "canary", "canary_percent", "updated_at"])
    # Shadows that stay are not written anew: their versions are not locked, and the foreign key's
    # check would wait for whoever deletes one and waits for this alias.
    old = set(before.shadows) if before else set()
    row.shadows.filter(version__in=old - set(after.shadows)).delete()
    AliasShadow.objects.bulk_create(
        AliasShadow(alias=row, version=version) for version in after.shadows if version not in old
    )


def remove(row: Alias, action: AliasMove.Action, cause: Cause) -> None:
    """Delete a locked alias, and write the move."""
    _record(row, row.arms, None, action, cause)
    row.delete()


def _record(
    row: Alias,
    before: Arms | None,
    after: Arms | None,
    action: AliasMove.Action,
    cause: Cause,
    *,
    restores: int | None = None,
) -> AliasMove:
    last = AliasMove.objects.last_of(row.name, row.alias)
    move = AliasMove(
        name=row.name,
        alias=row.alias,
        number=last.number + 1 if last else 1,
        action=action,
        restores=restores,
        reason=cause.reason,
        user=cause.user,
        request_id=cause.request_id,
        # Under the alias's lock: the later of two moves has the later time, whatever clocks say.
        created_at=max(timezone.now(), last.created_at + SHORTEST_LIFE) if last else timezone.now(),
    )
    move.describe(before, after)
    move.save(force_insert=True)
    logger.info(
        "%s: %s, from %s to %s",
        move,
        action.label,
        move.from_version or "-",
        move.to_version or "-",
    )
    return move


def _set(row: Alias, before: Arms | None, after: Arms, cause: Cause) -> None:
    moves = before is None or before.version != after.version
    action = AliasMove.Action.SET if moves else AliasMove.Action.CONFIGURED
    write(row, before, after, action, cause)


def _lock_versions(name: str, texts: Iterable[str]) -> dict[str, ModelVersion]:
    wanted = set(texts)
    found = {version.version: version for version in _locked(name=name, version__in=wanted)}
    if missing := sorted(wanted - found.keys()):
        raise ModelNotFound(f"Model {name}:{missing[0]} not found")
    return found


def _locked(**which: Any) -> Iterable[ModelVersion]:
    # Not the key: every prediction that is written refers to it, and must not wait.
    return ModelVersion.objects.select_for_update(no_key=True).filter(**which).order_by("pk")


def _arms_after(
    before: Arms | None,
    version: ModelVersion,
    canary: Canary | Literal[Unchanged.KEPT] | None,
    shadows: Sequence[str] | Literal[Unchanged.KEPT],
    versions: Mapping[str, ModelVersion],
) -> Arms:
    """The wish, completed by what is there: what is promoted is no longer canary or shadow."""
    after = replace(before, version=version) if before else Arms(version)
    if canary is None or (canary is KEPT and after.canary == version):
        after = replace(after, canary=None, canary_percent=None)
    elif canary is not KEPT:
        after = replace(after, canary=versions[canary[0]], canary_percent=canary[1])
    if shadows is KEPT:
        kept = (shadow for shadow in after.shadows if shadow != version)
        return replace(after, shadows=tuple(kept))
    given = {versions[text] for text in shadows}
    return replace(after, shadows=tuple(sorted(given, key=lambda shadow: shadow.pk)))


# -- what a move must not do


def _require_usable(version: ModelVersion) -> None:
    if not version.is_active:
        raise MoveRefused(f"Model {version} is inactive; activate it first")
    if not version.has_artifact:
        raise MoveRefused(f"Model {version} has no artifact yet")


def _require_sensible(arms: Arms) -> None:
    if arms.canary == arms.version:
        raise MoveRefused(f"Model {arms.version} can not be its own canary")
    if arms.version in arms.shadows:
        raise MoveRefused(f"Model {arms.version} can not be its own shadow")
    if len(arms.shadows) > MAX_SHADOWS:
        raise MoveRefused(f"An alias has {MAX_SHADOWS} shadows at most, not {len(arms.shadows)}")


def _require_accepting(after: Arms, before: Arms | None) -> None:
    """Each version of an alias must score what its callers send."""
    pairs = [(version, after.version) for version in (after.canary, *after.shadows) if version]
    if before is not None and before.version != after.version:
        pairs.insert(0, (after.version, before.version))
    for new, old in pairs:
        reasons = refusals(Signature.from_json(new.signature), Signature.from_json(old.signature))
        if reasons:
            raise MoveRefused(
                f"Model {new} could not answer the callers of {old}: {'; '.join(reasons)}. Send"
                " force to move it all the same."
            )


def _pass_gate(name: str, alias: str, version: str, require: Mapping[str, Any]) -> int:
    """Have PROMOTION_GATE compare the two versions, and return the id of the old one.

    No transaction is open meanwhile: it may read a whole replay.
    """
    try:
        current = Alias.objects.find(name, alias).version_id
    except AliasNotFound:
        raise MoveRefused(f"{name}@{alias} holds no version yet to compare with") from None
    wanted = ModelVersion.objects.filter(name=name, version=version).first()
    if wanted is None:
        raise ModelNotFound(f"Model {name}:{version} not found")
    if wanted.pk != current:
        gate: Callable[[int, int, Mapping[str, Any]], None] = import_string(settings.PROMOTION_GATE)
        gate(current, wanted.pk, require)
    return current
