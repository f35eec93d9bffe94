"""The files of versions, in the storage that the settings name or an earlier one.

A row says where its artifact is: a path relative to MODEL_PATH, or the URL of an object. So both
are read, whatever MODEL_STORAGE is, and versions can be moved one by one while the service runs.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import QuerySet

from registry.artifacts.errors import StorageUnavailable
from registry.artifacts.staging import StagedFile
from registry.locks.process_locks import LockHeld, process_lock, refuse_to_wait
from registry.models import ModelVersion
from registry.object_storage import urls
from registry.storage.stores.base import Content, Store, new_key
from registry.storage.stores.cache import FileCache
from registry.storage.stores.folder import Folder

if TYPE_CHECKING:
    from registry.storage.stores.bucket import Bucket

logger = logging.getLogger(__name__)

CACHE_FOLDER = ".cache"
# By process, since obstore's threads do not survive a fork; URL; folder and size of the cache.
_buckets: "dict[tuple[int, str, Path, int], Bucket]" = {}
_buckets_lock = Lock()


def current_store() -> Store:
    """Where new artifacts are kept; raises StorageUnavailable."""
    return store_at(settings.MODEL_STORAGE)


def store_at(url: str) -> Store:
    """The store with that URL, or the folder MODEL_PATH for an empty one.

    Raises StorageUnavailable.
    """
    return bucket_at(url) if url else Folder(Path(settings.MODEL_PATH))


def bucket_at(url: str) -> "Bucket":
    """The bucket and prefix with that URL, one object for each process.

    Raises StorageUnavailable if obstore is not installed.
    """
    folder = Path(settings.MODEL_PATH) / CACHE_FOLDER
    key = os.getpid(), url, folder, settings.ARTIFACT_CACHE_BYTES
    with _buckets_lock:
        if key not in _buckets:
            if not urls.is_installed():
                raise StorageUnavailable(urls.MISSING_PACKAGE)
            # On first use: obstore is optional.
            module = import_module("registry.storage.stores.bucket")
            _buckets[key] = module.Bucket(url, FileCache(folder, settings.ARTIFACT_CACHE_BYTES))
        return _buckets[key]


def locate(artifact: str) -> tuple[Store, str]:
    """The store of an artifact and its key there; raises StorageUnavailable."""
    url, key = _split(artifact)
    return store_at(url), key


def _split(artifact: str) -> tuple[str, str]:
    """The URL of a bucket, "" for the folder, and the key there."""
    if not urls.is_url(artifact):
        return "", artifact
    url, *key = artifact.rsplit("/", 3)
    return url, "/".join(key)


def location(version: ModelVersion) -> str:
    """Where the version's artifact is, for people: a path or a URL."""
    if urls.is_url(version.artifact):
        return version.artifact
    return str(Path(settings.MODEL_PATH) / version.artifact)


def content_of(version: ModelVersion) -> Content:
    return Content(version.sha256, version.size_bytes or 0)


def bucket_of(version: ModelVersion) -> "Bucket | None":
    """The bucket of the version's artifact; None if that is in the folder.

    Raises StorageUnavailable if obstore is not installed.
    """
    url = _split(version.artifact)[0]
    return bucket_at(url) if url else None


def is_cached(version: ModelVersion) -> bool:
    """Whether the version's artifact is in the cache, without verifying it."""
    bucket = bucket_of(version)
    key = _split(version.artifact)[1]
    return bucket is not None and bucket.is_cached(key, content_of(version))


def size(version: ModelVersion) -> int | None:
    """The size of the version's artifact in its storage; None if there is none.

    Raises ArtifactRejected or StorageUnavailable.
    """
    store, key = locate(version.artifact)
    return store.size(key)


@contextmanager
def local_file(version: ModelVersion, *, is_verified: bool = True) -> Iterator[Path]:
    """A local path of the version's artifact, valid until the context ends.

    Its digest is compared, or only its size unless `is_verified`. Raises FileNotFoundError,
    ArtifactDamaged, ArtifactRejected, StorageUnavailable or StorageFull.
    """
    with ExitStack() as stack:
        content, artifact = content_of(version), version.artifact
        try:
            store, key = locate(artifact)
            path = stack.enter_context(store.open(key, content, is_verified=is_verified))
        except FileNotFoundError:
            # It may have been moved to another storage since the row was read.
            rows = ModelVersion.objects.filter(pk=version.pk).exclude(artifact=artifact)
            moved = rows.values_list("artifact", flat=True).first()
            if not moved:
                raise
            store, key = locate(moved)
            path = stack.enter_context(store.open(key, content, is_verified=is_verified))
        yield path


@contextmanager
def placing(staged: StagedFile, suffix: str) -> Iterator[str]:
    """Move a staged file to the current storage; gives the `artifact` of its row.

    Commit the row inside the context. If an exception ends it and no row holds the file, the file
    is removed again; if the database does not respond, the file stays: a file without a row does no
    harm, while a row without its file could never answer. Raises StorageUnavailable or StorageFull.
    """
    store, content = current_store(), Content(staged.sha256, staged.size_bytes)
    key = new_key(content.sha256, suffix)
    artifact = store.artifact(key)
    with claimed(artifact):
        _put(store, staged, key, content)
        try:
            yield artifact
        except BaseException:
            with suppress(DatabaseError, InterfaceError, OSError):
                if not is_held(artifact):
                    store.delete(key)
            raise


def remove_unheld(artifact: str) -> bool:
    """Delete an artifact unless a row holds it or is about to; return whether it is gone.

    Raises OSError.
    """
    with suppress(LockHeld), claimed(artifact, waits=False):
        if is_held(artifact):
            return False
        store, key = locate(artifact)
        store.delete(key)
        return True
    return False


def rows_in(store: Store) -> QuerySet[ModelVersion]:
    """The versions whose artifacts are in that store."""
    rows = ModelVersion.objects.exclude(artifact="")
    if isinstance(store, Folder):
        return rows.exclude(artifact__contains="://")
    return rows.filter(artifact__startswith=store.artifact("sha256/"))


def is_held(artifact: str) -> bool:
    # No index: versions are few, and this is asked for a deletion or a failed registration.
    return ModelVersion.objects.filter(artifact=artifact).exists()


@contextmanager
def claimed(artifact: str, *, waits: bool = True) -> Iterator[None]:
    """Keep others from placing or deleting that artifact.

    Without this, an old file that no row holds could be swept just when a new row comes to share
    it. Raises LockHeld if somebody else has the lock and `waits` is false.
    """
    name = f"artifact-{hashlib.sha256(artifact.encode()).hexdigest()[:32]}"
    with process_lock(name) if waits else process_lock(name, on_wait=refuse_to_wait):
        yield


def _put(store: Store, staged: StagedFile, key: str, content: Content) -> None:
    try:
        store.put(staged.path, key, content)
    except StorageUnavailable as error:
        if not isinstance(store, Folder):
            logger.error("An artifact cannot be kept: %s", error.__cause__ or error)
        raise
    if not isinstance(store, Folder):
        bucket_at(str(store)).adopt(staged.path, key, content)
    staged.discard()
