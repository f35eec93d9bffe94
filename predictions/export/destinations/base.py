"""What is needed of the place where an export or a scored table is put. No Django here."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class DestinationUnavailable(Exception):
    """The destination cannot be read or written; the message is for the caller."""


class DestinationUnusable(DestinationUnavailable):
    """Waiting does not help: the folder or bucket is missing, or access to it is denied."""


class AlreadyPublished(Exception):
    """There is a file of this name already."""


class Destination(Protocol):
    """Holds files that appear whole or not at all."""

    def __str__(self) -> str:
        """Its path or URL, without secrets."""

    def lock(self) -> AbstractContextManager[None]:
        """Keep other processes away, as far as that is possible; raises DestinationUnavailable."""

    def names(self) -> Iterator[str]:
        """The names of all files that are published."""

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None if there is none."""

    def new_file(self, name: str) -> Path:
        """A local path at which to write what will be published under this name, while locked."""

    def publish(self, path: Path, name: str) -> None:
        """Move a file from `new_file` to its name, replacing what an interrupted run has left."""

    def local(self, name: str) -> AbstractContextManager[Path]:
        """A local path of a published file, for as long as the context lasts."""

    def scratch(self, name: str) -> AbstractContextManager[Path]:
        """A local path, of this process alone, at which to write what will be published under this
        name. Needs no lock.
        """

    def remove_scratch(self) -> None:
        """Remove what killed processes have left of files from `scratch`."""

    def publish_once(self, path: Path, name: str) -> None:
        """Publish a file from `scratch`; raises AlreadyPublished if the name is taken.

        The name must depend on the content: a large file may replace one of the same name.
        """

    def create(self, name: str, content: bytes) -> None:
        """Publish a small file; raises AlreadyPublished if the name is taken."""

    def delete(self, name: str) -> None:
        """Remove a file, if there is one."""
