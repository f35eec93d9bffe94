"""What a worker and a scorer send each other. No Django here.

A message is a head of fixed size and a body. The scorer trusts the worker and unpickles what it
sends: pickle's fifth protocol is the fastest way for arrays, also for those of texts. The worker
does not trust the scorer, whose library a crafted file may have taken over: a reply is JSON and the
bytes of arrays of numbers, its size is bounded, and every description is checked before it is used.
"""

import math
import pickle
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from registry.runtimes.base import Outputs

# The lengths of the two parts of a body.
_HEAD = struct.Struct("<IQ")
MAX_DESCRIPTION_BYTES = 16 * 2**20
# More than any answer to MAX_BATCH_ROWS rows that a caller could use.
MAX_REPLY_BYTES = 2**30
_NUMBERS = frozenset(
    ("<f2", "<f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "|b1")
)


class InvalidMessage(Exception):
    """The other side sent what no message looks like."""


class Closed(Exception):
    """The other side has ended."""


def receive_exactly(connection: socket.socket, size: int, until: float | None) -> bytearray:
    """Raises Closed, or TimeoutError at the monotonic time `until`."""
    content = bytearray(size)
    view, place = memoryview(content), 0
    while place < size:
        _set_timeout(connection, until)
        received = connection.recv_into(view[place:])
        if not received:
            raise Closed
        place += received
    return content


def _set_timeout(connection: socket.socket, until: float | None) -> None:
    if until is not None:
        remaining = until - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connection.settimeout(remaining)


# -- from the worker to the scorer


def send_request(
    connection: socket.socket, content: Mapping[str, Any], seconds: float, until: float
) -> None:
    """Send arrays to be scored within `seconds`, or the first time what to load.

    Raises OSError, or TimeoutError at the monotonic time `until`.
    """
    message = pickle.dumps((dict(content), seconds), protocol=pickle.HIGHEST_PROTOCOL)
    _set_timeout(connection, until)
    connection.sendall(_HEAD.pack(0, len(message)) + message)


def receive_request(connection: socket.socket) -> tuple[dict[str, Any], float]:
    """What the worker sent, and the seconds that it allows; raises Closed."""
    _, size = _HEAD.unpack(receive_exactly(connection, _HEAD.size, None))
    # From the process that started this one.
    content, seconds = pickle.loads(receive_exactly(connection, size, None))  # noqa: S301
    return content, seconds


# -- from the scorer to the worker


def send_outputs(connection: socket.socket, outputs: Outputs) -> None:
    """Raises TypeError for an array that holds anything but numbers and what JSON has."""
    described: list[Sequence[object]] = []
    parts: list[bytes] = []
    for name, values in outputs.items():
        array = np.ascontiguousarray(values)
        if array.dtype.str in _NUMBERS:
            described.append((name, array.dtype.str, array.shape))
            parts.append(array.tobytes())
        else:
            described.append((name, "O", array.shape, array.ravel().tolist()))
    send_reply(connection, {"outputs": described}, b"".join(parts))


def send_reply(
    connection: socket.socket, description: Mapping[str, object], content: bytes = b""
) -> None:
    text = orjson.dumps(description)
    connection.sendall(_HEAD.pack(len(text), len(content)) + text + content)


def receive_reply(connection: socket.socket, until: float) -> tuple[dict[str, Any], memoryview]:
    """The description in a reply and the bytes behind it.

    Raises Closed, InvalidMessage, or TimeoutError at the monotonic time `until`.
    """
    head = receive_exactly(connection, _HEAD.size, until)
    text_size, size = _HEAD.unpack(head)
    if text_size > MAX_DESCRIPTION_BYTES or size > MAX_REPLY_BYTES:
        raise InvalidMessage(f"a reply of {text_size + size} bytes")
    body = memoryview(receive_exactly(connection, text_size + size, until))
    try:
        description = orjson.loads(body[:text_size])
    except ValueError as error:
        raise InvalidMessage("a reply that is not JSON") from error
    if not isinstance(description, dict):
        raise InvalidMessage("a reply that is not an object")
    return description, body[text_size:]


def read_outputs(described: object, content: memoryview) -> Outputs:
    """The arrays of a reply; raises InvalidMessage."""
    outputs: Outputs = {}
    place = 0
    try:
        for name, kind, shape, *values in described:  # type: ignore[attr-defined]
            if kind == "O":
                outputs[str(name)] = _array_of(values[0]).reshape(shape)
                continue
            end = place + _size_bytes(kind, shape)
            if end > len(content):
                raise InvalidMessage("an array that is longer than its reply")
            outputs[str(name)] = np.ndarray(shape, kind, content[place:end])
            place = end
    except (TypeError, ValueError, IndexError) as error:
        raise InvalidMessage(f"a reply that cannot be read: {error}") from error
    return outputs


def _size_bytes(kind: str, shape: Sequence[int]) -> int:
    if kind not in _NUMBERS:
        raise InvalidMessage(f"an array of the type {kind!r}")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise InvalidMessage("an array of a negative size")
    # In Python's integers, which do not overflow as numpy's do.
    return math.prod(shape, start=np.dtype(kind).itemsize)


def _array_of(values: list[object]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
