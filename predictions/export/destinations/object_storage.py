"""Exports into object storage, by obstore: the one module that imports it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import from_url

from predictions.export.destinations.base import (
    AlreadyPublished,
    DestinationUnavailable,
)

# obstore's own default retries silently for three minutes.
RETRIES: dict[str, Any] = {"max_retries": 5, "retry_timeout": timedelta(seconds=30)}
TIMEOUTS = {"connect_timeout": "5 seconds", "timeout": "60 seconds"}
# What a single request holds in memory; larger files are sent in parts of this size.
REQUEST_BYTES = 8 * 2**20
# A put that must not replace anything is a single request.
MAX_CREATED_BYTES = 64 * 2**20


class Bucket:
    """A prefix of a bucket.

    Keys, region and endpoint come from the environment, under the names that the storage's own
    tools read, such as AWS_ACCESS_KEY_ID, AWS_REGION and AWS_ENDPOINT_URL.

    Nothing keeps two exports apart while they write, but each part's receipt can be published only
    once, so that the second of them stops there.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._folder: Path | None = None
        # Options that are passed replace those of the environment, where this one belongs.
        is_http_allowed = os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true"
        client_options = {**TIMEOUTS, "allow_http": is_http_allowed}
        options: dict[str, Any] = {"client_options": client_options, "retry_config": RETRIES}
        with _errors(self._url):
            self._store = from_url(self._url, **options)

    def __str__(self) -> str:
        return self._url

    @contextmanager
    def lock(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory(prefix="mlapi-export-") as name:
            self._folder = Path(name)
            yield

    def names(self) -> Iterator[str]:
        with _errors(self._url):
            listed = obstore.list_with_delimiter(self._store)["objects"]
            return iter([item["path"].rpartition("/")[2] for item in listed])

    def read(self, name: str) -> bytes | None:
        with _errors(self._url):
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError:
                return None

    def new_file(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / name

    def publish(self, path: Path, name: str) -> None:
        with _errors(self._url):
            obstore.put(self._store, name, path, use_multipart=True, chunk_size=REQUEST_BYTES)
        path.unlink()

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="mlapi-part-") as folder:
            yield Path(folder) / name

    def publish_once(self, path: Path, name: str) -> None:
        if path.stat().st_size <= MAX_CREATED_BYTES:
            return self.create(name, path.read_bytes())
        # A conditional put of several parts does not exist.
        if self.has(name):
            raise AlreadyPublished(name)
        with _errors(self._url):
            obstore.put(self._store, name, path, use_multipart=True, chunk_size=REQUEST_BYTES)

    def has(self, name: str) -> bool:
        with _errors(self._url):
            try:
                obstore.head(self._store, name)
            except FileNotFoundError:
                return False
        return True

    def create(self, name: str, content: bytes) -> None:
        with _errors(self._url):
            try:
                obstore.put(self._store, name, content, mode="create")
            except AlreadyExistsError as error:
                raise AlreadyPublished(name) from error

    def delete(self, name: str) -> None:
        with _errors(self._url):
            try:
                obstore.delete(self._store, name)
            except FileNotFoundError:
                return


@contextmanager
def _errors(url: str) -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        # Its messages have lines of detail about requests, without keys.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DestinationUnavailable(f"Cannot use {url}: {reason}") from error
