"""The bodies of the Open Inference Protocol's infer call, with its binary data extension. No Django
here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from registry.exact_json.values import parse_json
from registry.open_inference.binary import LENGTH_HEADER, TensorError, split_body
from registry.open_inference.tensors import (
    Tensor,
    read_bytes,
    read_datatype,
    read_json,
    read_shape,
    write_bytes,
)

# It comes back in the answer.
MAX_ID_LENGTH = 1000
BINARY = "application/octet-stream"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that was asked for; `is_binary` is None where only the request says it."""

    name: str
    is_binary: bool | None = None


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What an infer call asks; no `outputs` means all of them."""

    inputs: list[Tensor]
    outputs: list[Wanted] = field(default_factory=list)
    id: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_binary: bool = False


# -- requests


def read_request(body: bytes, json_length: str | None) -> InferRequest:
    """The request in a body, whose binary part begins where LENGTH_HEADER says.

    What the protocol does not know is left alone, as its other servers do. Raises TensorError.
    """
    head, raw = split_body(body, json_length)
    try:
        document = parse_json(head)
    except ValueError as error:
        raise TensorError(f"Not acceptable as JSON: {error}") from error
    if not isinstance(document, dict):
        raise TensorError('Must be an object with "inputs"')
    parameters = _parameters(document, "the request")
    return InferRequest(
        _read_inputs(document.get("inputs"), raw),
        _read_outputs(document.get("outputs")),
        _read_id(document.get("id")),
        parameters,
        _flag(parameters, "binary_data_output", "the request") or False,
    )


def _read_id(told: object) -> str | None:
    if told is None or (isinstance(told, str) and len(told) <= MAX_ID_LENGTH):
        return told
    raise TensorError(f"id must be text of at most {MAX_ID_LENGTH} characters")


def _read_inputs(told: object, raw: memoryview) -> list[Tensor]:
    if not isinstance(told, list) or not told:
        raise TensorError("inputs must be a list of at least one tensor")
    tensors, start, names = [], 0, set()
    for i, item in enumerate(told):
        tensor, start = _read_input(item, f"inputs[{i}]", raw, start)
        if tensor.name in names:
            raise TensorError(f"input '{tensor.name}' is given twice")
        names.add(tensor.name)
        tensors.append(tensor)
    if start != len(raw):
        raise TensorError(f"{len(raw) - start} bytes of binary data belong to no input")
    return tensors


def _read_input(item: object, place: str, raw: memoryview, start: int) -> tuple[Tensor, int]:
    if not isinstance(item, dict):
        raise TensorError(f"{place} must be an object")
    name = item.get("name")
    if not isinstance(name, str) or not name:
        raise TensorError(f"{place}.name must be text")
    datatype = read_datatype(item.get("datatype"), name)
    shape = read_shape(item.get("shape"), name)
    # Asked seldom, and most tensors have none.
    parameters = _parameters(item, f"'{name}'") if "parameters" in item else {}
    size = parameters.get("binary_data_size")
    if size is None:
        if "shared_memory_region" in parameters:
            raise TensorError(f"'{name}': shared memory is not offered")
        return Tensor(name, datatype, shape, read_json(item.get("data"), datatype, shape, name)), (
            start
        )
    if item.get("data") is not None:
        raise TensorError(f"'{name}' has both data and binary_data_size")
    if type(size) is not int or not 0 <= size <= len(raw) - start:
        raise TensorError(f"'{name}': binary_data_size is not within the {len(raw)} bytes there")
    part = raw[start : start + size]
    return Tensor(name, datatype, shape, read_bytes(part, datatype, shape, name)), start + size


def _read_outputs(told: object) -> list[Wanted]:
    if told is None:
        return []
    if not isinstance(told, list):
        raise TensorError("outputs must be a list")
    wanted: dict[str, Wanted] = {}
    for i, item in enumerate(told):
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(item, dict) or not isinstance(name, str):
            raise TensorError(f'outputs[{i}] must be an object with a "name"')
        if name in wanted:
            raise TensorError(f"output '{name}' is asked for twice")
        parameters = _parameters(item, f"outputs[{i}]")
        for unknown in ("classification", "shared_memory_region"):
            if unknown in parameters:
                raise TensorError(f"outputs[{i}]: {unknown} is not offered")
        wanted[name] = Wanted(name, _flag(parameters, "binary_data", f"outputs[{i}]"))
    return list(wanted.values())


def _parameters(item: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    parameters = item.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise TensorError(f"the parameters of {where} must be an object")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, where: str) -> bool | None:
    flag = parameters.get(name)
    if flag is None or isinstance(flag, bool):
        return flag
    raise TensorError(f"{name} of {where} must be true or false")


# -- answers


def write_answer(
    about: Mapping[str, Any], tensors: Sequence[Tensor], is_binary: Sequence[bool]
) -> tuple[bytes, dict[str, str]]:
    """The body of an answer and its headers: JSON, and behind it the tensors that are binary."""
    told, raw = [], []
    for tensor, as_bytes in zip(tensors, is_binary, strict=True):
        one: dict[str, Any] = {
            "name": tensor.name,
            "shape": tensor.shape,
            "datatype": tensor.datatype,
        }
        if as_bytes:
            raw.append(write_bytes(tensor.values, tensor.datatype))
            one["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            one["data"] = tensor.values
        told.append(one)
    head = orjson.dumps({**about, "outputs": told})
    if not raw:
        return head, {"Content-Type": JSON}
    return b"".join([head, *raw]), {"Content-Type": BINARY, LENGTH_HEADER: str(len(head))}
