"""Reads Parquet, by pyarrow: the one module here that imports it."""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute, parquet

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
            _require_unique(names, file.schema_arrow.names)
            for batch in file.iter_batches(BATCH_ROWS, columns=list(names)):
                columns = [_values(name, batch.column(name)) for name in names]
                yield from zip(*columns, strict=True)
    except (pa.ArrowException, OSError) as error:
        raise ReferenceRefused(f"The file cannot be read: {error!s:.200}") from error


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
