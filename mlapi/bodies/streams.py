"""Streams of request bodies: complete, decoded and bounded, or an error. No Django here.

A server hands over what it has received. If the client stops in the middle, reading just ends, as
after a complete body: only the length tells them apart. These streams raise instead, so that no
parser can take the beginning of a body for all of it. The errors are OSErrors, because Django
expects those of a stream.
"""

import io
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from mlapi.bodies.codings import Coding

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Small, because a decoder copies what is left of a chunk whenever one member ends and another
# begins.
CHUNK_BYTES = 2**14
BUFFER_BYTES = 2**16


class BodyError(OSError):
    """A body cannot be read as it was announced; the message is for the caller."""


class BodyIncomplete(BodyError):
    """The body ended before its Content-Length."""


class BodyDamaged(BodyError):
    """The body is not what its Content-Encoding says."""


class BodyTooLarge(BodyError):
    """The body exceeds the limit for its type, once it is decoded."""


class Source(Protocol):
    """What is read: `wsgi.input`, or one of the streams below."""

    def read(self, size: int, /) -> bytes: ...


def body_stream(
    source: Source, *, length: int | None, coding: Coding | None, limit_bytes: int
) -> io.BufferedReader:
    """The body as a buffered stream, whose reads raise BodyError.

    `length` is the Content-Length; None means that `source` itself ends with the body and raises
    OSError if it was cut off. `coding` is how the body is encoded, None for not at all.
    """
    raw: _Stream
    if length is not None:
        raw = _Exact(source, length)
    else:
        # Also what is encoded has a limit: it may go on forever and be decoded to nothing.
        raw = _Bounded(_Open(source), limit_bytes, "request body")
    if coding is not None:
        raw = _Decoded(io.BufferedReader(raw, BUFFER_BYTES), coding)
        raw = _Bounded(raw, limit_bytes, "decoded request body")
    return io.BufferedReader(raw, BUFFER_BYTES)


class _Stream(io.RawIOBase):
    """A readable stream whose subclasses define `take`."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        data = self.take(len(view))
        view[: len(data)] = data
        return len(data)

    @abstractmethod
    def take(self, size: int) -> bytes:
        """1 to `size` bytes, or none at the end of the body."""


class _Open(_Stream):
    """A body of unknown length, whose source knows its end."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def take(self, size: int) -> bytes:
        return self._source.read(size)


class _Exact(_Stream):
    """A body of a known length; never reads beyond it."""

    def __init__(self, source: Source, length: int) -> None:
        self._source = source
        self._length = self._remaining = length

    def take(self, size: int) -> bytes:
        data = self._source.read(min(size, self._remaining)) if self._remaining else b""
        self._remaining -= len(data)
        if self._remaining and not data:
            received = self._length - self._remaining
            raise BodyIncomplete(
                f"The body ended after {received} of the {self._length} bytes of its Content-Length"
            )
        return data


class _Decoded(_Stream):
    """A compressed body as it was before; holds at most one chunk of either form."""

    def __init__(self, source: Source, coding: Coding) -> None:
        self._source = source
        self._coding = coding
        self._decoder = coding.new_decoder()

    def take(self, size: int) -> bytes:
        while True:
            data = b""
            if self._decoder.eof:
                data = self._decoder.unused_data or self._source.read(CHUNK_BYTES)
                if not data:
                    return b""
                if not self._coding.may_repeat:
                    raise BodyDamaged(f"There is data after the end of the {self._name} body")
                # Compressed files that are joined together are one such file.
                self._decoder = self._coding.new_decoder()
            elif self._decoder.needs_input:
                data = self._source.read(CHUNK_BYTES)
                if not data:
                    raise BodyDamaged(f"The {self._name} body is cut off")
            if decoded := self._decode(data, size):
                return decoded

    @property
    def _name(self) -> str:
        return self._coding.name

    def _decode(self, data: bytes, size: int) -> bytes:
        try:
            return self._decoder.decompress(data, size)
        except self._coding.error as error:
            raise BodyDamaged(f"The body is not valid {self._name}: {error}") from error


class _Bounded(_Stream):
    """Any of the above, which must end within a number of bytes."""

    def __init__(self, source: _Stream, limit_bytes: int, name: str) -> None:
        self._take: Callable[[int], bytes] = source.take
        self._name = name
        self._limit_bytes = self._remaining = limit_bytes

    def take(self, size: int) -> bytes:
        # One more than is left, to notice that there is more.
        data = self._take(min(size, self._remaining + 1))
        self._remaining -= len(data)
        if self._remaining < 0:
            raise BodyTooLarge(
                f"The {self._name} is larger than the limit of {self._limit_bytes} bytes."
            )
        return data
