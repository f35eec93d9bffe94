"""Tensors of the Open Inference Protocol, in JSON or binary, to Python values and back. No Django
here.

A missing number is null in JSON and NaN in binary data, as MLServer has it, and None between them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from registry.open_inference.binary import TensorError, flatten, read_binary, write_binary
from registry.signatures.signature import DTYPES, listed

MAX_DIMENSIONS = 10
MAX_SIZE = 2**63 - 1
_FLOATS = frozenset({float})
# What JSON may hold for each kind of array. Text that is missing is for the signature to judge.
_JSON_TYPES: Mapping[str, frozenset[type]] = {
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float, type(None)}),
    "b": frozenset({bool}),
    "O": frozenset({str, type(None)}),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as it came; `values` are those of its datatype, flat, in row-major order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any]

    @property
    def is_column(self) -> bool:
        """One value a row: (n,), (n, 1) and so on."""
        return math.prod(self.shape[1:]) == 1

    def rows(self) -> list[Any]:
        """The values of each row, nested as the shape says."""
        rows = self.values
        for size in reversed(self.shape[1:]):
            rows = [rows[i : i + size] for i in range(0, len(rows), size)]
        return rows


def read_shape(told: object, name: str) -> tuple[int, ...]:
    """1 to MAX_DIMENSIONS sizes, none of them 0; raises TensorError."""
    if (
        not isinstance(told, list)
        or not 0 < len(told) <= MAX_DIMENSIONS
        or not all(type(size) is int and 0 < size <= MAX_SIZE for size in told)
    ):
        raise TensorError(
            f"'{name}': shape must be a list of 1 to {MAX_DIMENSIONS} positive integers"
        )
    return tuple(told)


def read_datatype(told: object, name: str) -> str:
    if not isinstance(told, str) or told not in DTYPES:
        raise TensorError(f"'{name}': datatype must be one of {listed(list(DTYPES))}")
    return told


# -- JSON


def read_json(data: Any, datatype: str, shape: tuple[int, ...], name: str) -> list[Any]:
    """The values of parsed JSON, flat or nested as the shape says; raises TensorError."""
    values = flatten(data, shape, name)
    dtype = DTYPES[datatype]
    if datatype == "FP64":
        # Nearly all tensors, and nothing to be found in them.
        if _FLOATS.issuperset(map(type, values)):
            return values
        _check_types(values, datatype, name)
        return [None if value is None else float(value) for value in values]
    _check_types(values, datatype, name)
    if dtype.kind == "f":
        return _rounded(values, dtype, datatype, name)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if min(values) < limits.min or max(values) > limits.max:
            raise TensorError(
                f"'{name}' holds integers past {datatype}, from {limits.min} to {limits.max}"
            )
    return values


def _check_types(values: Sequence[Any], datatype: str, name: str) -> None:
    types = _JSON_TYPES[DTYPES[datatype].kind]
    if not types.issuperset(map(type, values)):
        place = next(i for i, value in enumerate(values) if type(value) not in types)
        raise TensorError(f"'{name}' holds at place {place} a value that is no {datatype}")


def _rounded(values: Sequence[Any], dtype: np.dtype, datatype: str, name: str) -> list[Any]:
    """The numbers that this datatype has, as binary data would have brought them."""
    with np.errstate(over="ignore"):
        array = np.array([math.nan if v is None else v for v in values], np.float64).astype(dtype)
    if np.isinf(array).any():
        raise TensorError(f"'{name}' holds numbers past {datatype}")
    return _without_nan(array)


def _without_nan(array: np.ndarray) -> list[Any]:
    values: list[Any] = array.tolist()
    for place in np.flatnonzero(np.isnan(array)):
        values[place] = None
    return values


# -- binary


def read_bytes(raw: memoryview, datatype: str, shape: tuple[int, ...], name: str) -> list[Any]:
    """The values of a tensor's binary data; raises TensorError."""
    array = read_binary(raw, datatype, shape, name).reshape(-1)
    if array.dtype.kind == "f":
        if np.isinf(array).any():
            raise TensorError(f"'{name}' holds infinity")
        return _without_nan(array)
    values: list[Any] = array.tolist()
    if array.dtype.kind == "O" and any("\0" in text for text in values):
        raise TensorError(f"'{name}' holds the character U+0000")
    return values


def write_bytes(values: Sequence[Any], datatype: str) -> bytes:
    dtype = DTYPES[datatype]
    missing: Any = "" if dtype.kind == "O" else math.nan
    array = np.empty(len(values), dtype)
    array[:] = [missing if value is None else value for value in values]
    return write_binary(array)
