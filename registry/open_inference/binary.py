"""What is sent of a tensor in the Open Inference Protocol, asked or answered. No Django here.

The binary form is that of the extension `binary_tensor_data`: the JSON, and behind it the tensors,
little-endian, in the order in which it names them.
"""

import itertools
import math
import struct
from typing import Any

import numpy as np

from registry.signatures.signature import DTYPES

LENGTH_HEADER = "Inference-Header-Content-Length"
_LENGTH = struct.Struct("<I")


class TensorError(ValueError):
    """A message is not what the protocol says; the message tells what."""


def split_body(body: bytes, length: str | None) -> tuple[bytes, memoryview]:
    """The JSON of a body and its binary tensors, by what LENGTH_HEADER says; raises TensorError."""
    if length is None:
        return body, memoryview(b"")
    if not (length.isascii() and length.isdecimal() and len(length) < 12):
        raise TensorError(f"{LENGTH_HEADER} is no number")
    size = int(length)
    if size > len(body):
        raise TensorError(f"{LENGTH_HEADER} is longer than the body")
    return body[:size], memoryview(body)[size:]


def flatten(data: Any, shape: tuple[int, ...], name: str) -> list[Any]:
    """The values in row-major order, from a flat list or from lists nested as the shape says."""
    if not isinstance(data, list):
        raise TensorError(f"'{name}' has no data")
    if len(shape) > 1 and data and isinstance(data[0], list):
        if len(data) != shape[0]:
            raise TensorError(f"'{name}' is not nested as its shape {list(shape)} says")
        for size in shape[1:]:
            if not all(isinstance(row, list) and len(row) == size for row in data):
                raise TensorError(f"'{name}' is not nested as its shape {list(shape)} says")
            data = list(itertools.chain.from_iterable(data))
    if len(data) != math.prod(shape):
        raise TensorError(f"'{name}' has {len(data)} values, not as many as {list(shape)}")
    return data


def write_binary(array: np.ndarray) -> bytes:
    """The array's bytes; texts are in UTF-8, each behind its length."""
    if array.dtype.kind != "O":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [text.encode() for text in array.reshape(-1)]
    return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))


def read_binary(raw: memoryview, datatype: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    """What `write_binary` wrote, in this shape; raises TensorError."""
    dtype, count = DTYPES[datatype], math.prod(shape)
    if dtype.kind == "O":
        texts = _texts(raw, count, name)
        array = np.empty(count, dtype)
        array[:] = texts
        return array.reshape(shape)
    if len(raw) != count * dtype.itemsize:
        raise TensorError(f"'{name}' has {len(raw)} bytes, not as many as {list(shape)}")
    if dtype.kind == "b" and np.frombuffer(raw, np.uint8).max(initial=0) > 1:
        raise TensorError(f"'{name}' holds bytes that are no BOOL")
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _texts(raw: memoryview, count: int, name: str) -> list[str]:
    # Each takes its length at least: a shape must not ask for more than came.
    if count * _LENGTH.size > len(raw):
        raise TensorError(f"'{name}' holds not the {count} texts of its shape")
    texts, start = [], 0
    try:
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(raw, start)
            start += _LENGTH.size + length
            if start > len(raw):
                break
            texts.append(str(raw[start - length : start], "utf-8"))
    except (struct.error, UnicodeDecodeError) as error:
        raise TensorError(f"'{name}' holds no texts in UTF-8 ({error})") from error
    if len(texts) != count or start != len(raw):
        raise TensorError(f"'{name}' holds not the {count} texts of its shape")
    return texts
