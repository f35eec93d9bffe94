"""Keeps artifacts below a folder of this machine. No Django here."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from registry.artifacts.errors import ARTIFACTS_FOLDER, storage_errors
from registry.artifacts.paths import path_below
from registry.storage.stores.base import EARLIER_KEY, KEY, ArtifactDamaged, Content, Entry
from registry.storage.stores.base import digest as digest


class Folder:
    """See Store. Files are linked, not copied: their sources must be on the same file system."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def artifact(self, key: str) -> str:
        return key

    def put(self, path: Path, key: str, content: Content) -> None:
        target = self.path(key)
        with storage_errors(ARTIFACTS_FOLDER):
            if not _link(path, target):
                if digest(target) == content.sha256:
                    return
                _replace(path, target)
            for folder in (target.parent, target.parent.parent, self.root):
                _fsync_folder(folder)

    def size(self, key: str) -> int | None:
        try:
            return self.path(key).stat().st_size
        except FileNotFoundError:
            return None

    @contextmanager
    def open(self, key: str, content: Content, *, is_verified: bool = True) -> Iterator[Path]:
        path = self.path(key)
        is_same = path.stat().st_size == content.size_bytes
        if not is_same or (is_verified and digest(path) != content.sha256):
            raise ArtifactDamaged("its artifact has changed on disk")
        yield path

    @contextmanager
    def fetch(self, key: str, content: Content, staging_root: Path) -> Iterator[Path]:
        with self.open(key, content) as path:
            yield path

    def delete(self, key: str) -> None:
        """Remove the file, and the folders above it if they become empty."""
        path = self.path(key)
        path.unlink(missing_ok=True)
        base = self.root.resolve()
        for folder in path.parents:
            if folder == base:
                break
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                break

    def entries(self) -> Iterator[Entry]:
        for path in sorted(self.root.glob("[!.]*/*/*")):
            key = path.relative_to(self.root).as_posix()
            if (KEY.fullmatch(key) or EARLIER_KEY.fullmatch(key)) and path.is_file():
                try:
                    status = path.stat()
                except FileNotFoundError:
                    # Its version has just been deleted.
                    continue
                modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
                yield Entry(key, status.st_size, modified_at)

    def check(self) -> None:
        """Nothing: the health checks examine the folder, whether it keeps artifacts or not."""

    def path(self, key: str) -> Path:
        """The absolute path of a key; raises ArtifactRejected if it is outside the folder."""
        return path_below(self.root, key)


def _link(source: Path, target: Path) -> bool:
    """Hard-link `source` to `target`, if that is free; rename() would replace an existing file."""
    while True:
        target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileExistsError:
            return False
        except FileNotFoundError:
            # `delete` may remove the empty folder between mkdir and link: create it again.
            if not source.exists():
                raise
        else:
            return True


def _replace(source: Path, target: Path) -> None:
    """As `_link`, but in the place of an existing file."""
    beside = target.with_name(f".{secrets.token_hex(16)}")
    os.link(source, beside)
    beside.replace(target)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
