"""Finds the pickle in a file, and writes it out uncompressed. Executes nothing. No Django here."""

import bz2
import errno
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile, ZipFile

from registry.artifacts.errors import ArtifactRejected

CHUNK_BYTES = 2**20
# The window size for zlib that also accepts gzip's header.
ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS
_COMPRESSIONS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x78\x01", "zlib"),
    (b"\x78\x5e", "zlib"),
    (b"\x78\x9c", "zlib"),
    (b"\x78\xda", "zlib"),
)


class _Decompressor(Protocol):
    """What the decompressors of zlib, bz2, lzma and lz4 share."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def unpack(path: Path, target: Path) -> tuple[str, bool]:
    """Write the pickle in `path` to `target`; returns its compression ("" for none) and whether it
    comes from PyTorch's archive.

    The formats are those of `joblib.dump`, of `gzip.open` and the like, and of `torch.save`. Raises
    ArtifactRejected if the file is empty, damaged, or unpacks to more than this process may write.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise ArtifactRejected("The file is empty.")
    if head.startswith(b"ZF"):
        raise ArtifactRejected(
            "joblib before 0.10 wrote this file in a format of its own. Load it with that joblib"
            " and save it again, with joblib.dump."
        )
    is_archive = head.startswith(b"PK")
    compression = next((name for start, name in _COMPRESSIONS if head.startswith(start)), "")
    try:
        with target.open("wb") as output:
            for chunk in _read_archive(path) if is_archive else _decompress(path, compression):
                output.write(chunk)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise ArtifactRejected(
            "The file unpacks to more than MAX_ARTIFACT_BYTES, the limit for a model."
        ) from error
    return compression, is_archive


def _decompress(path: Path, compression: str) -> Iterator[bytes]:
    if not compression:
        yield from _read(path)
        return
    decompressor = _decompressor(compression)
    try:
        for chunk in _read(path):
            if decompressor.eof:
                break
            yield decompressor.decompress(chunk)
    # zlib.error, LZMAError, OSError and RuntimeError, each library its own.
    except (zlib.error, lzma.LZMAError, OSError, RuntimeError, ValueError) as error:
        raise ArtifactRejected(f"The file is damaged: {error}.") from error
    if not decompressor.eof:
        raise ArtifactRejected("The file is truncated: its compressed data has no end.")


def _decompressor(compression: str) -> _Decompressor:
    if compression == "lz4":
        try:
            decompressor: _Decompressor = importlib.import_module(
                "lz4.frame"
            ).LZ4FrameDecompressor()
        except ImportError as error:
            raise ArtifactRejected(
                "The file is compressed by lz4, which Python reads with a package: pip install lz4."
            ) from error
        return decompressor
    makers: dict[str, Callable[[], _Decompressor]] = {
        "bz2": bz2.BZ2Decompressor,
        "xz": lzma.LZMADecompressor,
        "lzma": lzma.LZMADecompressor,
    }
    maker = makers.get(compression)
    return zlib.decompressobj(ZLIB_OR_GZIP) if maker is None else maker()


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _read_archive(path: Path) -> Iterator[bytes]:
    """The pickle in a file of `torch.save`: the archive's data.pkl."""
    try:
        with ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.rpartition("/")[2] == "data.pkl"]
            if not names:
                raise ArtifactRejected("This is a zip archive without a pickle.")
            with archive.open(names[0]) as member:
                while chunk := member.read(CHUNK_BYTES):
                    yield chunk
    # zipfile raises various exceptions for crafted archives.
    except (BadZipFile, ValueError, NotImplementedError, EOFError, zlib.error) as error:
        if isinstance(error, ArtifactRejected):
            raise
        raise ArtifactRejected(f"The archive is damaged: {error}.") from error
