"""Invalid responses and error responses of the remote server."""

import json
from typing import Any

import pytest

from registry.open_inference.binary import LENGTH_HEADER
from registry.runtimes.base import InferenceError, RuntimeUnavailable
from registry.runtimes.open_inference import client, endpoint
from registry.runtimes.open_inference.runtime import OpenInferenceRuntime
from registry.testing.remote_models import ROWS, OpenRemote, infer_reply, tensor
from registry.testing.remote_models import open_remote as open_remote
from registry.testing.remote_models import runtime as runtime
from registry.testing.remote_models import server as server
from registry.testing.remote_server import Reply, StubServer, stub_server


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "Invalid JSON"),
        (b'{"outputs": [{"name": "sum", "data": [NaN]}]}', "Invalid JSON"),
        (b"[]", "outputs must be a list of 1 to 1000"),
        (b'{"outputs": []}', "outputs must be a list of 1 to 1000"),
        (b'{"outputs": [3]}', r"outputs\[0\] must be an object"),
        (b'{"outputs": [{"name": 3}]}', r"outputs\[0\]\.name must be"),
    ],
)
def test_a_body_without_outputs_is_an_inference_error(
    server: StubServer, runtime: OpenInferenceRuntime, body: bytes, message: str
) -> None:
    server.replies["infer"] = Reply(body=body)

    with pytest.raises(InferenceError, match=message):
        runtime.predict({"x": ROWS})


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (tensor("other", "FP64", [3], [1, 2, 3]), "has no output 'sum'"),
        (tensor("sum", "FP64", [2], [1, 2]), "has 2 rows of 'sum', but 3 were sent"),
        (tensor("sum", "FP32", [3], [1, 2, 3]), "has FP32 for 'sum', not FP64"),
        (tensor("sum", "FP64", [3, 2], [1] * 6), r"the shape \[3, 2\] for 'sum', not \[3\]"),
        (tensor("sum", "FP64", [3], [1, 2]), r"has 2 values, but its shape \[3\] holds 3"),
        (tensor("sum", "FP64", [3, 1], [[1], [2, 3], []]), "is not nested to its shape"),
        (tensor("sum", "FP64", [3], ["1", "2", "3"]), "a value that is not FP64"),
        (tensor("sum", "FP64", [3], [1, True, 2]), "a value that is not FP64"),
        (tensor("sum", "INT8", [3], [1, 2, 300]), "an integer outside the range of INT8"),
        (tensor("sum", "INT64", [3], [1, 2, 2.5]), "a value that is not INT64"),
        (tensor("sum", "INT64", [3], [1, 2, 2**80]), "a value that is not INT64"),
        (tensor("sum", "INT64", [3], [1, 2, None]), "a value that is not INT64"),
        (tensor("sum", "BF16", [3], [1, 2, 3]), "'sum': datatype must be one of"),
        (tensor("sum", "FP64", [-1], [1, 2, 3]), "'sum': shape must be a list"),
        (tensor("sum", "FP64", []), "'sum': shape must be a list"),
        (tensor("sum", "FP64", [0, *[2**31 - 1] * 3], []), "is too large for an empty tensor"),
        (tensor("sum", "FP64", [3]), "'sum': data must be a list"),
        (
            tensor("sum", "FP64", [3]) | {"parameters": {"binary_data_size": 24}},
            "binary_data_size must be",
        ),
        (
            tensor("sum", "FP64", [3]) | {"parameters": {"binary_data_size": -1}},
            "binary_data_size must be",
        ),
    ],
)
def test_an_invalid_output_is_an_inference_error(
    server: StubServer, runtime: OpenInferenceRuntime, output: dict[str, Any], message: str
) -> None:
    server.replies = infer_reply(output)

    with pytest.raises(InferenceError, match=message):
        runtime.predict({"x": ROWS})


def test_nested_and_flat_data_give_the_same_array(
    server: StubServer, runtime: OpenInferenceRuntime
) -> None:
    for data in ([1.5, 2, 3], [[1.5], [2], [3]]):
        server.replies = infer_reply(tensor("sum", "FP64", [3, 1], data))

        assert runtime.predict({"x": ROWS})["sum"].tolist() == [1.5, 2.0, 3.0]


@pytest.mark.parametrize(
    ("length", "size", "raw", "message"),
    [
        ("x", 24, bytes(24), "must be the size of the JSON"),
        ("99999", 24, bytes(24), "is 99999, but the body has"),
        (None, 24, bytes(24), "Invalid JSON"),
        ("", 24, bytes(23), "binary_data_size must be an integer from 0 to 23"),
        ("", 16, bytes(24), "has 16 bytes of binary data, but FP64"),
    ],
)
def test_invalid_binary_data_is_an_inference_error(
    server: StubServer,
    runtime: OpenInferenceRuntime,
    length: str | None,
    size: int,
    raw: bytes,
    message: str,
) -> None:
    output = tensor("sum", "FP64", [3]) | {"parameters": {"binary_data_size": size}}
    head = json.dumps({"outputs": [output]}).encode()
    headers = {} if length is None else {LENGTH_HEADER: length or str(len(head))}
    server.replies["infer"] = Reply(body=head + raw, headers=headers)

    with pytest.raises(InferenceError, match=message):
        runtime.predict({"x": ROWS})


@pytest.mark.parametrize(
    "raw", [b"", b"\x05\0\0\0abc", b"\x01\0\0\0a" * 2, b"\x01\0\0\0\xff", b"\x01\0\0\0ab", b"\x01"]
)
def test_invalid_binary_texts_are_an_inference_error(raw: bytes, open_remote: OpenRemote) -> None:
    metadata = {"inputs": [tensor("x", "FP64", [-1, 2])], "outputs": [tensor("t", "BYTES", [-1])]}
    output = tensor("t", "BYTES", [1]) | {"parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"outputs": [output]}).encode()
    with stub_server(metadata=metadata) as server:
        runtime = open_remote(server)
        server.replies["infer"] = Reply(body=head + raw, headers={LENGTH_HEADER: str(len(head))})

        with pytest.raises(InferenceError, match="'t' holds"):
            runtime.predict({"x": ROWS[:1]})


def test_a_response_above_the_limit_is_an_inference_error(
    server: StubServer, runtime: OpenInferenceRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_RESPONSE_BYTES", 200_000)
    server.replies["infer"] = Reply(body=bytes(10**6))

    with pytest.raises(InferenceError, match="more than the limit of 200000 bytes"):
        runtime.predict({"x": ROWS})

    server.replies.clear()
    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]


def test_a_compressed_response_is_not_decompressed(
    server: StubServer, runtime: OpenInferenceRuntime
) -> None:
    server.replies["infer"] = Reply(body=b"x", headers={"Content-Encoding": "gzip"})

    with pytest.raises(InferenceError, match="compressed"):
        runtime.predict({"x": ROWS})


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, b'{"error": "bad shape"}', "bad shape"),
        (500, b'{"error": "division by zero"}', "division by zero"),
        (422, b'{"detail": []}', "responded with status 422"),
        (501, b"", "responded with status 501"),
        (500, json.dumps({"error": "x" * 600}).encode(), "^x{500}$"),
    ],
)
def test_an_error_of_the_server_does_not_open_the_breaker(
    server: StubServer, runtime: OpenInferenceRuntime, status: int, body: bytes, message: str
) -> None:
    server.replies["infer"] = Reply(status, body)

    for _ in range(endpoint.BREAKER_FAILURES + 1):
        with pytest.raises(InferenceError, match=message) as caught:
            runtime.predict({"x": ROWS})
        assert not isinstance(caught.value, RuntimeUnavailable)
