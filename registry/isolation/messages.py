"""What a worker and a scorer send each other. No Django here.

A message is a head of fixed size, a description in JSON, and the bytes of arrays of numbers, which
is several times faster than pickle. Only texts for the scorer are pickled: it trusts the worker.
The worker does not trust the scorer, whose library a crafted file may have taken over: the size of
a reply is bounded, and every description is checked before it is used.
"""

import math
import pickle
import select
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
PIECE_BYTES = 2**16
MAX_PIECE_BYTES = 2**20
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


def _receive(
    connection: socket.socket, until: float | None, *, is_trusted: bool = False
) -> tuple[int, memoryview]:
    """A message: the length of its description, and the description with what follows it.

    A small message takes one system call. Raises Closed, InvalidMessage, or TimeoutError at the
    monotonic time `until`.
    """
    received = bytearray(_read(connection, until))
    while len(received) < _HEAD.size:
        received += _read(connection, until)
    text_size, content_size = _HEAD.unpack_from(received)
    size = text_size + content_size
    is_too_large = text_size > MAX_DESCRIPTION_BYTES or content_size > MAX_REPLY_BYTES
    if is_too_large and not is_trusted:
        raise InvalidMessage(f"a reply of {size} bytes")
    place = len(received) - _HEAD.size
    if place > size:
        raise InvalidMessage("more than one reply")
    if place == size:
        return text_size, memoryview(received)[_HEAD.size :]
    body = memoryview(bytearray(size))
    body[:place] = received[_HEAD.size :]
    while place < size:
        piece = _read(connection, until, size - place)
        body[place : place + len(piece)] = piece
        place += len(piece)
    return text_size, body


def _read(connection: socket.socket, until: float | None, at_most: int = PIECE_BYTES) -> bytes:
    if until is not None:
        _wait(connection, select.POLLIN, until)
    piece = connection.recv(min(at_most, MAX_PIECE_BYTES))
    if not piece:
        raise Closed
    return piece


def _send(connection: socket.socket, message: bytes, until: float) -> None:
    """Send by a connection that does not block; raises OSError or TimeoutError."""
    unsent = memoryview(message)
    while unsent:
        try:
            unsent = unsent[connection.send(unsent) :]
        except BlockingIOError:
            _wait(connection, select.POLLOUT, until)


def _wait(connection: socket.socket, event: int, until: float) -> None:
    # Not the timeout of the socket: setting it is a system call of its own.
    poll = select.poll()
    poll.register(connection, event)
    remaining = until - time.monotonic()
    if remaining <= 0 or not poll.poll(remaining * 1000):
        raise TimeoutError


# -- from the worker to the scorer


def send_request(
    connection: socket.socket,
    content: Mapping[str, Any],
    until: float,
    *,
    to_explain: bool = False,
) -> None:
    """Send arrays to be scored or explained, or the first time what to load.

    Raises OSError, or TimeoutError at the monotonic time `until`.
    """
    if all(map(_is_numeric, content.values())):
        description, parts = _described(content)
        message = _packed({**description, "to_explain": to_explain}, parts)
    else:
        # Texts and missing values: JSON would turn NaN into null.
        pickled = pickle.dumps((to_explain, dict(content)), protocol=pickle.HIGHEST_PROTOCOL)
        message = _HEAD.pack(0, len(pickled)) + pickled
    _send(connection, message, until)


def _is_numeric(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.str in _NUMBERS


def receive_request(connection: socket.socket) -> tuple[bool, dict[str, Any]]:
    """What the worker sent, and whether it is to be explained; raises Closed."""
    text_size, message = _receive(connection, None, is_trusted=True)
    if text_size:
        described = orjson.loads(message[:text_size])
        arrays = read_arrays(described["arrays"], message[text_size:])
        return described["to_explain"], arrays
    # From the process that started this one.
    content: tuple[bool, dict[str, Any]] = pickle.loads(message)  # noqa: S301
    return content


# -- from the scorer to the worker


def send_outputs(connection: socket.socket, outputs: Outputs) -> None:
    """Raises TypeError for an array that holds anything but numbers and what JSON has."""
    connection.sendall(_packed(*_described(outputs)))


def send_reply(connection: socket.socket, description: Mapping[str, object]) -> None:
    connection.sendall(_packed(description, b""))


def _described(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, object], bytes]:
    described: list[Sequence[object]] = []
    parts: list[bytes] = []
    for name, values in arrays.items():
        array = np.ascontiguousarray(values)
        if array.dtype.str in _NUMBERS:
            described.append((name, array.dtype.str, values.shape))
            parts.append(array.tobytes())
        else:
            described.append((name, "O", values.shape, array.ravel().tolist()))
    return {"arrays": described}, b"".join(parts)


def _packed(description: Mapping[str, object], content: bytes) -> bytes:
    text = orjson.dumps(description)
    return b"".join((_HEAD.pack(len(text), len(content)), text, content))


def receive_reply(connection: socket.socket, until: float) -> tuple[dict[str, Any], memoryview]:
    """The description in a reply and the bytes behind it.

    Raises Closed, InvalidMessage, or TimeoutError at the monotonic time `until`.
    """
    text_size, body = _receive(connection, until)
    try:
        description = orjson.loads(body[:text_size])
    except ValueError as error:
        raise InvalidMessage("a reply that is not JSON") from error
    if not isinstance(description, dict):
        raise InvalidMessage("a reply that is not an object")
    return description, body[text_size:]


def read_arrays(described: object, content: memoryview) -> Outputs:
    """The arrays of a reply; raises InvalidMessage."""
    arrays: Outputs = {}
    place = 0
    try:
        for name, kind, shape, *values in described:  # type: ignore[attr-defined]
            if kind == "O":
                arrays[str(name)] = _array_of(values[0]).reshape(shape)
                continue
            end = place + _size_bytes(kind, shape)
            if end > len(content):
                raise InvalidMessage("an array that is longer than its reply")
            # Copied, since libraries expect numbers at multiples of their size.
            arrays[str(name)] = np.ndarray(shape, kind, content[place:end]).copy()
            place = end
    # OverflowError for a size beyond what numpy can count.
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise InvalidMessage(f"a reply that cannot be read: {error}") from error
    return arrays


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
