"""Checks the tables of categories in a CatBoost file, whose indexes CatBoost itself trusts.

A `.cbm` file is CBM1, the size of a flatbuffer, the flatbuffer with the trees, which CatBoost
verifies, and parts that it does not verify. The part about categories is a list of flatbuffers:
each maps the hash of a category to the index of its statistics. An index beyond them would crash
the process at the first row with that category. No Django here.

Source: `ctr_data.fbs`, `ctr_value_table.cpp` and `dense_hash_view.h` in catboost/catboost.
"""

import struct

import numpy as np

HEAD_BYTES = 8
_CATEGORY_PART = b"static_provider_v1"
_BUCKET = np.dtype([("hash", "<u8"), ("index", "<u4")])
_EMPTY = np.uint64(2**64 - 1)
# The fields of TModelCore, TCtrValueTable and TModelCtrBase, by their position in the schema.
_PART_IDS = 3
_BASE, _BUCKETS, _STATISTICS, _CLASS_COUNT = 0, 1, 2, 4
_KIND = 1
# The kinds of statistics: counts for each class, a sum and a count, or one count.
_CLASS_KINDS, _MEAN_KINDS, _COUNT_KINDS = (0, 1), (2, 3), (4, 5)


def check_file(content: bytes) -> None:
    """Raise ValueError if the file is cut, or if an index leads out of the statistics."""
    core_size = int.from_bytes(content[4:HEAD_BYTES], "little")
    core, rest = content[HEAD_BYTES:][:core_size], content[HEAD_BYTES + core_size :]
    if len(core) < core_size or not core:
        raise ValueError("the file is damaged or truncated")
    try:
        if _CATEGORY_PART in _Flatbuffer(core).names(_PART_IDS)[:1]:
            _check_tables(rest)
    except (struct.error, IndexError) as error:
        raise ValueError("the tables of its categories are damaged") from error


def _check_tables(part: bytes) -> None:
    (count,) = struct.unpack_from("<I", part)
    position = 4
    for _ in range(count):
        (size,) = struct.unpack_from("<I", part, position)
        table = part[position + 4 :][:size]
        position += 4 + size
        if len(table) < size:
            raise ValueError("the tables of its categories are truncated")
        _check_table(_Flatbuffer(table))


def _check_table(table: "_Flatbuffer") -> None:
    raw = table.vector(_BUCKETS)
    buckets = np.frombuffer(raw, _BUCKET)
    n_buckets = len(buckets)
    is_used = buckets["hash"] != _EMPTY
    # The search for a category ends at an empty bucket.
    if n_buckets == 0 or n_buckets & (n_buckets - 1) or is_used.all():
        raise ValueError("a table of its categories is damaged")
    kind = table.table(_BASE).byte(_KIND)
    if kind in _CLASS_KINDS:
        size = 4 * max(2, table.integer(_CLASS_COUNT))
    elif kind in _MEAN_KINDS + _COUNT_KINDS:
        size = 8 if kind in _MEAN_KINDS else 4
    else:
        raise ValueError(f"a table of its categories is of the unknown kind {kind}")
    indexes = buckets["index"][is_used]
    if len(indexes) and (int(indexes.max()) + 1) * size > len(table.vector(_STATISTICS)):
        raise ValueError("a table of its categories leads out of the file")


class _Flatbuffer:
    """Reads fields of a table of the format FlatBuffers; raises struct.error beyond its end."""

    def __init__(self, content: bytes, position: int | None = None) -> None:
        self._content = content
        self._position = self._unsigned(0) if position is None else position
        (to_fields,) = struct.unpack_from("<i", content, self._position)
        self._fields = self._position - to_fields

    def integer(self, field: int) -> int:
        return self._number(field, "<i")

    def byte(self, field: int) -> int:
        return self._number(field, "<b")

    def table(self, field: int) -> "_Flatbuffer":
        return _Flatbuffer(self._content, self._target(field))

    def vector(self, field: int) -> bytes:
        """The bytes of a vector of bytes."""
        return self._bytes_at(self._target(field))

    def names(self, field: int) -> list[bytes]:
        """The texts of a vector of texts, which may be missing."""
        if not self._offset(field):
            return []
        start = self._target(field)
        positions = [start + 4 + 4 * i for i in range(self._unsigned(start))]
        return [self._bytes_at(at + self._unsigned(at)) for at in positions]

    def _bytes_at(self, position: int) -> bytes:
        size = self._unsigned(position)
        content = self._content[position + 4 :][:size]
        if len(content) < size:
            raise IndexError("a vector leads out of the file")
        return content

    def _number(self, field: int, format_: str) -> int:
        offset = self._offset(field)
        value: int = 0
        if offset:
            (value,) = struct.unpack_from(format_, self._content, self._position + offset)
        return value

    def _target(self, field: int) -> int:
        offset = self._offset(field)
        if not offset:
            raise IndexError("a field is missing")
        position = self._position + offset
        return position + self._unsigned(position)

    def _offset(self, field: int) -> int:
        """Where the field is behind the start of the table; 0 if it is not there."""
        (size,) = struct.unpack_from("<H", self._content, self._fields)
        place = 4 + 2 * field
        if place + 2 > size:
            return 0
        offset: int
        (offset,) = struct.unpack_from("<H", self._content, self._fields + place)
        return offset

    def _unsigned(self, position: int) -> int:
        value: int
        (value,) = struct.unpack_from("<I", self._content, position)
        return value
