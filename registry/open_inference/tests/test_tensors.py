"""Tensors in JSON and in binary data, decoded and encoded."""

import json
import math
import struct
from collections.abc import Sequence

import numpy as np
import orjson
import pytest
from hypothesis import given

from registry.open_inference.binary import TensorError, array_to_bytes
from registry.open_inference.json_data import Scalar
from registry.open_inference.messages import read_response
from registry.open_inference.tensors import Tensor, WireTensor, decode_array
from registry.open_inference.tests.strategies import tensors
from registry.signatures.signature import DTYPES

INTEGERS = [name for name, dtype in DTYPES.items() if dtype.kind in "iu"]

EXAMPLES: dict[str, list[Scalar]] = {
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


def decode(data: object, datatype: str, shape: tuple[int, ...]) -> list[Scalar]:
    return Tensor.decode(WireTensor("x", datatype, shape, data)).values


def to_bytes(values: list[Scalar], datatype: str) -> memoryview:
    return memoryview(Tensor("x", datatype, (len(values),), values).to_bytes())


def equal(expected: Sequence[Scalar], actual: Sequence[Scalar]) -> bool:
    """Whether the values are equal, with their types and the sign of zero."""
    return list(map(repr, expected)) == list(map(repr, actual))


@given(tensors())
def test_flat_nested_and_binary_data_are_equivalent(tensor: Tensor) -> None:
    datatype, shape = tensor.datatype, tensor.shape
    flat = orjson.loads(orjson.dumps(tensor.values))
    nested = orjson.loads(orjson.dumps(tensor.rows()))

    assert equal(tensor.values, decode(flat, datatype, shape))
    assert equal(tensor.values, decode(nested, datatype, shape))
    assert equal(tensor.values, decode(memoryview(tensor.to_bytes()), datatype, shape))


@pytest.mark.parametrize(("datatype", "values"), EXAMPLES.items())
def test_every_datatype_is_decoded(datatype: str, values: list[Scalar]) -> None:
    assert equal(values, decode(values, datatype, (3,)))
    assert equal(values, decode(to_bytes(values, datatype), datatype, (3,)))
    assert equal(values, decode([[value] for value in values], datatype, (3, 1)))


def test_binary_data_is_as_in_the_protocol() -> None:
    assert bytes(to_bytes([1, 2], "UINT16")) == b"\1\0\2\0"
    assert bytes(to_bytes([True, False], "BOOL")) == b"\1\0"
    assert bytes(to_bytes(["a", "é"], "BYTES")) == b"\1\0\0\0a\2\0\0\0\xc3\xa9"
    assert bytes(to_bytes([1.5], "FP64")) == struct.pack("<d", 1.5)


def test_a_binary_text_follows_its_length() -> None:
    assert array_to_bytes(np.array(["ab"], object)) == b"\2\0\0\0ab"


def test_values_have_the_precision_of_their_datatype() -> None:
    assert decode([0.1], "FP32", (1,)) == [float(np.float32(0.1))]
    assert decode([2**53 + 1], "FP64", (1,)) == [float(2**53)]
    assert decode([2**53 + 1], "INT64", (1,)) == [2**53 + 1]
    assert decode([2**64 - 1], "UINT64", (1,)) == [2**64 - 1]


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
def test_a_value_of_another_datatype_is_refused(datatype: str, value: object) -> None:
    with pytest.raises(TensorError, match=r"^'x' holds .*(not|range of) " + datatype):
        decode([value], datatype, (1,))


def test_infinity_and_missing_texts_differ_for_arrays() -> None:
    beyond_fp32 = decode_array(WireTensor("x", "FP32", (2,), [1e39, None]))

    assert np.isposinf(beyond_fp32[0])
    assert np.isnan(beyond_fp32[1])
    with pytest.raises(TensorError, match="'x' holds null, which is not BYTES"):
        decode_array(WireTensor("x", "BYTES", (2,), ["a", None]))


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
def test_data_that_does_not_match_its_shape_is_refused(
    data: object, shape: tuple[int, ...]
) -> None:
    with pytest.raises(TensorError):
        decode(data, "INT64", shape)


@pytest.mark.parametrize(
    ("raw", "datatype", "shape", "message"),
    [
        (bytes(7), "FP64", (1,), "has 7 bytes of binary data, but FP64 of the shape [1] takes 8"),
        (bytes(8), "FP64", (2,), "has 8 bytes of binary data, but FP64 of the shape [2] takes 16"),
        (bytes(8), "FP64", (2**62, 2**62), "has 8 bytes of binary data, but FP64"),
        (b"\2", "BOOL", (1,), "holds a byte that is not BOOL"),
        (struct.pack("<d", math.inf), "FP64", (1,), "holds infinity"),
        (b"\1\0\0\0", "BYTES", (1,), "is not exactly the 1 texts"),
        (b"\1\0\0", "BYTES", (1,), "is not exactly the 1 texts"),
        (b"\1\0\0\0ab", "BYTES", (1,), "is not exactly the 1 texts"),
        (b"\0\0\0\0", "BYTES", (2**40,), "is not exactly the 1099511627776 texts"),
        (b"\xff\xff\xff\xffab", "BYTES", (1,), "is not exactly the 1 texts"),
        (b"\1\0\0\0\xff", "BYTES", (1,), "is not UTF-8 text"),
        (b"\1\0\0\0\0", "BYTES", (1,), "holds the character U+0000"),
    ],
)
def test_invalid_binary_data_is_refused(
    raw: bytes, datatype: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(TensorError) as raised:
        decode(memoryview(raw), datatype, shape)

    assert message in str(raised.value)


# -- content types of another server's responses


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        (None, ["a", "é"]),
        ("str", ["a", "é"]),
        ("np", ["a", "é"]),
        ("base64", ["YQ==", "w6k="]),
        ("pd_json", ['"a"', '"é"']),
        ("hg_json", ["a", "é"]),
    ],
)
def test_the_texts_of_a_response_are_decoded(content_type: str | None, data: list[str]) -> None:
    output = {
        "name": "label",
        "datatype": "BYTES",
        "shape": [2],
        "data": data,
        "parameters": {"content_type": content_type},
    }

    [array] = read_response(json.dumps({"outputs": [output]}).encode(), {}).values()

    assert array.tolist() == ["a", "é"]


def test_a_response_of_other_json_than_texts_is_refused() -> None:
    output = {"name": "y", "datatype": "BYTES", "shape": [1], "data": ["5"]}
    body = json.dumps({"outputs": [output | {"parameters": {"content_type": "pd_json"}}]})

    with pytest.raises(TensorError, match="'y' holds a value that is not text"):
        read_response(body.encode(), {})
