"""Object storage as a destination."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from predictions.export.destinations.base import (
    AlreadyPublished,
    DestinationUnavailable,
    DestinationUnusable,
)
from registry.object_storage.client import (
    PATIENT,
    AlreadyExistsError,
    NotSupportedError,
    connect,
    is_lasting,
    obstore,
    reason,
    storage_errors,
)
from registry.object_storage.errors import ObjectStorageError

# What a single request holds in memory; larger files are sent in parts of this size.
REQUEST_BYTES = 8 * 2**20
# A put that must not replace anything is a single request.
MAX_CREATED_BYTES = 64 * 2**20


class Bucket:
    """A prefix of a bucket.

    Nothing keeps two runs apart while they write, but each part's receipt can be published only
    once: a second export stops there, and a second worker returns the first one's receipt.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._folder: Path | None = None
        with _errors(self._url):
            self._store = connect(self._url, PATIENT)

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
    def local(self, name: str) -> Iterator[Path]:
        with self.scratch(name) as path:
            with _errors(self._url), path.open("wb") as file:
                for piece in obstore.get(self._store, name).stream(min_chunk_size=REQUEST_BYTES):
                    file.write(piece)
            yield path

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="mlapi-part-") as folder:
            yield Path(folder) / name

    def remove_scratch(self) -> None:
        """Nothing is left in the bucket: scratch files are in each machine's temporary folder."""

    def publish_once(self, path: Path, name: str) -> None:
        if path.stat().st_size <= MAX_CREATED_BYTES:
            return self.create(name, path.read_bytes())
        # No put in several parts is conditional.
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
        with storage_errors(url):
            yield
    except ObjectStorageError as error:
        kind = DestinationUnusable if is_lasting(error.__cause__) else DestinationUnavailable
        raise kind(str(error)) from error
    except (NotSupportedError, FileNotFoundError) as error:
        raise DestinationUnusable(f"Cannot use {url}: {reason(error)}") from error
