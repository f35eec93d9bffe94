"""Tensors in JSON and binary: every datatype there and back, exactly, or refused."""

import json
import math
import struct
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.open_inference.rows import rows_of
from registry.open_inference.binary import TensorError, write_binary
from registry.open_inference.messages import read_request, write_answer
from registry.open_inference.tensors import Tensor, read_bytes, read_json, write_bytes
from registry.signatures.signature import DTYPES, Input, Signature

FLOATS = ("FP16", "FP32", "FP64")
INTEGERS = [name for name, dtype in DTYPES.items() if dtype.kind in "iu"]

EXAMPLES: dict[str, list[Any]] = {
    "BOOL": [True, False, True],
    **{
        name: [int(np.iinfo(DTYPES[name]).min), 0, int(np.iinfo(DTYPES[name]).max)]
        for name in INTEGERS
    },
    "FP16": [0.5, -65504.0, None],
    "FP32": [float(np.float32(0.1)), -0.0, None],
    "FP64": [0.1, 1e300, None],
    "BYTES": ["", "Köln", "\U0001f600"],
}


def raw_of(values: list[Any], datatype: str) -> memoryview:
    return memoryview(write_bytes(values, datatype))


def values_of(datatype: str) -> st.SearchStrategy[Any]:
    dtype = DTYPES[datatype]
    if dtype.kind == "f":
        width: Any = dtype.itemsize * 8
        return st.none() | st.floats(width=width, allow_nan=False, allow_infinity=False)
    if dtype.kind in "iu":
        return st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    if dtype.kind == "b":
        return st.booleans()
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@st.composite
def tensors(draw: Any) -> Tensor:
    datatype = draw(st.sampled_from(list(DTYPES)))
    shape = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    size = math.prod(shape)
    values = draw(st.lists(values_of(datatype), min_size=size, max_size=size))
    return Tensor("x", datatype, shape, values)


def same(given: list[Any], read: list[Any]) -> bool:
    """Equal, with the sign of zero."""
    return list(map(repr, given)) == list(map(repr, read))


@given(tensors())
def test_json_flat_or_nested_and_binary_say_the_same(tensor: Tensor) -> None:
    flat = orjson.loads(orjson.dumps(tensor.values))
    nested = orjson.loads(orjson.dumps(tensor.rows()))
    told = (tensor.datatype, tensor.shape, "x")

    assert same(tensor.values, read_json(flat, *told))
    assert same(tensor.values, read_json(nested, *told))
    assert same(tensor.values, read_bytes(raw_of(tensor.values, tensor.datatype), *told))


@given(st.lists(tensors(), min_size=1, max_size=4), st.data())
def test_a_message_that_was_written_is_read(tensors: list[Tensor], data: Any) -> None:
    tensors = [
        Tensor(f"x{i}", one.datatype, one.shape, one.values) for i, one in enumerate(tensors)
    ]
    n = len(tensors)
    is_binary = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    body, headers = write_answer({"id": "1"}, tensors, is_binary)

    # An answer's outputs have the form of a request's inputs.
    length = headers.get("Inference-Header-Content-Length")
    at = len(body) if length is None else int(length)
    document = orjson.loads(body[:at])
    head = orjson.dumps({"id": document["id"], "inputs": document["outputs"]})
    request = read_request(head + body[at:], length and str(len(head)))

    assert request.id == "1"
    for tensor, read in zip(tensors, request.inputs, strict=True):
        assert (tensor.name, tensor.datatype, tensor.shape) == (
            read.name,
            read.datatype,
            read.shape,
        )
        assert same(tensor.values, read.values)


@pytest.mark.parametrize(("datatype", "values"), EXAMPLES.items())
def test_every_datatype_is_taken(datatype: str, values: list[Any]) -> None:
    assert same(values, read_json(values, datatype, (3,), "x"))
    assert same(values, read_bytes(raw_of(values, datatype), datatype, (3,), "x"))
    assert same(values, read_json([[v] for v in values], datatype, (3, 1), "x"))


def test_the_binary_form_is_the_protocols() -> None:
    assert bytes(raw_of([1, 2], "UINT16")) == b"\1\0\2\0"
    assert bytes(raw_of([True, False], "BOOL")) == b"\1\0"
    assert bytes(raw_of(["a", "é"], "BYTES")) == b"\1\0\0\0a\2\0\0\0\xc3\xa9"
    assert bytes(raw_of([1.5], "FP64")) == struct.pack("<d", 1.5)


