"""Requests and responses of the Open Inference Protocol's infer call, read and written. No Django
here.

Source: `docs/predict-api/v2/required_api.md` in kserve/kserve.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import orjson

from registry.exact_json.values import parse_json_body
from registry.open_inference.binary import (
    LENGTH_HEADER,
    BinaryPart,
    TensorError,
    array_to_bytes,
    split_body,
)
from registry.open_inference.content_types import (
    OF_OUTPUTS,
    OF_REQUESTS,
    PARAMETER,
    read_content_type,
    require_texts,
)
from registry.open_inference.json_data import Scalar
from registry.open_inference.tensors import (
    Tensor,
    decode_array,
    read_wire_tensor,
)
from registry.signatures.signature import Input

# The response repeats it.
MAX_ID_LENGTH = 1000
MAX_RESPONSE_OUTPUTS = 1000
BINARY = "application/octet-stream"
JSON = "application/json"

SentTensor: TypeAlias = tuple[str, str, tuple[int, ...], list[Scalar] | bytes, str | None]
"""Name, datatype, shape, the flat values for JSON or else the binary data, and content type."""


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that a request names; with `is_binary` None, the default of the request applies."""

    name: str
    is_binary: bool | None = None
    content_type: str | None = None


# Not frozen: that doubles the time to create one.
@dataclass(slots=True)
class InferRequest:
    """A parsed infer request.

    An empty `outputs` requests all outputs. `is_binary` is the default for outputs: whether they
    are sent as binary data. If `is_frame`, each input is one column of a table.
    """

    inputs: list[Tensor]
    outputs: list[RequestedOutput] = field(default_factory=list)
    id: str | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    is_binary: bool = False
    is_frame: bool = False


# -- reading a request, as the server


def read_request(body: bytes, json_length: str | None) -> InferRequest:
    """Parse the body of an infer call; `json_length` is the value of LENGTH_HEADER.

    Unknown members are ignored, as other servers of the protocol do. Raises TensorError.
    """
    head, binary = split_body(body, json_length)
    try:
        document = parse_json_body(head)
    except ValueError as error:
        raise TensorError(f"Invalid JSON: {error}") from error
    if not isinstance(document, dict):
        raise TensorError('The body must be a JSON object with "inputs"')
    parameters = _read_parameters(document, "the request")
    # A sequence's requests depend on one another; 0 and "" stand for none.
    if parameters.get("sequence_id") not in (None, 0, ""):
        raise TensorError("mlapi does not support sequence_id: it scores each row on its own")
    inputs = _read_inputs(document.get("inputs"), binary)
    return InferRequest(
        inputs,
        _read_requested_outputs(document.get("outputs")),
        _read_id(document.get("id")),
        parameters,
        _read_flag(parameters, "binary_data_output", "the request") or False,
        _is_frame(parameters, inputs),
    )


def _is_frame(parameters: Mapping[str, object], inputs: Sequence[Tensor]) -> bool:
    """Whether the request's content type makes each input a column; raises TensorError if it does
    not fit the inputs.
    """
    content_type = read_content_type(parameters, OF_REQUESTS, "the request")
    if content_type in ("np", "str") and len(inputs) > 1:
        raise TensorError(
            f"the content_type '{content_type}' of the request is for a single input, not"
            f" {len(inputs)}; use pd for columns, or leave it out"
        )
    if content_type == "str" and inputs[0].content_type is None:
        require_texts(content_type, inputs[0].datatype, inputs[0].name)
    return content_type == "pd"


def _read_id(value: object) -> str | None:
    if value is None or (isinstance(value, str) and len(value) <= MAX_ID_LENGTH):
        return value
    raise TensorError(f"id must be a string of at most {MAX_ID_LENGTH} characters")


def _read_inputs(items: object, binary: BinaryPart) -> list[Tensor]:
    if not isinstance(items, list) or not items:
        raise TensorError("inputs must be a list of at least one tensor")
    tensors: list[Tensor] = []
    names: set[str] = set()
    for i, item in enumerate(items):
        tensor = Tensor.decode(read_wire_tensor(item, f"inputs[{i}]", binary, strict=True))
        if tensor.name in names:
            raise TensorError(f"input '{tensor.name}' appears twice")
        names.add(tensor.name)
        tensors.append(tensor)
    if binary.remaining:
        raise TensorError(f"{binary.remaining} bytes of binary data belong to no input")
    return tensors


