"""What the registry needs of a place that keeps artifacts, and how its files are named.

An artifact's key is made of its content: two versions with the same bytes share one file. No Django
here.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

# sha256/3f/3f…e1.onnx; earlier releases named files <name>/<version>/<32 digits>.onnx.
KEY = re.compile(r"sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})\.[a-z]+")
EARLIER_KEY = re.compile(r"[^/]+/[^/]+/[0-9a-f]{32}\.[a-z]+")

# The message for an object; a file of a folder has changed on disk.
DAMAGED = "its artifact has changed in the object storage"


class ArtifactDamaged(OSError):
    """What is kept for a version is not what was registered. The message is for the caller."""


@dataclass(frozen=True, slots=True)
class Content:
    """What an artifact must consist of: its SHA-256 in hexadecimal, and its size."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that a store keeps."""

    key: str
    size_bytes: int
    modified_at: datetime


class Store(Protocol):
    """Keeps files by key. Every method may raise StorageUnavailable."""

    def __str__(self) -> str:
        """Its path or URL, without secrets."""

    def artifact(self, key: str) -> str:
        """The `artifact` of a version's row, for a file with that key."""

    def put(self, path: Path, key: str, content: Content) -> None:
        """Keep a copy of a local file under a key, durably; it is there whole or not at all.

        What is there already stays if it has the same content, and is replaced if it has not.
        Raises StorageFull.
        """

    def size(self, key: str) -> int | None:
        """The size of the file, in bytes; None if there is none."""

    def open(
        self, key: str, content: Content, *, is_verified: bool = True
    ) -> AbstractContextManager[Path]:
        """A local path with the content, for as long as the context lasts.

        Unless `is_verified`, only the size is compared. Raises FileNotFoundError or
        ArtifactDamaged.
        """

    def fetch(self, key: str, content: Content, staging_root: Path) -> AbstractContextManager[Path]:
        """As `open`, but without a cache: what is moved must not evict what is being served.

        A copy is made below `staging_root`.
        """

    def delete(self, key: str) -> None:
        """Remove the file, if there is one."""

    def entries(self) -> Iterator[Entry]:
        """All artifacts, by the names of this release and of earlier ones."""

    def check(self) -> None:
        """Raise StorageUnavailable if the store cannot be used now."""


def new_key(sha256: str, suffix: str) -> str:
    """The key of the content with this digest."""
    return f"sha256/{sha256[:2]}/{sha256}{suffix}"


def digest_in(key: str) -> str | None:
    """The digest that a key is made of; None for the name of an earlier release."""
    match = KEY.fullmatch(key)
    return match[2] if match else None


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