def test_values_are_those_of_their_datatype() -> None:
    assert read_json([0.1], "FP32", (1,), "x") == [float(np.float32(0.1))]
    assert read_json([2**53 + 1], "FP64", (1,), "x") == [float(2**53)]
    assert read_json([2**53 + 1], "INT64", (1,), "x") == [2**53 + 1]
    assert read_json([2**64 - 1], "UINT64", (1,), "x") == [2**64 - 1]


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("BOOL", 1),
        ("BOOL", "true"),
        ("BOOL", None),
        ("UINT8", -1),
        ("UINT8", 256),
        ("INT8", 128),
        ("INT64", 2**63),
        ("INT64", 1.0),
        ("INT64", True),
        ("INT64", None),
        ("INT64", "1"),
        ("FP16", 70000),
        ("FP32", 1e39),
        ("FP64", "1"),
        ("FP64", True),
        ("FP64", {}),
        ("BYTES", 5),
        ("BYTES", True),
    ],
)
def test_a_value_that_is_none_of_its_datatype_is_refused(datatype: str, value: Any) -> None:
    with pytest.raises(TensorError, match=r"^'x' holds .* (no|past) " + datatype):
        read_json([value], datatype, (1,), "x")


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ([1, 2, 3], (2, 2)),
        ([[1, 2], [3]], (2, 2)),
        ([[1, 2], 3], (2, 2)),
        ([[1, 2], [3, 4]], (4,)),
        ([[1, 2, 3, 4]], (1, 2, 2)),
        ([[[1], [2]]], (1, 2)),
        ([[1, 2]], (2, 1)),
        ([[], []], (2, 1)),
    ],
)
def test_data_that_is_not_as_its_shape_is_refused(data: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(TensorError):
        read_json(data, "INT64", shape, "x")


@pytest.mark.parametrize(
    ("raw", "datatype", "shape", "said"),
    [
        (bytes(7), "FP64", (1,), "has 7 bytes, not as many as [1]"),
        (bytes(8), "FP64", (2,), "has 8 bytes, not as many as [2]"),
        (bytes(8), "FP64", (2**62, 2**62), "has 8 bytes, not as many as"),
        (b"\2", "BOOL", (1,), "holds bytes that are no BOOL"),
        (struct.pack("<d", math.inf), "FP64", (1,), "holds infinity"),
        (b"\1\0\0\0", "BYTES", (1,), "holds not the 1 texts"),
        (b"\1\0\0", "BYTES", (1,), "holds not the 1 texts"),
        (b"\1\0\0\0ab", "BYTES", (1,), "holds not the 1 texts"),
        (b"\0\0\0\0", "BYTES", (2**40,), "holds not the 1099511627776 texts"),
        (b"\xff\xff\xff\xffab", "BYTES", (1,), "holds not the 1 texts"),
        (b"\1\0\0\0\xff", "BYTES", (1,), "holds no texts in UTF-8"),
        (b"\1\0\0\0\0", "BYTES", (1,), "holds the character U+0000"),
    ],
)
def test_binary_data_that_is_not_as_it_says_is_refused(
    raw: bytes, datatype: str, shape: tuple[int, ...], said: str
) -> None:
    with pytest.raises(TensorError) as raised:
        read_bytes(memoryview(raw), datatype, shape, "x")

    assert said in str(raised.value)


# -- messages with binary data


def message(*inputs: dict[str, Any], raw: bytes = b"", length: int | None = None) -> Any:
    head = json.dumps({"inputs": inputs}).encode()
    return read_request(head + raw, str(len(head) if length is None else length))


def binary(name: str, size: Any, shape: Any = (1,), **more: Any) -> dict[str, Any]:
    parameters = {"binary_data_size": size}
    told = {"name": name, "datatype": "FP64", "shape": list(shape), "parameters": parameters}
    return {**told, **more}


def test_json_and_binary_tensors_may_be_mixed() -> None:
    plain = {"name": "b", "datatype": "INT64", "shape": [1], "data": [7]}
    raw = struct.pack("<dd", 1.5, 2.5)

    request = message(binary("a", 8), plain, binary("c", 8), raw=raw)

    assert [tensor.values for tensor in request.inputs] == [[1.5], [7], [2.5]]


def test_the_protocols_binary_request_is_read() -> None:
    request = message(
        binary("input0", 16, (2, 2), datatype="UINT32"),
        binary("input1", 3, (3,), datatype="BOOL"),
        raw=np.array([1, 2, 3, 4], "<u4").tobytes() + b"\1\0\1",
    )

    assert [tensor.values for tensor in request.inputs] == [[1, 2, 3, 4], [True, False, True]]


@pytest.mark.parametrize(
    ("inputs", "raw", "said"),
    [
        ([binary("a", 8)], bytes(9), "1 bytes of binary data belong to no input"),
        ([binary("a", 8)], bytes(7), "binary_data_size is not within the 7 bytes there"),
        ([binary("a", -8)], bytes(8), "binary_data_size is not within"),
        ([binary("a", "8")], bytes(8), "binary_data_size is not within"),
        ([binary("a", True)], bytes(8), "binary_data_size is not within"),
        ([binary("a", 2**70)], bytes(8), "beyond 64 bits"),
        ([binary("a", 4)], bytes(4), "has 4 bytes, not as many as [1]"),
        ([binary("a", 8, data=[1.0])], bytes(8), "has both data and binary_data_size"),
        ([binary("a", 8), binary("b", 8)], bytes(8), "binary_data_size is not within"),
    ],
)
def test_binary_data_that_does_not_add_up_is_refused(
    inputs: list[Any], raw: bytes, said: str
) -> None:
    with pytest.raises(TensorError) as raised:
        message(*inputs, raw=raw)

    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("length", "said"),
    [
        ("x", "is no number"),
        ("-1", "is no number"),
        ("", "is no number"),
        ("1" * 12, "is no number"),
        ("99999", "is longer than the body"),
        ("3", "Not acceptable as JSON"),
    ],
)
def test_a_wrong_length_of_the_json_is_refused(length: str, said: str) -> None:
    with pytest.raises(TensorError) as raised:
        read_request(json.dumps({"inputs": [binary("a", 8)]}).encode() + bytes(8), length)

    assert said in str(raised.value)


