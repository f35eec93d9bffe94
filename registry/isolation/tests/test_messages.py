"""Messages between a worker and a scorer: what a scorer may not send."""

import socket
import time

import numpy as np
import pytest

from registry.isolation.messages import (
    _HEAD,
    MAX_REPLY_BYTES,
    InvalidMessage,
    read_arrays,
    receive_reply,
    receive_request,
    send_outputs,
    send_request,
)
from registry.runtimes.base import Outputs

ARRAYS: list[np.ndarray] = [
    np.arange(6, dtype=np.int64).reshape(2, 3),
    np.array([[1.5]], np.float32),
    np.zeros((0, 3)),
    np.array([True, False]),
    np.array(["a", None], dtype=object),
    np.arange(12.0).reshape(3, 4)[:, ::2],
]


def round_trip(outputs: Outputs) -> Outputs:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send_outputs(theirs, outputs)
        description, content = receive_reply(ours, time.monotonic() + 20)
    return read_arrays(description["arrays"], content)


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_arrays_arrive_as_they_were_sent(array: np.ndarray) -> None:
    found = round_trip({"y": array, "z": np.ones(2)})

    np.testing.assert_array_equal(found["y"], array)
    assert found["y"].dtype == array.dtype
    assert found["y"].shape == array.shape
    assert found["y"].flags.aligned


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_inputs_arrive_as_they_were_sent(array: np.ndarray) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send_request(ours, {"x": array, "z": np.array([np.nan])}, time.monotonic() + 20)
        _, found = receive_request(theirs)

    np.testing.assert_array_equal(found["x"], array)
    assert np.isnan(found["z"]).all()


@pytest.mark.parametrize(
    "described",
    [
        None,
        [["y", "<f8", [3]]],
        [["y", "<f8", [-1]]],
        [["y", "<f8", [2**62, 4]]],
        [["y", "<f8", ["2"]]],
        [["y", "O", [3], ["a"]]],
        [["y", "O", [2**70], ["a"]]],
        [["y", "<f8", [0, 2**70]]],
        [["y", "|V8", [1]]],
        [["y", "<f8"]],
        {"y": 1},
    ],
)
def test_a_false_description_is_refused(described: object) -> None:
    with pytest.raises(InvalidMessage):
        read_arrays(described, memoryview(bytes(16)))


@pytest.mark.parametrize(
    "reply",
    [
        _HEAD.pack(2, MAX_REPLY_BYTES + 1) + b"{}",
        _HEAD.pack(2**31, 0),
        _HEAD.pack(2, 0) + b"[]",
        _HEAD.pack(2, 0) + b"{x",
        _HEAD.pack(40_000, 0) + b"[" * 40_000,
    ],
)
def test_a_reply_that_is_none_is_refused(reply: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(reply)
        with pytest.raises(InvalidMessage):
            receive_reply(ours, time.monotonic() + 20)
