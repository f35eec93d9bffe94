"""Which versions a run is about: resolved once, at its start, and pinned by their digests."""

from dataclasses import dataclass, replace
from pathlib import Path

from django.conf import settings

from predictions.scoring.work import Arms, ScoringFailed, VersionFile
from registry.loading import quarantine
from registry.loading.errors import ArtifactMissing
from registry.loading.loader import MAX_CALL_SECONDS
from registry.models import CHAMPION, Alias, ModelVersion
from registry.object_storage import urls
from registry.storage import files


@dataclass(frozen=True, slots=True)
class Pinned:
    """The versions that answer, and the alias by which they were found, if any."""

    arms: Arms
    alias: str | None


def model_of(specifier: str) -> str:
    """The name in `name`, `name@alias` or `name:version`."""
    return specifier.partition(":")[0].partition("@")[0]


def pin(specifier: str, *, with_canary: bool) -> Pinned:
    """What `name`, `name@alias` or `name:version` means now, with the alias's canary if asked.

    Raises ModelNotFound, ArtifactMissing, ModelQuarantined, StorageUnavailable, or ScoringFailed if
    a version's file is not there.
    """
    name, colon, version = specifier.partition(":")
    if colon:
        if with_canary:
            raise ScoringFailed("--canary needs an alias, such as name@champion")
        return Pinned(Arms(primary=_file(ModelVersion.objects.active_id(name, version))), None)
    name, at, alias = specifier.partition("@")
    route = Alias.objects.route(name, alias if at else CHAMPION)
    arms = Arms(primary=_file(route.version_id))
    if with_canary and route.canary_id is not None:
        arms = Arms(
            primary=arms.primary,
            canary=_file(route.canary_id),
            percent=float(route.canary_percent or 0),
            salt=route.salt,
        )
    return Pinned(arms, route.alias)


def renewed(pinned: Pinned) -> Pinned:
    """The same versions, with the place of their artifacts and the settings as they are now.

    Raises ModelNotFound if a version was deactivated, and otherwise what `pin` raises.
    """
    canary = pinned.arms.canary
    arms = replace(
        pinned.arms,
        primary=_renewed(pinned.arms.primary),
        canary=None if canary is None else _renewed(canary),
    )
    return replace(pinned, arms=arms)


def _renewed(earlier: VersionFile) -> VersionFile:
    found = _file(earlier.id)
    if (found.name, found.sha256) != (earlier.name, earlier.sha256):
        raise ScoringFailed(
            f"{earlier.name} is another version in this registry than when the run began"
        )
    return found


def _file(version_id: int) -> VersionFile:
    version = ModelVersion.objects.resolve(version_id)
    if not version.has_artifact:
        raise ArtifactMissing(f"Model {version} has no artifact yet")
    quarantine.require_released(version)
    if files.size(version) is None:
        raise ScoringFailed(f"The artifact of {version} is missing: {files.location(version)}")
    store, key = files.locate(version.artifact)
    folder = Path(settings.MODEL_PATH).resolve()
    return VersionFile(
        id=version.pk,
        name=str(version),
        framework=version.framework,
        storage=str(store) if urls.is_url(version.artifact) else str(folder),
        key=key,
        sha256=version.sha256,
        size_bytes=version.size_bytes or 0,
        cache=str(folder / files.CACHE_FOLDER),
        cache_bytes=settings.ARTIFACT_CACHE_BYTES,
        signature=version.signature,
        isolation=settings.MODEL_ISOLATION,
        is_suspect=version.is_suspect,
        trusted_types=sorted(settings.SKLEARN_TRUSTED_TYPES),
        origins=sorted(settings.REMOTE_ORIGINS),
        memory_bytes=settings.PROOF_MEMORY_BYTES,
        load_seconds=settings.PROOF_TIMEOUT_SECONDS,
        call_seconds=settings.HUNG_CALL_SECONDS or MAX_CALL_SECONDS,
    )
