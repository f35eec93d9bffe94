"""Arranges columns of Arrow as `registry.signatures.arrangement` arranges rows of JSON. No Django
here.

Whole columns are taken at a time, but only the rows for which it is certain what `arrange` would
make of them. All other rows are read as rows of JSON, which also gives them their error messages.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from predictions.input_files.columns import Columns
from predictions.input_files.parquet import is_list, is_text
from registry.signatures.arrangement import Arrays
from registry.signatures.signature import DTYPES, Input

Mask: TypeAlias = npt.NDArray[np.bool_]
# The values of a column, and which of them are certain.
Certain: TypeAlias = tuple[npt.NDArray[Any], Mask]

# Every integer up to here is a float, and no other integer is the same float.
MAX_EXACT_INTEGER = 2**53


def arrange_columns(columns: Columns, cells: Sequence[Any]) -> tuple[Arrays, Mask] | None:
    """Arrays of all n rows, and which rows they hold; the others' values are arbitrary.

    `cells` are Arrow arrays in the order of `columns.names`. None if no row is certain.
    """
    arrays: Arrays = {}
    certain: Mask | None = None
    for tensor, pieces in _by_tensor(columns, cells):
        found = []
        for piece, n_values in pieces:
            read = _read(tensor, piece, n_values)
            if read is None:
                return None
            found.append(read)
        table = np.concatenate([values for values, _ in found], axis=1)
        if table.shape[1] != math.prod(tensor.row_shape):
            return None
        arrays[tensor.name] = table.reshape(len(table), *tensor.row_shape)
        for _, mask in found:
            certain = mask if certain is None else certain & mask
    return None if certain is None else (arrays, certain)


def _by_tensor(columns: Columns, cells: Sequence[Any]) -> list[tuple[Input, list[tuple[Any, int]]]]:
    """The columns of each input, each with the number of values that it has in a row."""
    tensors: dict[str, tuple[Input, list[tuple[Any, int]]]] = {}
    for tensor, _, places in columns.features:
        _, pieces = tensors.setdefault(tensor.name, (tensor, []))
        is_whole = not tensor.features and len(places) == 1
        width = math.prod(tensor.row_shape) if is_whole else 1
        pieces += [(cells[place], width) for place in places]
    return list(tensors.values())


def _read(tensor: Input, column: Any, n_values: int) -> Certain | None:
    """The values (n, n_values) of a column, and which rows are certain."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not is_list(column.type):
        # A list of one value is written as a list.
        if n_values != 1 or (tensor.row_shape and not tensor.features and not tensor.is_scalar):
            return None
        found = _convert(tensor, column)
        return None if found is None else (found[0][:, np.newaxis], found[1])
    if len(tensor.row_shape) != 1 or tensor.is_scalar or column.null_count or n_values < 1:
        return None
    flat = column.flatten()
    if len(flat) != len(column) * n_values or not _has_lengths(column, n_values):
        return None
    found = _convert(tensor, flat)
    if found is None:
        return None
    values, mask = found
    all_certain: Any = mask.reshape(-1, n_values).all(axis=1)
    return values.reshape(-1, n_values), all_certain


def _has_lengths(column: Any, length: int) -> bool:
    if pa.types.is_fixed_size_list(column.type):
        return bool(column.type.list_size == length)
    return bool((np.diff(column.offsets.to_numpy()) == length).all())


def _convert(tensor: Input, column: Any) -> Certain | None:
    dtype, kind = DTYPES[tensor.datatype or "FP64"], column.type
    if dtype.kind == "O":
        return _texts(tensor, column) if is_text(kind) else None
    if tensor.nullable and dtype.kind != "f":
        # An array of objects, in which None is a missing value.
        return None
    if pa.types.is_boolean(kind):
        if dtype.kind != "b":
            return None
        present = column.is_valid().to_numpy(zero_copy_only=False)
        return column.fill_null(False).to_numpy(zero_copy_only=False), present
    if pa.types.is_integer(kind):
        present = column.is_valid().to_numpy(zero_copy_only=False)
        return _from_integers(tensor, column.fill_null(0).to_numpy(), present, dtype)
    if pa.types.is_floating(kind):
        floats = column.cast(pa.float64()).fill_null(math.nan).to_numpy()
        return _from_floats(tensor, floats, dtype)
    return None


def _texts(tensor: Input, column: Any) -> Certain:
    values = np.empty(len(column), np.object_)
    values[:] = column.to_pylist()
    certain = column.is_valid().to_numpy(zero_copy_only=False)
    # Requests cannot have that character. Not every type of text can be searched.
    has_nul = compute.match_substring(column.cast(pa.large_string()), "\0").fill_null(False)
    return values, (certain | tensor.nullable) & ~has_nul.to_numpy(zero_copy_only=False)


def _from_integers(
    tensor: Input, values: npt.NDArray[Any], present: Mask, dtype: np.dtype[Any]
) -> Certain:
    if dtype.kind == "b":
        certain = present & ((values == 0) | (values == 1))
        return certain & (values == 1), certain
    if dtype.kind == "f":
        limit = min(MAX_EXACT_INTEGER, float(np.finfo(dtype).max))
        floats = values.astype(np.float64)
        certain = present & (np.abs(floats) < limit)
        converted = np.where(certain, floats, 0).astype(dtype)
        if tensor.nullable:
            converted[~present] = np.nan
            certain = certain | ~present
        return converted, certain
    limits = np.iinfo(dtype)
    certain = present & (values >= limits.min) & (values <= limits.max)
    return np.where(certain, values, 0).astype(dtype), certain


def _from_floats(tensor: Input, values: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> Certain:
    missing = np.isnan(values)
    if dtype.kind == "f":
        certain = np.abs(values) <= float(np.finfo(dtype).max)
        converted = np.where(certain, values, np.nan).astype(dtype)
        return converted, certain | missing if tensor.nullable else certain
    if dtype.kind == "b":
        certain = (values == 0) | (values == 1)
        return certain & (values == 1), certain
    limits = np.iinfo(dtype)
    whole = np.where(missing, 0, values)
    certain = ~missing & (np.abs(whole) <= MAX_EXACT_INTEGER) & (np.floor(whole) == whole)
    certain &= (whole >= limits.min) & (whole <= limits.max)
    return np.where(certain, whole, 0).astype(dtype), certain


def selected(arrays: Mapping[str, npt.NDArray[Any]], mask: Mask) -> Arrays:
    """The rows of the mask."""
    if mask.all():
        return dict(arrays)
    return {name: array[mask] for name, array in arrays.items()}
