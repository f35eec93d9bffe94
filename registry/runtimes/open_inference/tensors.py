"""The Open Inference Protocol's messages: arrays to a request's body, and an answer's to arrays.
No Django here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from registry.open_inference.binary import (
    LENGTH_HEADER,
    TensorError,
    flatten,
    read_binary,
    split_body,
    write_binary,
)
from registry.signatures.signature import DTYPES, Input

MAX_OUTPUTS = 1000
# What JSON holds for each kind of array; NaN travels as null, as MLServer does it.
_JSON_TYPES: Mapping[str, frozenset[type]] = {
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float, type(None)}),
    "b": frozenset({bool}),
    "O": frozenset({str}),
}


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
            raw.append(write_binary(array))
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


# -- answers


def read_answer(body: bytes, headers: Mapping[str, str]) -> dict[str, Tensor]:
    """The outputs of an infer call's answer by name; raises TensorError. `headers` are by
    lower-case name.
    """
    head, raw = split_body(body, headers.get(LENGTH_HEADER.lower()))
    try:
        document = orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise TensorError(f"it is no JSON ({error})") from error
    outputs = document.get("outputs") if isinstance(document, dict) else None
    if not isinstance(outputs, list) or not 0 < len(outputs) <= MAX_OUTPUTS:
        raise TensorError(f"it has no list of 1 to {MAX_OUTPUTS} outputs")
    tensors: dict[str, Tensor] = {}
    start = 0
    for output in outputs:
        tensor, start = _read_output(output, raw, start)
        tensors[tensor.name] = tensor
    return tensors


def _read_output(output: object, raw: memoryview, start: int) -> tuple[Tensor, int]:
    name = output.get("name") if isinstance(output, dict) else None
    if not isinstance(output, dict) or not isinstance(name, str):
        raise TensorError("an output has no name")
    datatype = output.get("datatype")
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise TensorError(f"'{name}' has the datatype {str(datatype)[:40]}, which mlapi has not")
    shape = _shape(output.get("shape"), name)
    parameters = output.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        return Tensor(name, datatype, _of_json(output.get("data"), datatype, shape, name)), start
    if type(size) is not int or not 0 <= size <= len(raw) - start:
        raise TensorError(f"'{name}' has more binary data than came")
    part = raw[start : start + size]
    return Tensor(name, datatype, read_binary(part, datatype, shape, name)), start + size


def _shape(told: object, name: str) -> tuple[int, ...]:
    is_shape = (
        isinstance(told, list)
        and 0 < len(told) <= 10
        and all(type(size) is int and 0 <= size < 2**31 for size in told)
    )
    if not is_shape:
        raise TensorError(f"'{name}' has no shape of 1 to 10 sizes")
    assert isinstance(told, list)
    return tuple(told)


def _of_json(data: Any, datatype: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    dtype = DTYPES[datatype]
    flat = flatten(data, shape, name)
    if not _JSON_TYPES[dtype.kind].issuperset(map(type, flat)):
        raise TensorError(f"'{name}' holds values that are not {datatype}")
    array = np.empty(len(flat), dtype)
    try:
        # A number past the range of single precision becomes infinity, which is refused later.
        with np.errstate(over="ignore"):
            array[:] = [math.nan if value is None else value for value in flat]
    except OverflowError as error:
        raise TensorError(f"'{name}' holds values out of the range of {datatype}") from error
    return array.reshape(shape)
