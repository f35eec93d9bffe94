"""What a version's life means for the aliases: the first becomes champion, a held one stays."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.db import transaction

from registry.aliases.moves import BY_ITSELF, Cause, lock_or_make, remove, write
from registry.models import CHAMPION, Alias, AliasMove, Arms, ModelVersion

MAX_SHOWN = 5
FIRST = "The first active version with an artifact"


class VersionInUse(Exception):
    """Predictions or aliases refer to the version; the message is for the caller."""


def revise(
    *, model_id: int, force: bool = False, cause: Cause = BY_ITSELF, **changes: Any
) -> ModelVersion:
    """Write what may change of a version: metrics, description, tags, is_active.

    A version that is activated becomes champion where its name never had one. One that an alias
    holds is deactivated only by `force`: it is then taken out as canary and shadow, while an alias
    that it answers for keeps it, and answers 404 until it is moved. Raises ModelNotFound or
    VersionInUse.
    """
    with transaction.atomic():
        version = ModelVersion.objects.select_for_update(no_key=True).find(model_id)
        is_active = changes.get("is_active", version.is_active)
        if version.is_active and not is_active:
            _release(version, force, cause)
        version.revise(**changes)
        if "is_active" in changes:
            crown_first(version, cause)
    return version


def crown_first(version: ModelVersion, cause: Cause) -> None:
    """Make a version champion where it can answer and its name never had one.

    The caller has it locked, or has just written it. A champion that went with its only version
    counts for nothing; one that somebody removed stays removed.
    """
    if not version.is_active or not version.has_artifact:
        return
    if Alias.objects.filter(name=version.name, alias=CHAMPION).exists():
        return
    last = AliasMove.objects.last_of(version.name, CHAMPION)
    if last is not None and last.action != AliasMove.Action.DELETED:
        return
    row, is_new = lock_or_make(version.name, CHAMPION, version)
    if is_new:
        cause = replace(cause, reason=FIRST)
        write(row, None, Arms(version), AliasMove.Action.AUTOMATIC, cause)


def release_deleted(version: ModelVersion) -> None:
    """Let a locked version go: raise VersionInUse where an alias holds it.

    Nobody chose the champion that an only version became by itself: it goes with the version.
    """
    held = list(Alias.objects.holding(version).lock())
    if len(held) == 1 and automatic_champions([version]) == held:
        remove(held[0], AliasMove.Action.DELETED, BY_ITSELF)
    elif held:
        raise VersionInUse(
            f"Model {version.pk} is held by {_listed(held)}; move or remove"
            f" {'it' if len(held) == 1 else 'them'} first"
        )


def automatic_champions(versions: Iterable[ModelVersion]) -> list[Alias]:
    """The aliases that go with these versions, each the only one of its name, when deleted."""
    return [
        alias
        for version in versions
        for alias in Alias.objects.filter(version=version, alias=CHAMPION)
        if not ModelVersion.objects.filter(name=version.name).exclude(pk=version.pk).exists()
        and (last := AliasMove.objects.last_of(alias.name, alias.alias)) is not None
        and last.action == AliasMove.Action.AUTOMATIC
    ]


def _release(version: ModelVersion, force: bool, cause: Cause) -> None:
    held = list(Alias.objects.holding(version).lock())
    if held and not force:
        raise VersionInUse(
            f"Model {version.pk} is held by {_listed(held)}; move"
            f" {'it' if len(held) == 1 else 'them'} first, or force it"
        )
    for row in held:
        before = row.arms
        after = replace(before, shadows=tuple(each for each in before.shadows if each != version))
        if after.canary == version:
            after = replace(after, canary=None, canary_percent=None)
        if after != before:
            write(row, before, after, AliasMove.Action.WITHDRAWN, cause)


def _listed(aliases: list[Alias]) -> str:
    more = len(aliases) - MAX_SHOWN
    shown = ", ".join(str(alias) for alias in aliases[:MAX_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
