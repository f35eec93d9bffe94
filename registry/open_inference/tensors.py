"""Tensors between the messages of the Open Inference Protocol and Python. No Django here.

A `WireTensor` is a received tensor, in JSON or binary. The server decodes it to a `Tensor` of
Python values, since rows are recorded as JSON; the client decodes it to a numpy array.

A missing number is null in JSON, as in MLServer, NaN in binary data and in arrays, and None among
Python values.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from registry.open_inference.binary import (
    BinaryPart,
    TensorError,
    array_from_bytes,
    array_to_bytes,
)
from registry.open_inference.content_types import (
    OF_TENSORS,
    PARAMETER,
    decode_values,
    read_content_type,
    require_texts,
)
from registry.open_inference.json_data import Scalar, read_data
from registry.signatures.signature import DTYPES, listed

MAX_DIMENSIONS = 10
MAX_DIMENSION_SIZE = 2**31 - 1
# JSON has their numbers with more digits than they keep.
_ROUNDED_DATATYPES = ("FP16", "FP32")


class WireTensor(NamedTuple):
    """One tensor of a received message.

    `data` is a memoryview for a binary tensor, else what the JSON has, not yet checked.
    `content_type` says what the values stand for, if it is more than `datatype` does.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: object
    content_type: str | None = None


