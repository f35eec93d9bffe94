"""Requests and responses of the infer call."""

import json
import struct
from collections.abc import Mapping, Sequence

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.open_inference.binary import LENGTH_HEADER, TensorError
from registry.open_inference.messages import InferRequest, read_request, write_response
from registry.open_inference.tensors import Tensor
from registry.open_inference.tests.strategies import tensors


@given(st.lists(tensors(), min_size=1, max_size=4), st.data())
def test_a_written_message_is_read_back(tensors: list[Tensor], data: st.DataObject) -> None:
    tensors = [
        Tensor(f"x{i}", item.datatype, item.shape, item.values) for i, item in enumerate(tensors)
    ]
    n = len(tensors)
    is_binary = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    body, headers = write_response({"id": "1"}, tensors, is_binary)

    # The outputs of a response have the form of a request's inputs.
    length = headers.get(LENGTH_HEADER)
    size = len(body) if length is None else int(length)
    document = orjson.loads(body[:size])
    head = orjson.dumps({"id": document["id"], "inputs": document["outputs"]})
    request = read_request(head + body[size:], length and str(len(head)))

    assert request.id == "1"
    for tensor, read in zip(tensors, request.inputs, strict=True):
        assert (tensor.name, tensor.datatype, tensor.shape) == (
            read.name,
            read.datatype,
            read.shape,
        )
        assert list(map(repr, tensor.values)) == list(map(repr, read.values))


# -- requests with binary data


def read(*inputs: Mapping[str, object], raw: bytes = b"") -> InferRequest:
    head = json.dumps({"inputs": inputs}).encode()
    return read_request(head + raw, str(len(head)))


def binary(
    name: str, size: object, shape: Sequence[int] = (1,), **members: object
) -> dict[str, object]:
    """An input with binary data."""
    parameters = {"binary_data_size": size}
    entry = {"name": name, "datatype": "FP64", "shape": list(shape), "parameters": parameters}
    return {**entry, **members}


def test_json_and_binary_tensors_may_be_mixed() -> None:
    plain = {"name": "b", "datatype": "INT64", "shape": [1], "data": [7]}
    raw = struct.pack("<dd", 1.5, 2.5)

    request = read(binary("a", 8), plain, binary("c", 8), raw=raw)

    assert [tensor.values for tensor in request.inputs] == [[1.5], [7], [2.5]]


def test_the_binary_example_of_the_protocol_is_read() -> None:
    request = read(
        binary("input0", 16, (2, 2), datatype="UINT32"),
        binary("input1", 3, (3,), datatype="BOOL"),
        raw=np.array([1, 2, 3, 4], "<u4").tobytes() + b"\1\0\1",
    )

    assert [tensor.values for tensor in request.inputs] == [[1, 2, 3, 4], [True, False, True]]


@pytest.mark.parametrize(
    ("inputs", "raw", "message"),
    [
        ([binary("a", 8)], bytes(9), "1 bytes of binary data belong to no input"),
        ([binary("a", 8)], bytes(7), "binary_data_size must be an integer from 0 to 7"),
        ([binary("a", -8)], bytes(8), "binary_data_size must be an integer"),
        ([binary("a", "8")], bytes(8), "binary_data_size must be an integer"),
        ([binary("a", True)], bytes(8), "binary_data_size must be an integer"),
        ([binary("a", 2**70)], bytes(8), "beyond 64 bits"),
        (
            [binary("a", 4)],
            bytes(4),
            "but FP64 of the shape [1] takes 8",
        ),
        ([binary("a", 8, data=[1.0])], bytes(8), "has both data and binary_data_size"),
        ([binary("a", 8), binary("b", 8)], bytes(8), "binary_data_size must be an integer"),
    ],
)
def test_inconsistent_binary_sizes_are_refused(
    inputs: list[Mapping[str, object]], raw: bytes, message: str
) -> None:
    with pytest.raises(TensorError) as raised:
        read(*inputs, raw=raw)

    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("length", "message"),
    [
        ("x", "must be the size of the JSON"),
        ("-1", "must be the size of the JSON"),
        ("", "must be the size of the JSON"),
        ("1" * 12, "must be the size of the JSON"),
        ("99999", "is 99999, but the body has"),
        ("3", "Invalid JSON"),
    ],
)
def test_an_invalid_length_of_the_json_is_refused(length: str, message: str) -> None:
    with pytest.raises(TensorError) as raised:
        read_request(json.dumps({"inputs": [binary("a", 8)]}).encode() + bytes(8), length)

    assert message in str(raised.value)
