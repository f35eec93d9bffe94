"""The start of what a compressed file holds. No Django here."""

import bz2
import lzma
import zlib
from collections.abc import Callable

MAX_UNPACKED_BYTES = 2**16

_GZIP_WBITS = 31


def _inflate(content: bytes, wbits: int) -> bytes:
    return zlib.decompressobj(wbits).decompress(content, MAX_UNPACKED_BYTES)


_DECOMPRESSORS: tuple[tuple[tuple[bytes, ...], str, Callable[[bytes], bytes]], ...] = (
    ((b"\x1f\x8b",), "gzip", lambda content: _inflate(content, _GZIP_WBITS)),
    (
        (b"BZh",),
        "bz2",
        lambda content: bz2.BZ2Decompressor().decompress(content, MAX_UNPACKED_BYTES),
    ),
    (
        (b"\xfd7zXZ\x00",),
        "xz",
        lambda content: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2**27).decompress(
            content, MAX_UNPACKED_BYTES
        ),
    ),
    (
        (b"\x5d\x00\x00",),
        "lzma",
        lambda content: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=2**27).decompress(
            content, MAX_UNPACKED_BYTES
        ),
    ),
    (
        (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"),
        "zlib",
        lambda content: _inflate(content, zlib.MAX_WBITS),
    ),
)


def unpack_start(head: bytes) -> tuple[str, bytes] | None:
    """The name of the compression and the first bytes of the content; None if `head` is not
    compressed. The bytes are empty if they cannot be unpacked.
    """
    for magics, name, decompress in _DECOMPRESSORS:
        if not head.startswith(magics):
            continue
        try:
            return name, decompress(head)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
            # Two bytes of zlib are a weak sign.
            return None if name == "zlib" else (name, b"")
    return None
