"""The checks that refuse a move."""

from collections.abc import Iterable, Mapping

from registry import hooks
from registry.loading import loader
from registry.loading.errors import ModelNotReady, ModelQuarantined
from registry.models import (
    MAX_SHADOWS,
    Alias,
    AliasNotFound,
    Arms,
    ModelNotFound,
    ModelVersion,
)
from registry.signatures.compatibility import incompatibilities
from registry.signatures.signature import Signature


class MoveRefused(Exception):
    """The alias cannot be moved there. The message can be shown to the caller."""


def require_usable(version: ModelVersion) -> None:
    if not version.is_active:
        raise MoveRefused(f"Model {version} is inactive; activate it first")
    if not version.has_artifact:
        raise MoveRefused(f"Model {version} has no artifact; attach one first")
    if version.quarantined_at is not None:
        raise MoveRefused(
            f"Model {version} is in quarantine: {version.quarantine_reason}. Release it first"
        )


def require_loadable(versions: Iterable[ModelVersion]) -> None:
    """Load each usable version into this process, so that the alias's callers need not wait for it,
    nor find out that it cannot be loaded.

    Call this outside of any transaction: it may take seconds.
    """
    for version in versions:
        if not version.is_active or not version.has_artifact:
            continue
        try:
            loader.get(version.pk)
        except ModelNotReady as error:
            raise MoveRefused(
                f"{error}. An alias cannot send callers to {version}; the log of the server has the"
                " reason"
            ) from error
        except (ModelNotFound, ModelQuarantined):
            # The checks that follow say so in their own words.
            continue


def require_distinct_roles(arms: Arms) -> None:
    if arms.canary == arms.version:
        raise MoveRefused(f"Model {arms.version} cannot be its own canary")
    if arms.version in arms.shadows:
        raise MoveRefused(f"Model {arms.version} cannot be its own shadow")
    if len(arms.shadows) > MAX_SHADOWS:
        raise MoveRefused(f"The limit is {MAX_SHADOWS} shadows per alias, not {len(arms.shadows)}")


def require_compatible(after: Arms, before: Arms | None) -> None:
    """Refuse a move after which some version could not score what the alias's callers send."""
    pairs = [(version, after.version) for version in (after.canary, *after.shadows) if version]
    if before is not None and before.version != after.version:
        pairs.insert(0, (after.version, before.version))
    for new, old in pairs:
        reasons = incompatibilities(
            Signature.from_json(new.signature), Signature.from_json(old.signature)
        )
        if reasons:
            raise MoveRefused(
                f"Model {new} cannot serve the callers of {old}: {'; '.join(reasons)}. To move"
                " the alias anyway, send force."
            )


def pass_promotion_gate(name: str, alias: str, version: str, require: Mapping[str, object]) -> int:
    """Run the promotion gate, and return the id of the version that it compared with.

    Call this outside of any transaction: the gate may read a whole replay.
    """
    gate = hooks.extension().promotion_gate
    if gate is None:
        raise MoveRefused(
            "require is not supported, because no promotion gate is installed; leave it out"
        )
    try:
        current_id = Alias.objects.find(name, alias).version_id
    except AliasNotFound:
        raise MoveRefused(
            f"{name}@{alias} has no version yet to compare with; leave out require"
        ) from None
    candidate = ModelVersion.objects.filter(name=name, version=version).first()
    if candidate is None:
        raise ModelNotFound(f"Model {name}:{version} not found")
    if candidate.pk != current_id:
        gate(current_id, candidate.pk, require)
    return current_id
