"""A folder as a destination."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from predictions.export.destinations.base import (
    AlreadyPublished,
    DestinationUnavailable,
    DestinationUnusable,
)
from registry.locks.file_locks import locked_file

# Hidden, so that no reader of the folder takes it for data.
PARTIAL = ".{name}.partial"
LOCK = ".lock"
# A full disk or a server that is down can pass; these do not.
LASTING = frozenset(
    {
        errno.EACCES,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)


class Folder:
    """A folder, which is created if its parent exists."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        with _errors(self._path):
            self._path.mkdir(exist_ok=True)

    def __str__(self) -> str:
        return str(self._path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder's lock, which the system releases if the process is killed."""
        with ExitStack() as stack:
            with _errors(self._path):
                stack.enter_context(locked_file(self._path / LOCK, on_wait=self._refuse))
            yield

    def _refuse(self) -> None:
        raise DestinationUnavailable(f"Another process is writing to {self._path}")

    def names(self) -> Iterator[str]:
        with _errors(self._path):
            return iter([path.name for path in self._path.iterdir() if path.name[0] != "."])

    def read(self, name: str) -> bytes | None:
        with _errors(self._path):
            try:
                return (self._path / name).read_bytes()
            except FileNotFoundError:
                return None

    def new_file(self, name: str) -> Path:
        return self._path / PARTIAL.format(name=name)

    def publish(self, path: Path, name: str) -> None:
        with _errors(self._path):
            _synchronise(path)
            path.replace(self._path / name)
            _synchronise(self._path)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        yield self._path / name

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        path = self._path / PARTIAL.format(name=f"{name}.{secrets.token_hex(8)}")
        try:
            yield path
        finally:
            with _errors(self._path):
                path.unlink(missing_ok=True)

    def remove_scratch(self) -> None:
        with _errors(self._path):
            for path in self._path.glob(PARTIAL.format(name="*")):
                path.unlink(missing_ok=True)

    def publish_once(self, path: Path, name: str) -> None:
        with _errors(self._path):
            _synchronise(path)
            try:
                # Unlike a rename, a link replaces nothing.
                os.link(path, self._path / name)
            except FileExistsError as error:
                raise AlreadyPublished(name) from error
            _synchronise(self._path)

    def create(self, name: str, content: bytes) -> None:
        with self.scratch(name) as path:
            with _errors(self._path):
                path.write_bytes(content)
            self.publish_once(path, name)

    def delete(self, name: str) -> None:
        with _errors(self._path), suppress(FileNotFoundError):
            (self._path / name).unlink()


def _synchronise(path: Path) -> None:
    """Wait until a file, or the list of a folder's names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = DestinationUnusable if error.errno in LASTING else DestinationUnavailable
        raise kind(f"Cannot write to {path}: {error}") from error