def _read_requested_outputs(items: object) -> list[RequestedOutput]:
    if items is None:
        return []
    if not isinstance(items, list):
        raise TensorError("outputs must be a list")
    requested: dict[str, RequestedOutput] = {}
    for i, item in enumerate(items):
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(item, dict) or not isinstance(name, str):
            raise TensorError(f'outputs[{i}] must be an object with a "name"')
        if name in requested:
            raise TensorError(f"output '{name}' is requested twice")
        parameters = _read_parameters(item, f"outputs[{i}]")
        for unsupported in ("classification", "shared_memory_region"):
            if unsupported in parameters:
                raise TensorError(f"outputs[{i}]: mlapi does not support {unsupported}")
        is_binary = _read_flag(parameters, "binary_data", f"outputs[{i}]")
        content_type = read_content_type(parameters, OF_OUTPUTS, f"outputs[{i}]")
        requested[name] = RequestedOutput(name, is_binary, content_type)
    return list(requested.values())


def _read_parameters(item: Mapping[str, object], place: str) -> Mapping[str, object]:
    parameters = item.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise TensorError(f"the parameters of {place} must be an object")
    return parameters


def _read_flag(parameters: Mapping[str, object], name: str, place: str) -> bool | None:
    flag = parameters.get(name)
    if flag is None or isinstance(flag, bool):
        return flag
    raise TensorError(f"{name} of {place} must be true or false")


# -- reading a response, as the client


def read_response(body: bytes, headers: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The outputs in the response to an infer call, by name; raises TensorError.

    The names of `headers` are in lower case. Each array has the shape and the dtype of its output.
    """
    head, binary = split_body(body, headers.get(LENGTH_HEADER.lower()))
    try:
        document = orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise TensorError(f"Invalid JSON: {error}") from error
    outputs = document.get("outputs") if isinstance(document, dict) else None
    if not isinstance(outputs, list) or not 0 < len(outputs) <= MAX_RESPONSE_OUTPUTS:
        raise TensorError(f"outputs must be a list of 1 to {MAX_RESPONSE_OUTPUTS} tensors")
    wires = [
        read_wire_tensor(item, f"outputs[{i}]", binary, strict=False)
        for i, item in enumerate(outputs)
    ]
    return {wire.name: decode_array(wire) for wire in wires}


# -- writing, as either


def write_request(
    arrays: Mapping[str, np.ndarray],
    inputs: Sequence[Input],
    outputs: Sequence[str],
    *,
    binary: bool,
) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of an infer call for these arrays, one per input.

    `outputs` are the names to request, none for all. With `binary`, tensors are sent and requested
    as binary data. The datatype of every input must be known.
    """
    fields: dict[str, object] = {}
    if outputs:
        parameters = {"parameters": {"binary_data": True}} if binary else {}
        fields["outputs"] = [{"name": name, **parameters} for name in outputs]
    elif binary:
        fields["parameters"] = {"binary_data_output": True}
    tensors: list[SentTensor] = []
    for tensor in inputs:
        array = arrays[tensor.name]
        # orjson writes NaN as null.
        data = array_to_bytes(array) if binary else array.reshape(-1).tolist()
        tensors.append((tensor.name, str(tensor.datatype), array.shape, data, None))
    return _write_message(fields, "inputs", tensors)


def write_response(
    fields: Mapping[str, object], outputs: Sequence[Tensor], is_binary: Sequence[bool]
) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of the response to an infer call.

    `fields` are its members other than "outputs". `is_binary` has one item for each output:
    whether it is sent as binary data.
    """
    tensors: list[SentTensor] = [
        (
            tensor.name,
            tensor.datatype,
            tensor.shape,
            tensor.to_bytes() if binary else tensor.values,
            tensor.content_type,
        )
        for tensor, binary in zip(outputs, is_binary, strict=True)
    ]
    return _write_message(fields, "outputs", tensors)


def _write_message(
    fields: Mapping[str, object], key: str, tensors: Iterable[SentTensor]
) -> tuple[bytes, dict[str, str]]:
    entries: list[dict[str, object]] = []
    binary_parts: list[bytes] = []
    for name, datatype, shape, data, content_type in tensors:
        entry: dict[str, object] = {"name": name, "shape": shape, "datatype": datatype}
        parameters: dict[str, object] = {}
        if content_type is not None:
            entry["parameters"] = parameters = {PARAMETER: content_type}
        if isinstance(data, bytes):
            entry["parameters"] = {**parameters, "binary_data_size": len(data)}
            binary_parts.append(data)
        else:
            entry["data"] = data
        entries.append(entry)
    head = orjson.dumps({**fields, key: entries})
    if not binary_parts:
        return head, {"Content-Type": JSON}
    return b"".join([head, *binary_parts]), {
        "Content-Type": BINARY,
        LENGTH_HEADER: str(len(head)),
    }
