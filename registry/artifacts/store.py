"""Artifact files: received, hashed, placed below one root, found again and removed. No Django here.

Below the root lie `<name>/<version>/<random><suffix>`, one file a version, and `.incoming/`, where
uploads wait until they are proved.
"""

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.artifacts.sniffing import ArtifactRejected, ArtifactTooLarge, check_framework, sniff

__all__ = [
    "ArtifactRejected",
    "ArtifactTooLarge",
    "Staged",
    "check_framework",
    "digest",
    "place",
    "receive",
    "remove",
    "resolve",
    "sniff",
]

INCOMING = ".incoming"
LEFTOVER_AGE_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Staged:
    """A received file that belongs to no version yet: `place` it or `discard` it."""

    path: Path
    sha256: str
    size_bytes: int

    def discard(self) -> None:
        """Remove the file; harmless once it was placed or discarded."""
        self.path.unlink(missing_ok=True)


def receive(chunks: Iterable[bytes], root: Path, *, limit_bytes: int) -> Staged:
    """Stream an upload to a new file below `root`, hashing it on the way; it is on disk on return.

    Raises ArtifactTooLarge above `limit_bytes`, ArtifactRejected for an empty file, and OSError
    where the disk refuses. On any failure, of `chunks` too, nothing is left behind.
    """
    incoming = root / INCOMING
    incoming.mkdir(mode=0o750, parents=True, exist_ok=True)
    _sweep(incoming)
    path = incoming / secrets.token_hex(16)
    sha256, size = hashlib.sha256(), 0
    with _kept_on_success(path) as descriptor:
        for chunk in chunks:
            size += len(chunk)
            if size > limit_bytes:
                raise ArtifactTooLarge(f"The file is larger than the limit of {limit_bytes} bytes.")
            sha256.update(chunk)
            _write_all(descriptor, chunk)
        if size == 0:
            raise ArtifactRejected("The file is empty.")
        os.fsync(descriptor)
    return Staged(path, sha256.hexdigest(), size)


def place(staged: Staged, root: Path, name: str, version: str, suffix: str) -> str:
    """Move a staged file to its final place and return that path, relative to `root`.

    Never overwrites. Raises ArtifactRejected for a name or version that would leave its folder.
    """
    for part in (name, version, suffix):
        if part in ("", ".", "..") or part == INCOMING or "/" in part or "\0" in part:
            raise ArtifactRejected(f"'{part}' is no name of a folder.")
    relative = Path(name, version, f"{secrets.token_hex(16)}{suffix}")
    target = root / relative
    _link(staged.path, target)
    try:
        for folder in (target.parent, target.parent.parent, root):
            _fsync_folder(folder)
        staged.discard()
    except OSError:
        target.unlink(missing_ok=True)
        raise
    return relative.as_posix()


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, which must be free: rename() would replace what is there."""
    while True:
        target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileNotFoundError:
            # Whoever removed the folder's last artifact removed the folder; make it again.
            if not source.exists():
                raise
        else:
            return


def resolve(root: Path, relative: str) -> Path:
    """The path of an artifact; it need not exist.

    Raises ArtifactRejected for one outside `root`: absolute, through `..`, or by a symbolic link.
    """
    base = root.resolve()
    try:
        path = (base / relative).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise ArtifactRejected(f"'{relative}' is no path of an artifact.") from error
    if os.path.isabs(relative) or path == base or not path.is_relative_to(base):
        raise ArtifactRejected(f"'{relative}' is outside the folder of the models.")
    return path


def remove(root: Path, relative: str) -> None:
    """Unlink an artifact, and the folders of its version and name where that leaves them empty.

    A file that is gone already is no error; a path outside `root` is ArtifactRejected.
    """
    path = resolve(root, relative)
    path.unlink(missing_ok=True)
    base = root.resolve()
    for folder in path.parents:
        if folder == base:
            break
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            break


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _kept_on_success(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640)
    try:
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(incoming: Path) -> None:
    """Remove what a killed process left; an upload in progress is younger than that."""
    oldest = time.time() - LEFTOVER_AGE_SECONDS
    for path in incoming.iterdir():
        # Another process may sweep at the same time.
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
