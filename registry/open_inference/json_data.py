"""The `data` of a tensor in JSON: values of its datatype, flat or nested. No Django here."""

import itertools
import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from registry.open_inference.binary import TensorError
from registry.signatures.signature import DTYPES

Scalar: TypeAlias = str | int | float | bool | None
"""One value of a tensor; None is a missing number or text."""

_FLOATS = frozenset({float})
# By the kind of dtype. `type(value)` is compared, since a bool is an int to isinstance.
_JSON_TYPES: Mapping[str, frozenset[type]] = {
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float, type(None)}),
    "b": frozenset({bool}),
    "O": frozenset({str, type(None)}),
}


def read_data(data: object, datatype: str, shape: tuple[int, ...], name: str) -> list[Scalar]:
    """The flat values of parsed JSON, in row-major order; raises TensorError.

    Integers are in the range of `datatype`, and values of FP64 are floats or None. Numbers of the
    smaller float datatypes are as they were sent, not yet rounded to their precision.
    """
    values = _flatten(data, shape, name)
    # Most tensors are FP64, where nothing else can be wrong.
    if datatype == "FP64" and _FLOATS.issuperset(map(type, values)):
        return values
    kind = DTYPES[datatype].kind
    types = _JSON_TYPES[kind]
    if not types.issuperset(map(type, values)):
        index = next(i for i, value in enumerate(values) if type(value) not in types)
        raise TensorError(f"'{name}' holds a value that is not {datatype}, at index {index}")
    if datatype == "FP64":
        return [None if value is None else float(value) for value in values]
    if kind in "iu":
        _check_range(values, datatype, name)
    return values


def _check_range(integers: list[Scalar], datatype: str, name: str) -> None:
    dtype = DTYPES[datatype]
    try:
        np.array(integers, dtype)
    except OverflowError as error:
        limits = np.iinfo(dtype)
        raise TensorError(
            f"'{name}' holds an integer outside the range of {datatype}, {limits.min} to "
            f"{limits.max}"
        ) from error


def _flatten(data: object, shape: tuple[int, ...], name: str) -> list[Scalar]:
    """Values from a flat list, or from lists nested to `shape`."""
    if not isinstance(data, list):
        raise TensorError(f"'{name}': data must be a list, flat or nested to the shape")
    if len(shape) > 1 and data and isinstance(data[0], list):
        if len(data) != shape[0]:
            raise TensorError(_wrong_nesting(shape, name))
        for size in shape[1:]:
            if not all(isinstance(row, list) and len(row) == size for row in data):
                raise TensorError(_wrong_nesting(shape, name))
            data = list(itertools.chain.from_iterable(data))
    count = math.prod(shape)
    if len(data) != count:
        raise TensorError(
            f"'{name}' has {len(data)} values, but its shape {list(shape)} holds {count}"
        )
    return data


def _wrong_nesting(shape: tuple[int, ...], name: str) -> str:
    return f"'{name}': data is not nested to its shape {list(shape)}"
