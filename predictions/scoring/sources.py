"""Input files: which there are, what tells them from others, and ranges of them. No Django here."""

import glob
import hashlib
import io
import os
from collections.abc import Iterable
from typing import Any, BinaryIO, cast

from predictions.input_files.errors import FileRefused
from predictions.input_files.reading import format_of
from predictions.scoring.work import ScoringFailed, Source

READ_BYTES = 2**20


def find_sources(patterns: Iterable[str]) -> list[Source]:
    """The files that paths or patterns such as `data/*.parquet` name, by name, without their
    identities; raises ScoringFailed.
    """
    names: set[str] = set()
    for pattern in patterns:
        found = {path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)}
        if not found:
            hint = f": it is a folder, use {pattern}/*.parquet" if os.path.isdir(pattern) else ""
            raise ScoringFailed(f"--from: there is no file {pattern}{hint}")
        names |= {os.path.abspath(path) for path in found}
    return [_local(name) for name in sorted(names)]


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
    try:
        status = os.stat(source.name)
    except OSError as error:
        raise ScoringFailed(f"{source.name} cannot be read: {error.strerror}") from error
    if (status.st_size, status.st_mtime_ns) != (source.size_bytes, source.modified_ns):
        raise ScoringFailed(f"{source.name} was changed while it was being scored")


def identity_of(digest: "hashlib._Hash") -> str:
    return f"sha256:{digest.hexdigest()}"


class ByteRange(io.RawIOBase):
    """The bytes of a file from `start` on and before `stop`, as a file of its own."""

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
