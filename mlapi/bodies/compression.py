"""Compresses streamed text for the callers that accept it (RFC 9110, section 12.5.3)."""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from mlapi.bodies.codings import ALIASES, GZIP_WBITS, zstd
from mlapi.bodies.middleware import GetResponse
from predictions import ndjson

# NDJSON batches, and exports as text. Parquet is compressed already.
MEDIA_TYPES = frozenset({ndjson.MEDIA_TYPE, "text/csv"})
# The fastest levels, which already save most of the bytes: scoring waits for the compressor.
GZIP_LEVEL = 1
ZSTD_LEVEL = 1

ELEMENT = re.compile(
    r"([!#$%&'*+.^_`|~0-9a-z-]+)(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)


class Encoder(Protocol):
    """Encodes the pieces of one body."""

    def encode(self, piece: bytes) -> bytes:
        """The piece encoded, so that the receiver can decode all of it at once."""

    def finish(self) -> bytes:
        """The end of the body."""


class _Gzip:
    def __init__(self) -> None:
        self._compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WBITS)

    def encode(self, piece: bytes) -> bytes:
        return self._compressor.compress(piece) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._compressor.flush()


class _Zstd:
    def __init__(self) -> None:
        # Its window is far below the eight MiB that every receiver must have (RFC 9659).
        self._compressor = zstd.ZstdCompressor(level=ZSTD_LEVEL)

    def encode(self, piece: bytes) -> bytes:
        return self._compressor.compress(piece, zstd.ZstdCompressor.FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._compressor.flush()


# The first is preferred among those that a caller likes equally.
ENCODERS: Mapping[str, Callable[[], Encoder]] = {"zstd": _Zstd, "gzip": _Gzip}


def choose_coding(accept_encoding: str) -> str | None:
    """The coding of ENCODERS to which the header gives the highest weight; None for no coding.

    Only a coding that is named is chosen: `*` also comes from callers that can decode none. What is
    malformed counts as not sent.
    """
    weights: dict[str, float] = {}
    for element in accept_encoding.lower().split(","):
        if match := ELEMENT.fullmatch(element.strip(" \t")):
            name, weight = match.groups()
            weights[ALIASES.get(name, name)] = 1.0 if weight is None else float(weight)
    best, highest = None, 0.0
    for name in ENCODERS:
        if weights.get(name, 0.0) > highest:
            best, highest = name, weights[name]
    return best if highest >= weights.get("identity", 0.0) else None


class CompressionMiddleware:
    """Compresses streams of MEDIA_TYPES by the caller's Accept-Encoding, piece by piece.

    Each piece is flushed: a caller has the first results while the next ones are computed.
    """

    # The length of a compressed response may reveal a secret (BREACH), if somebody else can make
    # the secret's owner request it many times with chosen text. The API takes credentials from the
    # Authorization header alone, which no web page can make a browser send to it.

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if isinstance(response, StreamingHttpResponse) and _is_compressible(response):
            patch_vary_headers(response, ["Accept-Encoding"])
            coding = choose_coding(request.META.get("HTTP_ACCEPT_ENCODING", ""))
            if coding is not None:
                response.headers["Content-Encoding"] = coding
                response.streaming_content = _encoded(iter(response), ENCODERS[coding]())
        return response


def _is_compressible(response: StreamingHttpResponse) -> bool:
    media_type = response.headers["Content-Type"].partition(";")[0].strip()
    return not response.is_async and media_type in MEDIA_TYPES


def _encoded(pieces: Iterable[bytes], encoder: Encoder) -> Iterator[bytes]:
    """The pieces of a body, encoded. After an error there is no end, so that the caller notices."""
    for piece in pieces:
        if encoded := encoder.encode(piece) if piece else b"":
            yield encoded
    yield encoder.finish()
