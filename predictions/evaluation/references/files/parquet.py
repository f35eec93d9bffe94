"""Reads Parquet, by pyarrow: the one module here that imports it."""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from predictions.evaluation.references.errors import ReferenceRefused

BATCH_ROWS = 5000


def column_names(path: Path) -> list[str]:
    """Raises ReferenceRefused for a file that is not Parquet."""
    try:
        return [str(name) for name in parquet.read_schema(path).names]
    except (pa.ArrowException, OSError) as error:
        raise ReferenceRefused(f"The file is not Parquet: {error!s:.200}") from error


def read_columns(path: Path, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of these columns, as values of JSON; NaN is a missing value.

    Raises ReferenceRefused.
    """
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=list(names)):
                columns = [_values(name, batch.column(name)) for name in names]
                yield from zip(*columns, strict=True)
    except (pa.ArrowException, OSError) as error:
        raise ReferenceRefused(f"The file cannot be read: {error!s:.200}") from error


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
        or pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_null(kind)
    )
    if not is_plain:
        raise ReferenceRefused(
            f"Column '{name}' has type {kind}; numbers, texts, booleans and lists can be read"
        )
    return values
