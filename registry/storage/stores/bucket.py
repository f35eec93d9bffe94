"""Keeps artifacts in object storage. No Django here."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from registry.artifacts import staging
from registry.artifacts.errors import StorageUnavailable
from registry.object_storage.client import (
    PATIENT,
    AlreadyExistsError,
    NotSupportedError,
    Patience,
    connect,
    obstore,
    reason,
    storage_errors,
)
from registry.object_storage.errors import ObjectStorageError
from registry.storage.stores.base import DAMAGED, KEY, ArtifactDamaged, Content, Entry
from registry.storage.stores.cache import FileCache

logger = logging.getLogger(__name__)

# Callers wait for all of these: health checks, requests without a body, downloads of PART_BYTES,
# and uploads of up to MULTIPART_BYTES.
PROBING = Patience(max_retries=0, retry_seconds=1, connect_seconds=2, request_seconds=3)
ASKING = Patience(max_retries=2, retry_seconds=3, connect_seconds=2, request_seconds=5)
DOWNLOADING = Patience(max_retries=2, retry_seconds=3, connect_seconds=2, request_seconds=10)
UPLOADING = Patience(max_retries=2, retry_seconds=3, connect_seconds=2, request_seconds=60)

# Up to this size, an object is put in one request, which holds it in memory.
MULTIPART_BYTES = 64 * 2**20
PART_BYTES = 8 * 2**20
PARTS_AT_ONCE = 4

UNAVAILABLE = "The object storage cannot be used now. Try again later."


class Bucket:
    """See Store: a prefix of a bucket. Make it after the process has forked.

    Files are downloaded into `cache`.
    """

    def __init__(self, url: str, cache: FileCache) -> None:
        self._url = url.rstrip("/")
        self._cache = cache
        self._clients: dict[Patience, Any] = {}

    def __str__(self) -> str:
        return self._url

    def artifact(self, key: str) -> str:
        return f"{self._url}/{key}"

    def put(self, path: Path, key: str, content: Content) -> None:
        try:
            is_new = self._create(path, key, content)
            if not is_new and not self._holds(key, content):
                logger.warning("%s is damaged, and is replaced", self.artifact(key))
                self._send(path, key)
        except FileNotFoundError as error:
            logger.error("Cannot use %s: there is no such bucket", self._url)
            raise StorageUnavailable(UNAVAILABLE) from error

    def adopt(self, path: Path, key: str, content: Content) -> None:
        """Take a file that was put into the cache, too: it is about to be loaded."""
        self._cache.adopt(path, _name(key), content)

    def size(self, key: str) -> int | None:
        with self._errors():
            try:
                return int(obstore.head(self._client(ASKING), key)["size"])
            except FileNotFoundError:
                return None

    def is_cached(self, key: str, content: Content) -> bool:
        """Whether the file is in the cache, without verifying it."""
        return self._cache.has(_name(key), content)

    def open(
        self, key: str, content: Content, *, is_verified: bool = True
    ) -> AbstractContextManager[Path]:
        return self._cache.open(
            _name(key), content, lambda: self._chunks(key, content), is_verified=is_verified
        )

    @contextmanager
    def fetch(self, key: str, content: Content, staging_root: Path) -> Iterator[Path]:
        chunks = self._chunks(key, content)
        staged = staging.receive(chunks, staging_root, limit_bytes=content.size_bytes)
        try:
            if staged.sha256 != content.sha256:
                raise ArtifactDamaged(DAMAGED)
            yield staged.path
        finally:
            staged.discard()

    def delete(self, key: str) -> None:
        with self._errors():
            try:
                obstore.delete(self._client(ASKING), key)
            except FileNotFoundError:
                return

    def entries(self) -> Iterator[Entry]:
        with self._errors():
            for page in obstore.list(self._client(PATIENT), chunk_size=1000):
                for item in page:
                    if KEY.fullmatch(item["path"]):
                        yield Entry(item["path"], item["size"], item["last_modified"])

    def check(self) -> None:
        """Ask for a list: asked for an object, a missing bucket answers like a missing object."""
        with self._errors():
            try:
                obstore.list_with_delimiter(self._client(PROBING))
            except FileNotFoundError as error:
                raise ObjectStorageError(f"Cannot use {self._url}: {reason(error)}") from error

    def _create(self, path: Path, key: str, content: Content) -> bool:
        """Put the object unless there is one; return whether it was put."""
        # If the storage hangs, this fails long before an upload would.
        if self.size(key) is not None:
            return False
        if content.size_bytes <= MULTIPART_BYTES:
            try:
                with self._errors():
                    client = self._client(UPLOADING)
                    obstore.put(client, key, path, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            except NotSupportedError:
                logger.debug("%s cannot put an object only if there is none", self._url)
            else:
                return True
        # Of two processes that do this at once, both put the same content.
        self._send(path, key)
        return True

    def _send(self, path: Path, key: str) -> None:
        with self._errors():
            obstore.put(
                self._client(UPLOADING),
                key,
                path,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

    def _holds(self, key: str, content: Content) -> bool:
        sha256 = hashlib.sha256()
        try:
            for chunk in self._chunks(key, content):
                sha256.update(chunk)
        except (ArtifactDamaged, FileNotFoundError):
            return False
        return sha256.hexdigest() == content.sha256

    def _chunks(self, key: str, content: Content) -> Iterator[memoryview]:
        """The object in pieces, each by a request of its own: a single one could time out.

        Raises FileNotFoundError, or ArtifactDamaged if it does not have the size.
        """
        size_bytes = self.size(key)
        if size_bytes is None:
            raise FileNotFoundError(f"There is no {self.artifact(key)}")
        if size_bytes != content.size_bytes:
            raise ArtifactDamaged(DAMAGED)
        with self._errors():
            client = self._client(DOWNLOADING)
        for start in range(0, size_bytes, PART_BYTES):
            length = min(PART_BYTES, size_bytes - start)
            with self._errors():
                chunk = obstore.get_range(client, key, start=start, length=length)
            yield memoryview(chunk)

    def _client(self, patience: Patience) -> Any:
        client = self._clients.get(patience)
        if client is None:
            client = self._clients[patience] = connect(self._url, patience)
        return client

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with storage_errors(self._url):
                yield
        except ObjectStorageError as error:
            raise StorageUnavailable(UNAVAILABLE) from error


def _name(key: str) -> str:
    return key.rpartition("/")[2]
