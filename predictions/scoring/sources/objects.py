"""Input files in object storage. No Django here."""

import fnmatch
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, BinaryIO, cast

from obstore.exceptions import PreconditionError

from predictions.input_files.errors import FileRefused
from predictions.input_files.reading import format_of
from predictions.scoring.work import ScoringFailed, ScoringInterrupted, Source
from registry.object_storage.client import (
    PATIENT,
    connect,
    is_lasting,
    obstore,
    reason,
    storage_errors,
)
from registry.object_storage.errors import ObjectStorageError

READ_BYTES = 2**20
WILDCARDS = "*?["


def find_objects(pattern: str) -> list[Source]:
    """The objects that a URL or a pattern such as s3://bucket/folder/*.parquet names; raises
    ScoringFailed. A wildcard does not match `/`.
    """
    bucket, key = _split(pattern)
    wild = next((place for place, mark in enumerate(key) if mark in WILDCARDS), len(key))
    prefix = key[: key.rfind("/", 0, wild) + 1]
    parts = key.split("/")
    found = []
    with _errors(pattern), suppress(FileNotFoundError):
        pages = obstore.list(_client(bucket), prefix=prefix or None)
        found = [item for page in pages for item in page if _matches(item["path"], parts)]
    return [_source(bucket, item) for item in sorted(found, key=lambda item: item["path"])]


def _matches(path: str, parts: list[str]) -> bool:
    own = path.split("/")
    return len(own) == len(parts) and all(map(fnmatch.fnmatchcase, own, parts))


def _source(bucket: str, item: Any) -> Source:
    name = f"{bucket}/{item['path']}"
    try:
        file_format = format_of(name)
    except FileRefused as error:
        raise ScoringFailed(f"--from: {name}: {error}") from error
    # Every storage that is supported gives entity tags.
    return Source(
        name=name, format=file_format, size_bytes=item["size"], identity=f"etag:{item['e_tag']}"
    )


def open_object(source: Source) -> BinaryIO:
    """An open file, whose every read fails if the object was replaced; raises ScoringFailed."""
    require_unchanged(source)
    return cast(BinaryIO, io.BufferedReader(_Object(source), READ_BYTES))


def require_unchanged(source: Source) -> None:
    """Raise ScoringFailed if the object is missing or another than it was."""
    bucket, key = _split(source.name)
    try:
        with _errors(source.name):
            found = obstore.head(_client(bucket), key)
    except FileNotFoundError as error:
        raise ScoringFailed(f"{source.name} is missing") from error
    if f"etag:{found['e_tag']}" != source.identity:
        raise _changed(source)


class _Object(io.RawIOBase):
    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source, self._position = source, 0
        self._bucket, self._key = _split(source.name)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size_bytes}
        self._position = base[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        stop = min(self._position + len(buffer), self._source.size_bytes)
        if stop <= self._position:
            return 0
        options: Any = {
            "range": (self._position, stop),
            "if_match": self._source.identity.removeprefix("etag:"),
        }
        try:
            with _errors(self._source.name):
                piece = obstore.get(_client(self._bucket), self._key, options=options).bytes()
        except FileNotFoundError as error:
            raise _changed(self._source) from error
        buffer[: len(piece)] = memoryview(piece)
        self._position += len(piece)
        return len(piece)


def _changed(source: Source) -> ScoringFailed:
    return ScoringFailed(f"{source.name} was changed while it was being scored")


def _split(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key


# One client for each bucket, made in the process that uses it.
@cache
def _client(bucket: str) -> Any:
    return connect(bucket, PATIENT)


@contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        with storage_errors(name):
            yield
    except ObjectStorageError as error:
        if isinstance(error.__cause__, PreconditionError):
            raise ScoringFailed(f"{name} was changed while it was being scored") from error
        kind = ScoringFailed if is_lasting(error.__cause__) else ScoringInterrupted
        raise kind(f"{name}: {reason(error)}") from error
