"""The Open Inference Protocol's messages: arrays to a request's body, and an answer's to arrays.

The binary form is that of the extension `binary_tensor_data`: the JSON, and behind it the tensors,
little-endian, in the order in which it names them. No Django here.
"""

import itertools
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from registry.signature import DTYPES, Input

LENGTH_HEADER = "Inference-Header-Content-Length"
MAX_OUTPUTS = 1000
_LENGTH = struct.Struct("<I")
# What JSON holds for each kind of array; NaN travels as null, as MLServer does it.
_JSON_TYPES: Mapping[str, frozenset[type]] = {
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float, type(None)}),
    "b": frozenset({bool}),
    "O": frozenset({str}),
}


class AnswerError(ValueError):
    """The answer is not what the protocol says, or not what was asked for."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One output as it came."""

    name: str
    datatype: str
    array: np.ndarray


# -- requests


def write_request(
    inputs: Mapping[str, np.ndarray],
    tensors: Sequence[Input],
    outputs: Sequence[str],
    *,
    binary: bool,
) -> tuple[bytes, dict[str, str]]:
    """The body of an infer call and its headers; without names of `outputs` it asks for all."""
    told, raw = [], []
    for tensor in tensors:
        array = inputs[tensor.name]
        one: dict[str, Any] = {
            "name": tensor.name,
            "shape": list(array.shape),
            "datatype": tensor.datatype,
        }
        if binary:
            raw.append(_binary(array))
            one["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            # orjson writes NaN as null.
            one["data"] = array.reshape(-1).tolist()
        told.append(one)
    body: dict[str, Any] = {"inputs": told}
    if outputs:
        parameters = {"parameters": {"binary_data": True}} if binary else {}
        body["outputs"] = [{"name": name, **parameters} for name in outputs]
    elif binary:
        body["parameters"] = {"binary_data_output": True}
    head = orjson.dumps(body)
    if not binary:
        return head, {"Content-Type": "application/json"}
    return b"".join([head, *raw]), {
        "Content-Type": "application/octet-stream",
        LENGTH_HEADER: str(len(head)),
    }


def _binary(array: np.ndarray) -> bytes:
    if array.dtype.kind != "O":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [text.encode() for text in array.reshape(-1)]
    return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))


# -- answers


def read_answer(body: bytes, headers: Mapping[str, str]) -> dict[str, Tensor]:
    """The outputs of an infer call's answer by name; raises AnswerError. `headers` are by
    lower-case name.
    """
    head, raw = _split(body, headers.get(LENGTH_HEADER.lower()))
    try:
        document = orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise AnswerError(f"it is no JSON ({error})") from error
    outputs = document.get("outputs") if isinstance(document, dict) else None
    if not isinstance(outputs, list) or not 0 < len(outputs) <= MAX_OUTPUTS:
        raise AnswerError(f"it has no list of 1 to {MAX_OUTPUTS} outputs")
    tensors: dict[str, Tensor] = {}
    start = 0
    for output in outputs:
        tensor, start = _read_output(output, raw, start)
        tensors[tensor.name] = tensor
    return tensors


def _split(body: bytes, length: str | None) -> tuple[bytes, memoryview]:
    if length is None:
        return body, memoryview(b"")
    if not (length.isascii() and length.isdecimal() and len(length) < 12):
        raise AnswerError(f"its {LENGTH_HEADER} is no number")
    size = int(length)
    if size > len(body):
        raise AnswerError(f"its {LENGTH_HEADER} is longer than it is")
    return body[:size], memoryview(body)[size:]


def _read_output(output: object, raw: memoryview, start: int) -> tuple[Tensor, int]:
    name = output.get("name") if isinstance(output, dict) else None
    if not isinstance(output, dict) or not isinstance(name, str):
        raise AnswerError("an output has no name")
    datatype = output.get("datatype")
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise AnswerError(f"'{name}' has the datatype {str(datatype)[:40]}, which mlapi has not")
    shape = _shape(output.get("shape"), name)
    parameters = output.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        return Tensor(name, datatype, _of_json(output.get("data"), datatype, shape, name)), start
    if type(size) is not int or not 0 <= size <= len(raw) - start:
        raise AnswerError(f"'{name}' has more binary data than came")
    part = raw[start : start + size]
    return Tensor(name, datatype, _of_binary(part, datatype, shape, name)), start + size


def _shape(told: object, name: str) -> tuple[int, ...]:
    is_shape = (
        isinstance(told, list)
        and 0 < len(told) <= 10
        and all(type(size) is int and 0 <= size < 2**31 for size in told)
    )
    if not is_shape:
        raise AnswerError(f"'{name}' has no shape of 1 to 10 sizes")
    assert isinstance(told, list)
    return tuple(told)


def _of_json(data: Any, datatype: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    dtype = DTYPES[datatype]
    flat = _flat(data, shape, name)
    if not _JSON_TYPES[dtype.kind].issuperset(map(type, flat)):
        raise AnswerError(f"'{name}' holds values that are not {datatype}")
    array = np.empty(len(flat), dtype)
    try:
        # A number past the range of single precision becomes infinity, which is refused later.
        with np.errstate(over="ignore"):
            array[:] = [math.nan if value is None else value for value in flat]
    except OverflowError as error:
        raise AnswerError(f"'{name}' holds values out of the range of {datatype}") from error
    return array.reshape(shape)


def _flat(data: Any, shape: tuple[int, ...], name: str) -> list[Any]:
    """The values in row-major order, from a flat list or from lists nested as the shape says."""
    if not isinstance(data, list):
        raise AnswerError(f"'{name}' has no data")
    if len(shape) > 1 and data and isinstance(data[0], list):
        for size in shape[1:]:
            if not all(isinstance(row, list) and len(row) == size for row in data):
                raise AnswerError(f"'{name}' is not nested as its shape {list(shape)} says")
            data = list(itertools.chain.from_iterable(data))
    if len(data) != math.prod(shape):
        raise AnswerError(f"'{name}' has {len(data)} values, not as many as {list(shape)}")
    return data


def _of_binary(raw: memoryview, datatype: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    dtype, count = DTYPES[datatype], math.prod(shape)
    if dtype.kind == "O":
        array = np.empty(count, dtype)
        array[:] = _texts(raw, count, name)
        return array.reshape(shape)
    if len(raw) != count * dtype.itemsize:
        raise AnswerError(f"'{name}' has {len(raw)} bytes, not as many as {list(shape)}")
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _texts(raw: memoryview, count: int, name: str) -> list[str]:
    texts, start = [], 0
    try:
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(raw, start)
            start += _LENGTH.size + length
            if start > len(raw):
                break
            texts.append(str(raw[start - length : start], "utf-8"))
    except (struct.error, UnicodeDecodeError) as error:
        raise AnswerError(f"'{name}' holds no texts in UTF-8 ({error})") from error
    if len(texts) != count or start != len(raw):
        raise AnswerError(f"'{name}' holds not the {count} texts of its shape")
    return texts