# -- rows


def table(name: str, shape: tuple[int, ...], values: list[Any]) -> Tensor:
    return Tensor(name, "INT64", shape, values)


IMAGE = Signature((Input("image", "FP32", (-1, 2, 2)),))
SEQUENCE = Signature((Input("tokens", "INT64", (-1, -1)),))
NAMED = Signature((Input("table", "FP64", (-1, 2), ("a", "table")),))
SCALARS = Signature((Input("a", "FP64", (-1,)), Input("b", "FP64", (-1, 1))))
SEVERAL = Signature((Input("a", "FP64", (-1, 2)), Input("b", "INT64", (-1,))))


@pytest.mark.parametrize(
    ("signature", "given", "rows"),
    [
        (IMAGE, [table("any", (1, 2, 2), [1, 2, 3, 4])], [{"image": [[1, 2], [3, 4]]}]),
        (SEQUENCE, [table("x", (2, 2), [1, 2, 3, 4])], [{"tokens": [1, 2]}, {"tokens": [3, 4]}]),
        (NAMED, [table("table", (1, 2), [1, 2])], [{"features": [1, 2]}]),
        (
            NAMED,
            [table("a", (2,), [1, 2]), table("table", (2, 1), [3, 4])],
            [{"a": 1, "table": 3}, {"a": 2, "table": 4}],
        ),
        (SCALARS, [table("x", (1, 2), [1, 2])], [{"features": [1, 2]}]),
        (SCALARS, [table("b", (1,), [2]), table("a", (1, 1), [1])], [{"a": 1, "b": 2}]),
        (SEVERAL, [table("a", (1, 2), [1, 2]), table("b", (1,), [3])], [{"a": [1, 2], "b": 3}]),
        (SEVERAL, [table("x", (1, 3), [1, 2, 3])], [{"features": [1, 2, 3]}]),
    ],
)
def test_tensors_are_rows_of_the_signature(
    signature: Signature, given: list[Tensor], rows: list[Any]
) -> None:
    assert rows_of(given, signature, limit=10) == rows


@pytest.mark.parametrize(
    ("signature", "given", "said"),
    [
        (IMAGE, [table("image", (1, 4), [1, 2, 3, 4])], "has the shape [1, 4], not [-1, 2, 2]"),
        (IMAGE, [table("any", (1, 4), [1, 2, 3, 4])], "'any' is no input of this model"),
        (NAMED, [table("a", (1,), [1])], "missing 'table'"),
        (NAMED, [table("a", (1, 2), [1, 2]), table("b", (1,), [1])], "'a' has the shape [1, 2]"),
        (
            NAMED,
            [table("table", (1, 2), [1, 2]), table("a", (1,), [1])],
            "'a' is given twice",
        ),
        (SCALARS, [table("a", (1,), [1])], "missing 'b'"),
        (SCALARS, [table("x", (1,), [1])], "'x' is no input of this model; it takes 'a', 'b'"),
        (SEVERAL, [table("a", (1,), [1]), table("b", (1,), [3])], "'a' has the shape [1], not"),
        (SEVERAL, [table("a", (11, 2), [1] * 22)], "has 11 rows, where 10 may be"),
    ],
)
def test_tensors_that_are_no_rows_of_the_signature_are_refused(
    signature: Signature, given: list[Tensor], said: str
) -> None:
    with pytest.raises(TensorError) as raised:
        rows_of(given, signature, limit=10)

    assert said in str(raised.value)


def test_binary_texts_have_their_length_before_them() -> None:
    assert write_binary(np.array(["ab"], object)) == b"\2\0\0\0ab"
