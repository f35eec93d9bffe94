"""Receives artifact files: one write to disk, hashed on the way, not yet part of any version.

Staged files lie in `.incoming/` below the store's root until they are placed or discarded. No
Django here.
"""

import contextlib
import hashlib
import os
import secrets
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from registry.artifacts.errors import (
    ARTIFACTS_FOLDER,
    ArtifactRejected,
    ArtifactTooLarge,
    storage_errors,
)

INCOMING = ".incoming"
LEFTOVER_AGE_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A complete file on disk that belongs to no version yet: place it or discard it."""

    path: Path
    sha256: str
    size_bytes: int

    def discard(self) -> None:
        """Remove the file; harmless once it is placed or discarded."""
        self.path.unlink(missing_ok=True)


class StagingWriter:
    """Writes one incoming file below `root` and hashes it.

    End it with `finish` or `discard`. If an exception prevents both, the file is removed with the
    writer. Raises StorageUnavailable or StorageFull.
    """

    def __init__(self, root: Path, *, limit_bytes: int) -> None:
        incoming = root / INCOMING
        self._path = incoming / secrets.token_hex(16)
        self._limit_bytes = limit_bytes
        self._sha256 = hashlib.sha256()
        self._size_bytes = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with storage_errors(ARTIFACTS_FOLDER):
            incoming.mkdir(mode=0o750, parents=True, exist_ok=True)
            _remove_leftovers(incoming)
            self._descriptor = os.open(self._path, flags, 0o640)
        self._abandon = weakref.finalize(self, _close_and_remove, self._descriptor, self._path)

    def write(self, chunk: bytes | memoryview) -> None:
        """Append a chunk; raises ArtifactTooLarge above the limit. Any error discards the file."""
        self._size_bytes += len(chunk)
        if self._size_bytes > self._limit_bytes:
            self.discard()
            raise ArtifactTooLarge(
                f"The file is larger than the limit of {self._limit_bytes} bytes."
            )
        self._sha256.update(chunk)
        try:
            with storage_errors(ARTIFACTS_FOLDER):
                _write_all(self._descriptor, chunk)
        except OSError:
            self.discard()
            raise

    def finish(self) -> StagedFile:
        """Flush the file to disk; raises ArtifactRejected if it is empty. Any error discards it."""
        try:
            if self._size_bytes == 0:
                raise ArtifactRejected("The file is empty.")
            with storage_errors(ARTIFACTS_FOLDER):
                os.fsync(self._descriptor)
        except (ArtifactRejected, OSError):
            self.discard()
            raise
        self._abandon.detach()
        os.close(self._descriptor)
        return StagedFile(self._path, self._sha256.hexdigest(), self._size_bytes)

    def discard(self) -> None:
        """Stop writing and remove the file; does nothing after `finish` or a first `discard`."""
        self._abandon()


def receive(chunks: Iterable[bytes | memoryview], root: Path, *, limit_bytes: int) -> StagedFile:
    """Stage a file from its chunks; it is flushed to disk on return.

    Raises ArtifactTooLarge above `limit_bytes`, ArtifactRejected for an empty file,
    StorageUnavailable or StorageFull. Any failure, including one of `chunks`, leaves no file.
    """
    writer = StagingWriter(root, limit_bytes=limit_bytes)
    try:
        for chunk in chunks:
            writer.write(chunk)
    except BaseException:
        writer.discard()
        raise
    return writer.finish()


def _close_and_remove(descriptor: int, path: Path) -> None:
    os.close(descriptor)
    path.unlink(missing_ok=True)


def _write_all(descriptor: int, chunk: bytes | memoryview) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _remove_leftovers(incoming: Path) -> None:
    """Remove what killed processes left behind; no upload in progress is that old."""
    oldest = time.time() - LEFTOVER_AGE_SECONDS
    for path in incoming.iterdir():
        # Another process may be doing the same.
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
