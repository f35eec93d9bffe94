"""Finds, identifies and opens input files, whole or by ranges of bytes. No Django here."""

import glob
import hashlib
import io
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module
from typing import Any, BinaryIO, cast

from predictions.input_files.errors import FileRefused
from predictions.input_files.reading import format_of
from predictions.scoring.work import ScoringFailed, Source
from registry.object_storage import urls

READ_BYTES = 2**20


def find_sources(
    patterns: Iterable[str], check: Callable[[str], object] = lambda path: None
) -> list[Source]:
    """The files that paths, URLs or patterns such as `data/*.parquet` name, by name; raises
    ScoringFailed, or ScoringInterrupted if an object storage cannot be reached.

    `check` is called with the path of each local file, before anything about it is reported, and
    may raise to refuse it. Local files have no identity yet: `identified` finds it.
    """
    found: dict[str, Source] = {}
    for pattern in patterns:
        if urls.is_url(pattern):
            sources = _objects().find_objects(pattern)
        else:
            sources = _files(pattern, check)
        if not sources:
            raise ScoringFailed(f"--from: there is no file {pattern}")
        found |= {source.name: source for source in sources}
    return [found[name] for name in sorted(found)]


def _files(pattern: str, check: Callable[[str], object]) -> list[Source]:
    if os.path.isdir(pattern):
        raise ScoringFailed(f"--from: {pattern} is a folder: use {pattern}/*.parquet")
    found = glob.glob(pattern, recursive=True)
    paths = [os.path.abspath(path) for path in found if os.path.isfile(path)]
    for path in paths:
        check(path)
    return list(map(_local, paths))


def _objects() -> Any:
    if not urls.is_installed():
        raise ScoringFailed(urls.MISSING_PACKAGE)
    # On first use: obstore is optional.
    return import_module("predictions.scoring.sources.objects")


def _local(name: str) -> Source:
    try:
        status = os.stat(name)
        return Source(
            name=name,
            format=format_of(name),
            size_bytes=status.st_size,
            identity="",
            modified_ns=status.st_mtime_ns,
        )
    except FileRefused as error:
        raise ScoringFailed(f"--from: {name}: {error}") from error
    except OSError as error:
        raise ScoringFailed(f"--from: {name} cannot be read: {error.strerror}") from error


def open_source(source: Source) -> BinaryIO:
    """An open file; raises ScoringFailed if it is missing or another than it was."""
    if urls.is_url(source.name):
        opened: BinaryIO = _objects().open_object(source)
        return opened
    try:
        file = open(source.name, "rb")  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise ScoringFailed(f"{source.name} cannot be read: {error.strerror}") from error
    try:
        require_unchanged(source)
    except ScoringFailed:
        file.close()
        raise
    return file


def require_unchanged(source: Source) -> None:
    """Raise ScoringFailed if the file was written to since the run began."""
    if urls.is_url(source.name):
        _objects().require_unchanged(source)
        return
    try:
        status = os.stat(source.name)
    except OSError as error:
        raise ScoringFailed(f"{source.name} cannot be read: {error.strerror}") from error
    if (status.st_size, status.st_mtime_ns) != (source.size_bytes, source.modified_ns):
        raise ScoringFailed(f"{source.name} was changed while it was being scored")


def identified(source: Source, digest: "hashlib._Hash") -> Source:
    """The source with its identity, given the digest of a local file."""
    if source.identity:
        return source
    return replace(source, identity=f"sha256:{digest.hexdigest()}")


class ByteRange(io.RawIOBase):
    """The bytes of a file from `start` up to `stop`, as a file of its own."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        super().__init__()
        self._file, self._left = file, stop - start
        file.seek(start)
        self.n_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._file.read(min(len(buffer), self._left))
        buffer[: len(piece)] = piece
        self._left -= len(piece)
        self.n_read += len(piece)
        return len(piece)


def buffered(raw: ByteRange) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(raw, READ_BYTES))
