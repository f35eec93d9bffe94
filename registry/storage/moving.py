"""Moves artifacts from one storage to another, one by one, while the service runs."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from django.conf import settings

from registry.models import ModelVersion
from registry.storage import files
from registry.storage.stores.base import Entry, Store, digest, digest_in, new_key
from registry.storage.stores.folder import Folder


def move(version: ModelVersion, target: Store) -> bool:
    """Copy the version's artifact to the target, verify it, and point the row at the copy.

    The source keeps its file. False if the row was deleted or changed meanwhile: the copy may then
    be an orphan. Raises FileNotFoundError, ArtifactDamaged, ArtifactRejected, StorageUnavailable or
    StorageFull, and changes nothing.
    """
    source, key = files.locate(version.artifact)
    content = files.content_of(version)
    new = new_key(content.sha256, PurePosixPath(key).suffix)
    artifact = target.artifact(new)
    with (
        files.claimed(artifact),
        source.fetch(key, content, Path(settings.MODEL_PATH)) as path,
    ):
        target.put(path, new, content)
        # Compare and swap: nobody else moves or deletes it now.
        rows = ModelVersion.objects.filter(pk=version.pk, artifact=version.artifact)
        return bool(rows.update(artifact=artifact))


def moved_files(source: Store, target: Store) -> Iterator[Entry]:
    """The files of the source that no row holds there, and whose content is in the target.

    Raises OSError.
    """
    for entry in source.entries():
        if files.is_held(source.artifact(entry.key)):
            continue
        sha256 = digest_in(entry.key)
        if sha256 is None and isinstance(source, Folder):
            sha256 = digest(source.path(entry.key))
        if sha256 and _is_in(target, sha256):
            yield entry


def _is_in(target: Store, sha256: str) -> bool:
    """Whether a row says that the content is in the target, and it is."""
    version = files.rows_in(target).filter(sha256=sha256).first()
    if version is None:
        return False
    _, key = files.locate(version.artifact)
    return target.size(key) == version.size_bytes
