"""Reads Parquet, by pyarrow: the one module here that imports it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute, parquet

from predictions.evaluation.references.errors import ReferenceRefused, ReferenceTooLarge
from predictions.evaluation.references.files.pages import (
    AS_DICTIONARY,
    REPEATING,
    MalformedPages,
    Page,
    pages,
)

BATCH_ROWS = 5000
BATCH_BYTES = 64 * 2**20
VALUE_BYTES = 8


def column_names(path: Path) -> list[str]:
    """Raises ReferenceRefused for a file that is not Parquet."""
    try:
        return [str(name) for name in parquet.read_schema(path).names]
    except (pa.ArrowException, OSError) as error:
        raise ReferenceRefused(f"The file is not Parquet: {error!s:.200}") from error


def read_columns(path: Path, names: Sequence[str], max_bytes: float) -> Iterator[tuple[Any, ...]]:
    """The rows of these columns, as values of JSON; NaN is a missing value.

    Raises ReferenceRefused, and ReferenceTooLarge before more than `max_bytes` of these columns are
    decoded.
    """
    try:
        texts, batch_rows = list[str](), BATCH_ROWS
        if max_bytes < math.inf:
            texts, batch_rows = _require_small(path, names, max_bytes)
        # Read as dictionaries, in which a text that repeats is there once.
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            _require_unique(names, file.schema_arrow.names)
            left_bytes = max_bytes
            for batch in file.iter_batches(batch_rows, columns=list(names)):
                left_bytes -= sum(_decoded_bytes(column) for column in batch.columns)
                if left_bytes < 0:
                    raise _too_large(max_bytes)
                columns = [_values(name, batch.column(name)) for name in names]
                yield from zip(*columns, strict=True)
    except (pa.ArrowException, OSError, MalformedPages) as error:
        raise ReferenceRefused(f"The file cannot be read: {error!s:.200}") from error


@dataclass(slots=True)
class _Leaf:
    """What the pages of a column say, before any is decoded."""

    column: Any
    encodings: set[int] = field(default_factory=set)
    largest: int = 1

    @property
    def is_list(self) -> bool:
        return bool(self.column.max_repetition_level > 0)

    @property
    def is_text(self) -> bool:
        return self.column.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")

    @property
    def can_be_dictionary(self) -> bool:
        return self.column.physical_type == "BYTE_ARRAY" and self.encodings <= AS_DICTIONARY

    def add(self, page: Page) -> int:
        """What the page takes when it is decoded, in bytes, apart from texts that repeat."""
        self.encodings.add(page.encoding)
        self.largest = max(self.largest, page.size_bytes)
        # The values of a list that repeat take no room in a page.
        return page.size_bytes + (page.values * VALUE_BYTES if self.is_list else 0)


def _require_small(path: Path, names: Sequence[str], max_bytes: float) -> tuple[list[str], int]:
    """Refuse columns whose pages alone would be too much, before any is decoded.

    Gives the paths of the columns that should be read as dictionaries, and how many rows may be
    decoded at once.
    """
    leaves: dict[str, _Leaf] = {}
    left_bytes = max_bytes
    with path.open("rb") as file:
        for column, chunk in _chunks(parquet.read_metadata(path), names):
            leaf = leaves.setdefault(column.path, _Leaf(column))
            starts = (chunk.dictionary_page_offset, chunk.data_page_offset)
            start = min(offset for offset in starts if offset)
            for page in pages(file, start, start + chunk.total_compressed_size):
                left_bytes -= leaf.add(page)
                if left_bytes < 0:
                    raise _too_large(max_bytes)
    batch_rows = BATCH_ROWS
    for leaf in leaves.values():
        if leaf.is_text and not leaf.can_be_dictionary and leaf.encodings & REPEATING:
            # Each value may be as large as a whole page.
            if leaf.is_list:
                message = f"Column '{leaf.column.path}': lists of texts must not be delta encoded"
                raise ReferenceRefused(message)
            batch_rows = max(min(BATCH_BYTES // leaf.largest, batch_rows), 1)
    return [path for path, leaf in leaves.items() if leaf.can_be_dictionary], batch_rows


def _chunks(metadata: Any, names: Sequence[str]) -> Iterator[tuple[Any, Any]]:
    """The column chunks of these columns, each with its column of the schema."""
    columns = [
        (index, column)
        for index in range(metadata.num_columns)
        if _belongs((column := metadata.schema.column(index)).path, names)
    ]
    for group in range(metadata.num_row_groups):
        for index, column in columns:
            yield column, metadata.row_group(group).column(index)


def _belongs(path: str, names: Sequence[str]) -> bool:
    """Whether it is one of the columns, or within one; names may have dots as well."""
    return any(path == name or path.startswith(f"{name}.") for name in names)


def _too_large(max_bytes: float) -> ReferenceTooLarge:
    return ReferenceTooLarge(
        f"The columns of the file have more than {max_bytes} bytes when they are decoded, which is"
        " the limit of a request: send fewer rows, or use manage.py set_reference"
    )


def _decoded_bytes(column: Any) -> int:
    """How much the values of a column are, each by itself."""
    while _is_list(column.type):
        column = column.flatten()
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = compute.binary_length(column.dictionary)
    return int(compute.sum(lengths.take(column.indices)).as_py() or 0)


def _require_unique(names: Sequence[str], header: Sequence[str]) -> None:
    for name in names:
        if header.count(name) > 1:
            raise ReferenceRefused(f"The file has more than one column '{name}'")


def _values(name: str, column: Any) -> list[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(kind):
        return [None if value is not None and math.isnan(value) else value for value in values]
    if pa.types.is_decimal(kind):
        return [float(value) if isinstance(value, Decimal) else value for value in values]
    is_plain = (
        pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_null(kind)
        or _is_list(kind)
    )
    if not is_plain:
        raise ReferenceRefused(
            f"Column '{name}' has type {kind}; numbers, texts, booleans and lists can be read"
        )
    return _without_nan(values) if _has_nan(column) else values


def _has_nan(column: Any) -> bool:
    """Whether any of the numbers in a column of lists is NaN."""
    while _is_list(column.type):
        column = column.flatten()
    if not pa.types.is_floating(column.type):
        return False
    return bool(compute.any(compute.is_nan(column)).as_py())


def _is_list(kind: Any) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
