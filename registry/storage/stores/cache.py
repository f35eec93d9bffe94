"""Files of object storage on this machine, shared by its processes. No Django here.

A process holds a shared lock on a file while it uses it, or fetches it. A file is evicted by a
process that gets the exclusive lock, so never while it is in use. Files appear by link(), which
replaces nothing. No file is trusted: its digest is compared each time it is loaded.
"""

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from registry.artifacts.errors import StorageUnavailable, storage_errors
from registry.locks.file_locks import is_at, locked_file
from registry.storage.stores.base import DAMAGED, ArtifactDamaged, Content

logger = logging.getLogger(__name__)

CACHE_FOLDER = "cache of artifacts"
PART = ".part"
LOCK = ".lock"
# Each one fails only if another process has just evicted the file or found it damaged.
TRIES = 5

Fetch = Callable[[], Iterable[bytes | memoryview]]


class FileCache:
    """Keeps the most recently used files, of at most `limit_bytes` together (0: no limit).

    Files in use stay beyond the limit.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self._limit_bytes = limit_bytes

    @contextmanager
    def open(
        self, name: str, content: Content, fetch: Fetch, *, is_verified: bool = True
    ) -> Iterator[Path]:
        """The path of a file with the content, which stays until the context ends.

        `fetch` provides it if it is not in the cache, or is damaged there. Unless `is_verified`,
        only the size is compared. Raises StorageFull or StorageUnavailable, ArtifactDamaged if
        `fetch` provides something else, and what `fetch` raises.
        """
        with storage_errors(CACHE_FOLDER):
            self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = self._held(name, content, fetch, is_verified)
        try:
            yield self.folder / name
        finally:
            os.close(descriptor)

    def has(self, name: str, content: Content) -> bool:
        """Whether there is a file with that name and size."""
        with suppress(OSError):
            return (self.folder / name).stat().st_size == content.size_bytes
        return False

    def adopt(self, path: Path, name: str, content: Content) -> None:
        """Link a file of the same file system into the cache; it must not be changed any more.

        If that fails, the file is fetched when it is needed.
        """
        with suppress(OSError):
            self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._make_room(content.size_bytes)
            os.link(path, self.folder / name)

    def _held(self, name: str, content: Content, fetch: Fetch, is_verified: bool) -> int:
        for _ in range(TRIES):
            descriptor = self._open(name)
            if descriptor is None:
                # The processes that start together need the same files: one fetches each.
                with _waiting(self.folder / f"{name}{LOCK}"):
                    descriptor = self._open(name)
                    if descriptor is None:
                        fetched = self._fetch(name, content, fetch)
                        if fetched is None:
                            continue
                        return fetched
            if _is_intact(descriptor, content, is_verified):
                # A cache that cannot be written still serves what it has.
                with suppress(OSError):
                    os.utime(descriptor)
                return descriptor
            logger.warning("The cached file %s is damaged, and is fetched again", name)
            self._drop(name, descriptor)
        raise StorageUnavailable(f"The {CACHE_FOLDER} is too busy. Try again later.")

    def _open(self, name: str) -> int | None:
        """The file, open and with the shared lock; None if there is none."""
        path = self.folder / name
        with storage_errors(CACHE_FOLDER):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            except FileNotFoundError:
                return None
        # Waits no longer than another process takes to remove it.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if is_at(path, descriptor):
            return descriptor
        os.close(descriptor)
        return None

    def _drop(self, name: str, descriptor: int) -> None:
        """Remove a damaged file and close it; those that have it open notice for themselves."""
        path = self.folder / name
        try:
            with storage_errors(CACHE_FOLDER), suppress(FileNotFoundError):
                if is_at(path, descriptor):
                    path.unlink()
        finally:
            os.close(descriptor)

    def _fetch(self, name: str, content: Content, fetch: Fetch) -> int | None:
        """Fetch the file, and return it open with the shared lock; None if another process was
        faster.
        """
        with storage_errors(CACHE_FOLDER):
            self._make_room(content.size_bytes)
        part = self.folder / f"{name}{PART}"
        with storage_errors(CACHE_FOLDER):
            # A killed process may have left one.
            part.unlink(missing_ok=True)
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640)
        is_published = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            # Otherwise it was evicted before it was locked.
            if is_at(part, descriptor):
                if _write(descriptor, fetch()) != content.sha256:
                    raise ArtifactDamaged(DAMAGED)
                # Somebody may have deleted the folder: then the object is not what is missing.
                with storage_errors(CACHE_FOLDER), suppress(FileExistsError):
                    os.link(part, self.folder / name)
                    is_published = True
        finally:
            part.unlink(missing_ok=True)
            if not is_published:
                os.close(descriptor)
        return descriptor if is_published else None

    def _make_room(self, size_bytes: int) -> None:
        """Evict the least recently used files until one of that size fits."""
        if not self._limit_bytes:
            return
        files = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                # Another process may have evicted it.
                with suppress(FileNotFoundError):
                    if not entry.name.endswith(LOCK) and entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        files.append((status.st_mtime, status.st_size, Path(entry.path)))
        total_bytes = size_bytes + sum(size for _, size, _ in files)
        for _, file_bytes, path in sorted(files):
            if total_bytes <= self._limit_bytes:
                return
            if _evict(path):
                total_bytes -= file_bytes


@contextmanager
def _waiting(lock: Path) -> Iterator[None]:
    """Hold a lock; raises StorageUnavailable or StorageFull if its file cannot be created."""
    with ExitStack() as stack:
        # Only for the lock: what the caller raises under it stays what it is.
        with storage_errors(CACHE_FOLDER):
            stack.enter_context(locked_file(lock))
        yield


def _is_intact(descriptor: int, content: Content, is_verified: bool) -> bool:
    if os.fstat(descriptor).st_size != content.size_bytes:
        return False
    if not is_verified:
        return True
    with open(descriptor, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == content.sha256


def _write(descriptor: int, chunks: Iterable[bytes | memoryview]) -> str:
    """Write the chunks; return their SHA-256. Not flushed: a torn file is found damaged."""
    sha256 = hashlib.sha256()
    for chunk in chunks:
        sha256.update(chunk)
        view = memoryview(chunk)
        with storage_errors(CACHE_FOLDER):
            while view:
                view = view[os.write(descriptor, view) :]
    return sha256.hexdigest()


def _evict(path: Path) -> bool:
    """Remove a file unless somebody uses it; return whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(path, descriptor):
            path.unlink()
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
