"""The content codings of request bodies (RFC 9110, section 8.4). No Django here."""

import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

# Eight MiB, the largest window that RFC 9659 allows for this coding.
ZSTD_WINDOW_LOG = 23
GZIP_WBITS, ZLIB_WBITS = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS


class Decoder(Protocol):
    """Decodes one member of a compressed body."""

    @property
    def eof(self) -> bool:
        """Whether the end of the member has been decoded."""

    @property
    def needs_input(self) -> bool:
        """Whether `decompress` returns nothing more without new data."""

    @property
    def unused_data(self) -> bytes:
        """What was passed beyond the end of the member."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decode `data`, and return at most `max_length` bytes; call again for the rest."""


@dataclass(frozen=True, slots=True)
class Coding:
    """A content coding; `may_repeat` is whether a body may consist of several members."""

    name: str
    new_decoder: Callable[[], Decoder]
    error: type[Exception]
    may_repeat: bool


class _ZlibDecoder:
    """zlib's decoder with the interface of the newer modules."""

    def __init__(self, wbits: int) -> None:
        self._decoder = zlib.decompressobj(wbits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        decoded = self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)
        # zlib may hold more even if it has consumed all input.
        self.needs_input = len(decoded) < max_length and not self._decoder.unconsumed_tail
        return decoded


def _new_zstd_decoder() -> Decoder:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    return zstd.ZstdDecompressor(options=options)


# In the order in which they are offered.
CODINGS = {
    coding.name: coding
    for coding in (
        Coding("gzip", partial(_ZlibDecoder, GZIP_WBITS), zlib.error, may_repeat=True),
        Coding("deflate", partial(_ZlibDecoder, ZLIB_WBITS), zlib.error, may_repeat=False),
        Coding("zstd", _new_zstd_decoder, zstd.ZstdError, may_repeat=True),
    )
}
ALIASES = {"x-gzip": "gzip"}


class UnknownCoding(Exception):
    """The body has a coding that is not supported; the message is for the caller."""


def read_content_encoding(header: str) -> Coding | None:
    """The coding that a Content-Encoding header names, None for none; raises UnknownCoding."""
    name = header.strip().lower()
    if name in ("", "identity"):
        return None
    coding = CODINGS.get(ALIASES.get(name, name))
    if coding is None:
        raise UnknownCoding(
            f"Content-Encoding {header[:100]!r} is not supported; send the body as it is, or "
            f"encoded once as {', '.join(CODINGS)}."
        )
    return coding
