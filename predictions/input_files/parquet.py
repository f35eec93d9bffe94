"""Reads Parquet, by pyarrow: the one module here that imports it. No Django here."""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute, parquet

from predictions.input_files.errors import FileRefused

BATCH_ROWS = 5000


def column_names(path: Path) -> list[str]:
    """Raises FileRefused for a file that is not Parquet."""
    with open_file(path) as file:
        return names_of(file)


def read_columns(path: Path, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of these columns, as values of JSON; NaN is a missing value.

    Raises FileRefused.
    """
    with open_file(path) as file:
        groups = range(file.num_row_groups)
        for batch in read_batches(file, names, groups, BATCH_ROWS):
            columns = [values(name, batch.column(name)) for name in names]
            yield from zip(*columns, strict=True)


def open_file(source: Any) -> Any:
    """An open ParquetFile of a path or a binary file; raises FileRefused."""
    try:
        return parquet.ParquetFile(source)
    except (pa.ArrowException, OSError) as error:
        raise FileRefused(f"The file is not Parquet: {error!s:.200}") from error


def names_of(file: Any) -> list[str]:
    return [str(name) for name in file.schema_arrow.names]


def read_batches(
    file: Any, names: Sequence[str], groups: Sequence[int], batch_rows: int
) -> Iterator[Any]:
    """The rows of these columns and row groups, as RecordBatches; raises FileRefused."""
    try:
        yield from file.iter_batches(
            batch_rows, row_groups=list(groups), columns=list(names), use_threads=False
        )
    except (pa.ArrowException, OSError) as error:
        raise FileRefused(f"The file cannot be read: {error!s:.200}") from error


def values(name: str, column: Any) -> list[Any]:
    """A column as values of JSON; NaN is a missing value. Raises FileRefused for other types."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    found: list[Any] = column.to_pylist()
    if pa.types.is_floating(kind):
        return [None if value is not None and math.isnan(value) else value for value in found]
    if pa.types.is_decimal(kind):
        return [float(value) if isinstance(value, Decimal) else value for value in found]
    if not (is_text(kind) or _is_plain(kind)):
        raise FileRefused(
            f"Column '{name}' has type {kind}; numbers, texts, booleans and lists can be read"
        )
    return _without_nan(found) if _has_nan(column) else found


def is_text(kind: Any) -> bool:
    """Whether it is a type of text, also in a dictionary."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_plain(kind: Any) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
        or is_list(kind)
    )


def _has_nan(column: Any) -> bool:
    """Whether any of the numbers in a column of lists is NaN."""
    while is_list(column.type):
        column = column.flatten()
    if not pa.types.is_floating(column.type):
        return False
    return bool(compute.any(compute.is_nan(column)).as_py())


def is_list(kind: Any) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
