"""How activating, deactivating and deleting a version affects aliases."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Unpack

from django.db import transaction

from registry.access import audit
from registry.aliases.recording import (
    SYSTEM,
    Attribution,
    delete_alias,
    lock_or_create,
    save_move,
)
from registry.models import (
    CHAMPION,
    Alias,
    AliasMove,
    Arms,
    AuditEvent,
    ModelVersion,
    RegisteredModel,
    VersionChanges,
)

MAX_LISTED_ALIASES = 5
FIRST_VERSION_REASON = "The first active version with an artifact"


class VersionInUse(Exception):
    """Predictions or aliases refer to the version. The message can be shown to the caller."""


def update_version(
    *,
    model_id: int,
    force: bool = False,
    attribution: Attribution = SYSTEM,
    **changes: Unpack[VersionChanges],
) -> ModelVersion:
    """Change a version's metrics, description, tags, limits or activation.

    Activating a version makes it champion if its name never had one. Deactivating a version that an
    alias uses takes `force`, which removes it as canary and shadow. An alias whose own version is
    deactivated keeps it, and answers 404 until it is moved. Raises ModelNotFound or VersionInUse.
    """
    with transaction.atomic():
        version = ModelVersion.objects.select_for_update(no_key=True).find(model_id)
        is_active = changes.get("is_active", version.is_active)
        if version.is_active and not is_active:
            _withdraw_from_aliases(version, force, attribution)
        version.update(**changes)
        if changes:
            audit.record_version(
                AuditEvent.Action.VERSION_CHANGED,
                attribution.accessor,
                version,
                changed=sorted(changes),
            )
        if "is_active" in changes:
            promote_first_version(version, attribution)
    return version


def promote_first_version(version: ModelVersion, attribution: Attribution) -> None:
    """Make a usable version champion if its name never had one, and moves need no approval.

    The caller has locked the version or just written it. A champion that was deleted with its only
    version does not count. One that a user removed does, so that it stays removed.
    """
    if not version.is_active or not version.has_artifact:
        return
    if RegisteredModel.objects.needs_approval(version.name):
        return
    if Alias.objects.filter(name=version.name, alias=CHAMPION).exists():
        return
    last = AliasMove.objects.last_move(version.name, CHAMPION)
    if last is not None and last.action != AliasMove.Action.DELETED:
        return
    row, is_new = lock_or_create(version.name, CHAMPION, version)
    if is_new:
        attribution = replace(attribution, reason=FIRST_VERSION_REASON)
        save_move(row, None, Arms(version), AliasMove.Action.AUTOMATIC, attribution)


def end_canaries(version_id: int, attribution: Attribution) -> list[Alias]:
    """Stop a version from answering as a canary, and return the aliases where it did.

    Their own versions answer all subjects from then on. Without a user in the attribution this
    needs no approval, because it only takes callers away from the version.
    """
    with transaction.atomic():
        version = ModelVersion.objects.select_for_update(no_key=True).find(version_id)
        aliases = list(Alias.objects.filter(canary=version).lock())
        for row in aliases:
            before = row.arms
            after = replace(before, canary=None, canary_percent=None)
            save_move(row, before, after, AliasMove.Action.CONFIGURED, attribution)
    return aliases


def release_for_deletion(version: ModelVersion) -> None:
    """Make sure that no alias refers to a locked version. Raises VersionInUse if one does.

    The exception is a name's only version that became champion automatically: nobody chose that
    alias, so it is deleted as well.
    """
    aliases = list(Alias.objects.referring_to(version).lock())
    if (
        len(aliases) == 1
        and not RegisteredModel.objects.needs_approval(version.name)
        and automatic_champions([version]) == aliases
    ):
        delete_alias(aliases[0], AliasMove.Action.DELETED, SYSTEM)
    elif aliases:
        raise VersionInUse(
            f"Model {version.pk} is used by {_join_names(aliases)}; move or remove"
            f" {'it' if len(aliases) == 1 else 'them'} first"
        )


def automatic_champions(versions: Iterable[ModelVersion]) -> list[Alias]:
    """The aliases that are deleted with these versions: champions that nobody chose, each of a name
    without any other version.
    """
    return [
        alias
        for version in versions
        for alias in Alias.objects.filter(version=version, alias=CHAMPION)
        if not ModelVersion.objects.filter(name=version.name).exclude(pk=version.pk).exists()
        and (last := AliasMove.objects.last_move(alias.name, alias.alias)) is not None
        and last.action == AliasMove.Action.AUTOMATIC
    ]


def _withdraw_from_aliases(version: ModelVersion, force: bool, attribution: Attribution) -> None:
    aliases = list(Alias.objects.referring_to(version).lock())
    if aliases and not force:
        raise VersionInUse(
            f"Model {version.pk} is used by {_join_names(aliases)}; move"
            f" {'it' if len(aliases) == 1 else 'them'} first, or send force"
        )
    for row in aliases:
        before = row.arms
        remaining = tuple(shadow for shadow in before.shadows if shadow != version)
        after = replace(before, shadows=remaining)
        if after.canary == version:
            after = replace(after, canary=None, canary_percent=None)
        if after != before:
            save_move(row, before, after, AliasMove.Action.WITHDRAWN, attribution)


def _join_names(aliases: list[Alias]) -> str:
    more = len(aliases) - MAX_LISTED_ALIASES
    names = ", ".join(str(alias) for alias in aliases[:MAX_LISTED_ALIASES])
    return f"{names} and {more} more" if more > 0 else names