# Not frozen: that doubles the time to create one.
@dataclass(slots=True)
class Tensor:
    """A tensor as Python values of its datatype, flat and in row-major order.

    A received tensor with a content type holds what its values stand for; a response has it as a
    parameter.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Scalar]
    content_type: str | None = None

    @classmethod
    def decode(cls, wire: WireTensor) -> Self:
        """Check the data of a received tensor; raises TensorError.

        Numbers are rounded to the precision of the datatype, so that JSON and binary data give the
        same values. Infinity and U+0000 are refused: they can be neither recorded nor sent as JSON.
        """
        name, datatype, shape, data, content_type = wire
        if isinstance(data, memoryview):
            array = array_from_bytes(data, datatype, shape, name).reshape(-1)
            values = _recordable_values(array, name)
        else:
            values = read_data(data, datatype, shape, name)
            if datatype in _ROUNDED_DATATYPES:
                values = _round(values, datatype, name)
        if content_type is not None:
            values = decode_values(values, content_type, name)
        return cls(name, datatype, shape, values, content_type)

    def to_bytes(self) -> bytes:
        """The binary data of the tensor, in which a missing text is an empty one."""
        dtype = DTYPES[self.datatype]
        return array_to_bytes(_filled(self.values, dtype, "" if dtype.kind == "O" else math.nan))

    @property
    def is_column(self) -> bool:
        """Whether there is one value per row: (n,), (n, 1) and so on."""
        return math.prod(self.shape[1:]) == 1

    def rows(self) -> Sequence[object]:
        """The values of each row: a scalar for the shape (n,), else lists nested to the shape."""
        rows: Sequence[object] = self.values
        for size in reversed(self.shape[1:]):
            rows = [rows[i : i + size] for i in range(0, len(rows), size)]
        return rows


# -- the entry of a tensor in a message


def read_wire_tensor(item: object, place: str, binary: BinaryPart, *, strict: bool) -> WireTensor:
    """The tensor that an entry of a message describes, at `place` in it; raises TensorError.

    `strict` is for requests. The responses of other servers are read leniently: they may have
    empty tensors and names, and parameters that mlapi does not know.
    """
    if not isinstance(item, dict):
        raise TensorError(f"{place} must be an object")
    name = item.get("name")
    if not isinstance(name, str) or (strict and not name):
        raise TensorError(f"{place}.name must be a non-empty string")
    datatype = item.get("datatype")
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise TensorError(f"'{name}': datatype must be one of {listed(list(DTYPES))}")
    shape = _read_shape(item.get("shape"), name, smallest=1 if strict else 0)
    data = item.get("data")
    parameters = item.get("parameters")
    if parameters is None:
        return WireTensor(name, datatype, shape, data)
    if not isinstance(parameters, dict):
        if strict:
            raise TensorError(f"'{name}': parameters must be an object")
        return WireTensor(name, datatype, shape, data)
    size = parameters.get("binary_data_size")
    content_type = _read_content_type(parameters, name, datatype, strict=strict)
    if strict:
        if size is None and "shared_memory_region" in parameters:
            raise TensorError(f"'{name}': mlapi does not support shared memory")
        if size is not None and data is not None:
            raise TensorError(f"'{name}' has both data and binary_data_size; send only one")
    data = data if size is None else binary.take(size, name)
    return WireTensor(name, datatype, shape, data, content_type)


def _read_content_type(
    parameters: Mapping[str, object], name: str, datatype: str, *, strict: bool
) -> str | None:
    if not strict and (datatype != "BYTES" or parameters.get(PARAMETER) not in OF_TENSORS):
        return None
    content_type = read_content_type(parameters, OF_TENSORS, f"'{name}'")
    require_texts(content_type, datatype, name)
    return content_type


def _read_shape(shape: object, name: str, *, smallest: int) -> tuple[int, ...]:
    if (
        not isinstance(shape, list)
        or not 0 < len(shape) <= MAX_DIMENSIONS
        or not all(type(size) is int and smallest <= size <= MAX_DIMENSION_SIZE for size in shape)
    ):
        raise TensorError(
            f"'{name}': shape must be a list of 1 to {MAX_DIMENSIONS} integers, each from "
            f"{smallest} to {MAX_DIMENSION_SIZE}"
        )
    # numpy refuses even an empty array if its other dimensions multiply to too much.
    if 0 in shape and math.prod(size or 1 for size in shape) > MAX_DIMENSION_SIZE:
        raise TensorError(f"'{name}': shape {shape} is too large for an empty tensor")
    return tuple(shape)


# -- arrays


def decode_array(wire: WireTensor) -> np.ndarray:
    """The array of a received tensor, in its shape and dtype; raises TensorError.

    Infinity is kept, and a JSON number beyond the range of the datatype becomes infinity.
    """
    name, datatype, shape, data, content_type = wire
    if isinstance(data, memoryview):
        array = array_from_bytes(data, datatype, shape, name)
        if content_type is None:
            return array
        values: list[Scalar] = array.reshape(-1).tolist()
    else:
        values = read_data(data, datatype, shape, name)
    if content_type is not None:
        values = decode_values(values, content_type, name)
    dtype = DTYPES[datatype]
    if dtype.kind == "O" and None in values:
        raise TensorError(f"'{name}' holds null, which is not {datatype}")
    if dtype.kind == "O" and not all(isinstance(value, str) for value in values):
        raise TensorError(f"'{name}' holds a value that is not text")
    with np.errstate(over="ignore"):
        return _filled(values, dtype, math.nan).reshape(shape)


def _filled(values: Sequence[Scalar], dtype: np.dtype, missing: str | float) -> np.ndarray:
    array = np.empty(len(values), dtype)
    array[:] = [missing if value is None else value for value in values]
    return array


# -- Python values


def _round(values: list[Scalar], datatype: str, name: str) -> list[Scalar]:
    """The numbers as floats of this datatype."""
    with np.errstate(over="ignore"):
        array = _filled(values, np.dtype(np.float64), math.nan).astype(DTYPES[datatype])
    if np.isinf(array).any():
        raise TensorError(f"'{name}' holds a number outside the range of {datatype}")
    return _without_nan(array)


def _recordable_values(array: np.ndarray, name: str) -> list[Scalar]:
    if array.dtype.kind == "f":
        if np.isinf(array).any():
            raise TensorError(f"'{name}' holds infinity; numbers must be finite")
        return _without_nan(array)
    values: list[Scalar] = array.tolist()
    if array.dtype.kind == "O" and any("\0" in text for text in array):
        raise TensorError(f"'{name}' holds the character U+0000")
    return values


def _without_nan(array: np.ndarray) -> list[Scalar]:
    values: list[Scalar] = array.tolist()
    for index in np.flatnonzero(np.isnan(array)):
        values[index] = None
    return values
