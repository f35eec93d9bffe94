"""The binary form of tensors: the protocol's extension `binary_tensor_data`. No Django here.

A body is a JSON document and, behind it, the data of its binary tensors in the order in which the
JSON names them. The header LENGTH_HEADER holds the size of the JSON. Numbers are little-endian and
in row-major order; a BYTES element is its length in 4 bytes and then its text in UTF-8.

Source: `docs/protocol/extension_binary_data.md` in triton-inference-server/server.
"""

import math
import struct

import numpy as np

from registry.signatures.signature import DTYPES

LENGTH_HEADER = "Inference-Header-Content-Length"
_LENGTH = struct.Struct("<I")


class TensorError(ValueError):
    """A message violates the Open Inference Protocol, as the text of the error explains."""


class BinaryPart:
    """The bytes behind the JSON of a body, which its binary tensors take in order."""

    __slots__ = ("_position", "_raw")

    def __init__(self, raw: memoryview) -> None:
        self._raw = raw
        self._position = 0

    @property
    def remaining(self) -> int:
        return len(self._raw) - self._position

    def take(self, size: object, name: str) -> memoryview:
        """The next `size` bytes, for the tensor `name`; raises TensorError."""
        if type(size) is not int or not 0 <= size <= self.remaining:
            raise TensorError(
                f"'{name}': binary_data_size must be an integer from 0 to {self.remaining}, "
                "the bytes that are left of the body"
            )
        start = self._position
        self._position += size
        return self._raw[start : self._position]


def split_body(body: bytes, json_length: str | None) -> tuple[bytes, BinaryPart]:
    """The JSON of a body and its binary part; raises TensorError.

    `json_length` is the value of LENGTH_HEADER; None means that the body is only JSON.
    """
    if json_length is None:
        return body, BinaryPart(memoryview(b""))
    if not (json_length.isascii() and json_length.isdecimal() and len(json_length) < 12):
        raise TensorError(f"{LENGTH_HEADER} must be the size of the JSON in bytes")
    size = int(json_length)
    if size > len(body):
        raise TensorError(f"{LENGTH_HEADER} is {size}, but the body has {len(body)} bytes")
    return body[:size], BinaryPart(memoryview(body)[size:])


def array_to_bytes(array: np.ndarray) -> bytes:
    """The binary data of an array with one of the dtypes in DTYPES."""
    if array.dtype.kind != "O":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [text.encode() for text in array.reshape(-1)]
    return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))


def array_from_bytes(
    raw: memoryview, datatype: str, shape: tuple[int, ...], name: str
) -> np.ndarray:
    """The array of this shape and datatype in the binary data `raw`; raises TensorError."""
    dtype, count = DTYPES[datatype], math.prod(shape)
    if dtype.kind == "O":
        # Before the array is allocated, since this checks the count.
        texts = _texts(raw, count, name)
        array = np.empty(count, dtype)
        array[:] = texts
        return array.reshape(shape)
    size = count * dtype.itemsize
    if len(raw) != size:
        raise TensorError(
            f"'{name}' has {len(raw)} bytes of binary data, but {datatype} of the shape "
            f"{list(shape)} takes {size}"
        )
    if dtype.kind == "b" and np.frombuffer(raw, np.uint8).max(initial=0) > 1:
        raise TensorError(f"'{name}' holds a byte that is not BOOL: it must be 0 or 1")
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _texts(raw: memoryview, count: int, name: str) -> list[str]:
    # Each text takes at least its length, so a shape cannot ask for more memory than was sent.
    if count * _LENGTH.size > len(raw):
        raise TensorError(_wrong_count(count, name))
    texts: list[str] = []
    position = 0
    try:
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(raw, position)
            position += _LENGTH.size + length
            if position > len(raw):
                break
            texts.append(str(raw[position - length : position], "utf-8"))
    except (struct.error, UnicodeDecodeError) as error:
        raise TensorError(f"'{name}' holds binary data that is not UTF-8 text ({error})") from error
    if len(texts) != count or position != len(raw):
        raise TensorError(_wrong_count(count, name))
    return texts


def _wrong_count(count: int, name: str) -> str:
    return f"'{name}' holds binary data that is not exactly the {count} texts of its shape"
