"""The headers of the pages of a Parquet file: how much a page holds before it is decoded.

pyarrow decodes a page into as much memory as its header says, whatever the footer says, and has no
limit for it. The format: https://parquet.apache.org/docs/file-format/, whose headers are structs in
Thrift's compact protocol.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

# Most headers are far smaller; those with statistics may not be.
HEADER_BYTES, MAX_HEADER_BYTES = 2**16, 2**24
MAX_PAGES = 100_000
MAX_DEPTH = 8
# Fields of a PageHeader. The last three are structs whose first field is the number of values.
UNCOMPRESSED_SIZE, COMPRESSED_SIZE = 2, 3
DATA, DICTIONARY, DATA_V2 = 5, 7, 8
VALUES = 1
ENCODING = {DATA: 2, DICTIONARY: 2, DATA_V2: 4}
# Encodings in which a value may be a reference to others, ...
PLAIN_DICTIONARY, DELTA_BYTE_ARRAY, RLE_DICTIONARY = 2, 7, 8
REPEATING = frozenset({PLAIN_DICTIONARY, DELTA_BYTE_ARRAY, RLE_DICTIONARY})
# ... and those that pyarrow can decode as a dictionary: plain as well.
AS_DICTIONARY = frozenset({0, PLAIN_DICTIONARY, RLE_DICTIONARY})
TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
INTEGERS = (4, 5, 6)


class MalformedPages(ValueError):
    """The headers cannot be read; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class Page:
    """values: how many it has, nulls included. encoding: by its number in the format."""

    size_bytes: int
    values: int
    encoding: int


def pages(file: BinaryIO, start: int, end: int) -> Iterator[Page]:
    """The pages of a column chunk, which ends before `end`; raises MalformedPages."""
    for _ in range(MAX_PAGES):
        if start >= end:
            return
        header, size_bytes = _header(file, start)
        sizes = [_count(header, field) for field in (UNCOMPRESSED_SIZE, COMPRESSED_SIZE)]
        for kind, encoding in ENCODING.items():
            if isinstance(details := header.get(kind), dict):
                yield Page(sizes[0], _count(details, VALUES), _count(details, encoding))
                break
        else:
            # An index, which is not decoded.
            yield Page(sizes[0], 0, 0)
        start += size_bytes + sizes[1]
    raise MalformedPages(f"a column has more than {MAX_PAGES} pages in a row group")


def _count(fields: Mapping[int, Any], number: int) -> int:
    value = fields.get(number)
    if type(value) is not int or value < 0:
        raise MalformedPages("a page's header lacks a number")
    return value


def _header(file: BinaryIO, start: int) -> tuple[dict[int, Any], int]:
    """A header and its number of bytes."""
    for limit in (HEADER_BYTES, MAX_HEADER_BYTES):
        file.seek(start)
        reader = _Reader(file.read(limit))
        try:
            return reader.struct(), reader.place
        except IndexError:
            continue
    raise MalformedPages("a page's header is cut off")


class _Reader:
    """Reads Thrift's compact protocol; raises IndexError at the end of the data."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields by their numbers; texts, lists and decimal fractions are skipped."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            # The type of a field says whether it is true.
            fields[number] = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth >= MAX_DEPTH:
            raise MalformedPages("a page's header is nested too deeply")
        if kind in INTEGERS:
            return self._integer()
        if kind in (TRUE, FALSE, BYTE):
            return self._byte()
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind == DOUBLE:
            return self._skip(8)
        if kind == BINARY:
            return self._skip(self._varint())
        if kind in (LIST, SET):
            return self._skip_list(depth)
        raise MalformedPages("a page's header is malformed")

    def _skip_list(self, depth: int) -> None:
        head = self._byte()
        size = self._varint() if head >> 4 == 15 else head >> 4
        for _ in range(size):
            self._value(head & 15, depth + 1)

    def _skip(self, size_bytes: int) -> None:
        if self.place + size_bytes > len(self._data):
            raise IndexError
        self.place += size_bytes

    def _byte(self) -> int:
        value = self._data[self.place]
        self.place += 1
        return value

    def _integer(self) -> int:
        """An integer in zigzag encoding."""
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise MalformedPages("a page's header has a number that is too long")
