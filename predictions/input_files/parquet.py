"""Reads Parquet, by pyarrow: the one module here that imports it. No Django here."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute, parquet

from predictions.input_files.errors import FileRefused, FileTooLarge
from predictions.input_files.pages import (
    AS_DICTIONARY,
    REPEATING,
    MalformedPages,
    Page,
    pages,
)

BATCH_ROWS = 5000
BATCH_BYTES = 64 * 2**20
VALUE_BYTES = 8
# As the footer names them.
DICTIONARY_ENCODINGS = frozenset({"PLAIN_DICTIONARY", "RLE_DICTIONARY"})
LEVEL_ENCODINGS = frozenset({"PLAIN", "RLE", "BIT_PACKED"})


def column_names(path: Path) -> list[str]:
    """Raises FileRefused for a file that is not Parquet."""
    with open_file(path) as file:
        return names_of(file)


def read_columns(
    path: Path, names: Sequence[str], max_bytes: float = math.inf
) -> Iterator[tuple[Any, ...]]:
    """The rows of these columns, as values of JSON; NaN is a missing value.

    Raises FileRefused, and FileTooLarge before more than `max_bytes` of these columns are decoded.
    """
    texts, batch_rows = list[str](), BATCH_ROWS
    if max_bytes < math.inf:
        texts, batch_rows = _require_small(path, names, max_bytes)
    # Read as dictionaries, in which a text that repeats is there once.
    with open_file(path, texts) as file:
        left_bytes = max_bytes
        for batch in read_batches(file, names, range(file.num_row_groups), batch_rows):
            left_bytes -= _decoded_bytes(batch)
            if left_bytes < 0:
                raise _too_large(max_bytes)
            columns = [values(name, batch.column(name)) for name in names]
            yield from zip(*columns, strict=True)


def open_file(source: Any, dictionaries: Sequence[str] = (), metadata: Any = None) -> Any:
    """An open ParquetFile of a path or a binary file; raises FileRefused.

    The columns of the paths in `dictionaries` are read as such. `metadata` is the file's own, if it
    has been read before.
    """
    try:
        return parquet.ParquetFile(source, read_dictionary=list(dictionaries), metadata=metadata)
    except (pa.ArrowException, OSError) as error:
        raise FileRefused(f"The file is not Parquet: {error!s:.200}") from error


def names_of(file: Any) -> list[str]:
    return [str(name) for name in file.schema_arrow.names]


def read_batches(
    file: Any, names: Sequence[str], groups: Sequence[int], batch_rows: int
) -> Iterator[Any]:
    """The rows of these columns and row groups, as RecordBatches; raises FileRefused."""
    with _errors():
        for batch in file.iter_batches(
            batch_rows, row_groups=list(groups), columns=list(names), use_threads=False
        ):
            # pyarrow does not check that texts are UTF-8 when it reads them.
            batch.validate(full=True)
            yield batch


def bounded(batch: Any, max_bytes: int) -> Iterator[Any]:
    """The rows of a RecordBatch in pieces that have at most `max_bytes` once each text is a value
    by itself, or a single row.
    """
    if len(batch) <= 1 or _decoded_bytes(batch) <= max_bytes:
        yield batch
        return
    half = len(batch) // 2
    yield from bounded(batch.slice(0, half), max_bytes)
    yield from bounded(batch.slice(half), max_bytes)


def repeating_texts(metadata: Any, names: Sequence[str]) -> list[str]:
    """The paths of the columns in which a text that repeats is stored once, by the footer."""
    found: dict[str, bool] = {}
    for column, chunk in _chunks(metadata, names):
        encodings = set(chunk.encodings)
        is_dictionary = (
            column.physical_type == "BYTE_ARRAY"
            and bool(encodings & DICTIONARY_ENCODINGS)
            and encodings <= DICTIONARY_ENCODINGS | LEVEL_ENCODINGS
        )
        found[column.path] = found.get(column.path, True) and is_dictionary
    return [path for path, is_dictionary in found.items() if is_dictionary]


# -- The size of columns once they are decoded


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
    with _errors(), path.open("rb") as file:
        for column, chunk in _chunks(parquet.read_metadata(path), names):
            leaf = leaves.setdefault(column.path, _Leaf(column))
            starts = (chunk.dictionary_page_offset, chunk.data_page_offset)
            start = min((offset for offset in starts if offset), default=0)
            if start <= 0:
                raise MalformedPages(f"column '{column.path}' has no pages")
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
                raise FileRefused(message)
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


def _too_large(max_bytes: float) -> FileTooLarge:
    return FileTooLarge(
        f"The columns of the file have more than {max_bytes} bytes when they are decoded, which is"
        " the limit"
    )


def _decoded_bytes(batch: Any) -> int:
    """The size of the values of a RecordBatch, without what dictionaries save."""
    return sum(map(_value_bytes, batch.columns))


def _value_bytes(column: Any) -> int:
    while is_list(column.type):
        column = column.flatten()
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = compute.binary_length(column.dictionary)
    return int(compute.sum(lengths.take(column.indices)).as_py() or 0)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, MalformedPages) as error:
        raise FileRefused(f"The file cannot be read: {error!s:.200}") from error


# -- Values


def values(name: str, column: Any) -> list[Any]:
    """A column as values of JSON; NaN is a missing value. Raises FileRefused for other types."""
    kind = _without_dictionary(column.type)
    if not _is_readable(kind):
        raise FileRefused(
            f"Column '{name}' has type {kind}; numbers, texts, booleans and lists can be read"
        )
    found: list[Any] = column.to_pylist()
    if pa.types.is_floating(kind):
        return [None if value is not None and math.isnan(value) else value for value in found]
    if pa.types.is_decimal(kind):
        return [float(value) if isinstance(value, Decimal) else value for value in found]
    return _plain(found) if _has_other_numbers(column) else found


def is_text(kind: Any) -> bool:
    """Whether it is a type of text, also in a dictionary."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def without_views(column: Any) -> Any:
    """The column with texts in one piece instead of as views, of which Arrow cannot take some."""
    kind = _without_views(column.type)
    return column if kind == column.type else column.cast(kind)


def _without_views(kind: Any) -> Any:
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        list_of = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return list_of(_without_views(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_without_views(kind.value_type), kind.list_size)
    return kind


def _without_dictionary(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_readable(kind: Any) -> bool:
    """Whether the values of a type, or those in its lists, are values of JSON."""
    while is_list(kind):
        kind = _without_dictionary(kind.value_type)
    return bool(
        pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
        or is_text(kind)
    )


def _has_other_numbers(column: Any) -> bool:
    """Whether any of the values in a column of lists is NaN or a decimal fraction."""
    while is_list(column.type):
        column = column.flatten()
    if pa.types.is_decimal(column.type):
        return True
    if not pa.types.is_floating(column.type):
        return False
    return bool(compute.any(compute.is_nan(column)).as_py())


def is_list(kind: Any) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return float(value)
    return None if isinstance(value, float) and math.isnan(value) else value
