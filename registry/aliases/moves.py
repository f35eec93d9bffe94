"""Moving an alias: set it, roll it back, remove it. Each move is one transaction with its history.

To rule out deadlocks between moves, deactivations and deletions, versions are locked before
aliases, both in id order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Final, TypeAlias

from django.db import transaction
from django.db.models import Q

from registry.aliases.recording import (
    SYSTEM,
    AliasMoved,
    Attribution,
    delete_alias,
    lock_or_create,
    save_move,
)
from registry.aliases.validation import (
    MoveRefused,
    pass_promotion_gate,
    require_compatible,
    require_distinct_roles,
    require_loadable,
    require_usable,
)
from registry.models import Alias, AliasMove, Arms, ModelNotFound, ModelVersion

CanarySpec: TypeAlias = tuple[str, float]
"""A version and its percentage of the subjects."""


class Unchanged(Enum):
    """The type of UNCHANGED, since None already means "no canary"."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


def set_alias(
    *,
    name: str,
    alias: str,
    version: str,
    canary: CanarySpec | Unchanged | None = UNCHANGED,
    shadows: Sequence[str] | Unchanged = UNCHANGED,
    force: bool = False,
    require: Mapping[str, object] | None = None,
    attribution: Attribution = SYSTEM,
) -> tuple[Alias, bool]:
    """Point an alias at a version, creating it if necessary; also returns whether it is new.

    A version that is promoted stops being canary or shadow; otherwise an UNCHANGED canary and
    UNCHANGED shadows stay. A move that changes nothing is not recorded. With `require`, the
    promotion gate must accept the new version.

    Raises ModelNotFound; MoveRefused if a version is inactive, has no artifact, is in quarantine,
    cannot be loaded (but shadows may) or (unless `force`) could not score what the alias's callers
    send; AliasMoved if the alias no longer has the version that the gate compared with; and
    whatever the gate raises.
    """
    compared_id = None
    if require is not None:
        compared_id = pass_promotion_gate(name, alias, version, require)
    answering = {version, canary[0]} if isinstance(canary, tuple) else {version}
    numbers = answering.union(() if shadows is UNCHANGED else shadows)
    require_loadable(ModelVersion.objects.filter(name=name, version__in=answering))
    with transaction.atomic():
        versions = _lock_versions(name, numbers)
        for locked in versions.values():
            require_usable(locked)
        row, is_new = lock_or_create(name, alias, versions[version])
        if compared_id is not None and (is_new or row.version_id != compared_id):
            raise _moved_by_someone_else(row)
        before = None if is_new else row.arms
        after = _arms_after(before, versions[version], canary, shadows, versions)
        if after != before:
            _validate_and_save(row, before, after, force=force, attribution=attribution)
    return row, is_new


def _validate_and_save(
    row: Alias, before: Arms | None, after: Arms, *, force: bool, attribution: Attribution
) -> None:
    require_distinct_roles(after)
    if not force:
        require_compatible(after, before)
    is_same_version = before is not None and before.version == after.version
    action = AliasMove.Action.CONFIGURED if is_same_version else AliasMove.Action.SET
    save_move(row, before, after, action, attribution)


def rollback(*, name: str, alias: str, attribution: Attribution = SYSTEM) -> Alias:
    """Restore the versions from before the last change of version; a second call goes further back.

    The canary is not restored, because it usually was the version that is being rolled back.
    Shadows are, unless they have become unusable. Raises AliasNotFound; MoveRefused if there is no
    earlier version or it is unusable; AliasMoved if someone else moves the alias at the same time.
    """
    Alias.objects.find(name, alias)
    moves = AliasMove.objects.rollback_target(name, alias)
    if moves is None:
        raise MoveRefused(f"{name}@{alias} has no earlier version to go back to")
    last, target = moves
    require_loadable(ModelVersion.objects.filter(pk=target.to_version_id or 0))
    shadow_ids = [shadow["model_id"] for shadow in target.shadows]
    with transaction.atomic():
        usable = {
            version.pk: version
            for version in _lock_in_id_order(Q(pk__in=[target.to_version_id, *shadow_ids]))
            if version.is_active and version.has_artifact
        }
        row = Alias.objects.lock().find(name, alias)
        newest = AliasMove.objects.last_move(name, alias)
        if newest is None or newest.number != last.number:
            raise _moved_by_someone_else(row)
        version = usable.pop(target.to_version_id or 0, None)
        if version is None:
            raise MoveRefused(
                f"{row} cannot go back to {name}:{target.to_version}: it is inactive or deleted"
            )
        require_usable(version)
        shadows = (usable[pk] for pk in sorted(usable) if usable[pk].quarantined_at is None)
        after = Arms(version, shadows=tuple(shadows))
        # If the target is itself a rollback, refer to the move that it restored.
        restores = target.restores or target.number
        save_move(
            row, row.arms, after, AliasMove.Action.ROLLED_BACK, attribution, restores=restores
        )
    return row


def remove_alias(*, name: str, alias: str, attribution: Attribution = SYSTEM) -> None:
    """Remove an alias but keep its history. Raises AliasNotFound."""
    with transaction.atomic():
        row = Alias.objects.lock().find(name, alias)
        delete_alias(row, AliasMove.Action.REMOVED, attribution)


def _lock_versions(name: str, numbers: set[str]) -> dict[str, ModelVersion]:
    locked = _lock_in_id_order(Q(name=name, version__in=numbers))
    by_number = {version.version: version for version in locked}
    if missing := sorted(numbers - by_number.keys()):
        raise ModelNotFound(f"Model {name}:{missing[0]} not found")
    return by_number


def _lock_in_id_order(condition: Q) -> Iterable[ModelVersion]:
    # Not the key: inserted predictions refer to it, and must not wait for this transaction.
    return ModelVersion.objects.select_for_update(no_key=True).filter(condition).order_by("pk")


def _arms_after(
    before: Arms | None,
    version: ModelVersion,
    canary: CanarySpec | Unchanged | None,
    shadows: Sequence[str] | Unchanged,
    versions: Mapping[str, ModelVersion],
) -> Arms:
    after = replace(before, version=version) if before else Arms(version)
    if canary is None or (canary is UNCHANGED and after.canary == version):
        after = replace(after, canary=None, canary_percent=None)
    elif canary is not UNCHANGED:
        after = replace(after, canary=versions[canary[0]], canary_percent=canary[1])
    if shadows is UNCHANGED:
        remaining = (shadow for shadow in after.shadows if shadow != version)
        return replace(after, shadows=tuple(remaining))
    chosen = {versions[number] for number in shadows}
    return replace(after, shadows=tuple(sorted(chosen, key=lambda shadow: shadow.pk)))


def _moved_by_someone_else(row: Alias) -> AliasMoved:
    return AliasMoved(f"Someone else moved {row} in the meantime; check it and try again")
