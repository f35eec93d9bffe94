"""Answers of another server that are wrong."""

import json
from typing import Any

import pytest

from registry.open_inference.binary import LENGTH_HEADER
from registry.runtimes.base import InferenceError, RuntimeUnavailable
from registry.runtimes.open_inference import client
from registry.runtimes.open_inference import runtime as remote_runtime
from registry.runtimes.open_inference.runtime import OpenInferenceRuntime
from registry.testing.remote_models import ROWS, infer_reply, tensor
from registry.testing.remote_models import open_remote as open_remote
from registry.testing.remote_models import runtime as runtime
from registry.testing.remote_models import server as server
from registry.testing.remote_server import Reply, StubServer, stub_server


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "it is no JSON"),
        (b'{"outputs": [{"name": "sum", "data": [NaN]}]}', "it is no JSON"),
        (b"[]", "no list of 1 to 1000 outputs"),
        (b'{"outputs": []}', "no list of 1 to 1000 outputs"),
        (b'{"outputs": [3]}', "an output has no name"),
    ],
)
def test_an_answer_that_is_none_is_an_error(
    server: StubServer, runtime: OpenInferenceRuntime, body: bytes, said: str
) -> None:
    server.replies["infer"] = Reply(body=body)

    with pytest.raises(InferenceError, match=said):
        runtime.predict({"x": ROWS})


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (tensor("other", "FP64", [3], [1, 2, 3]), "has no output 'sum'"),
        (tensor("sum", "FP64", [2], [1, 2]), "has 2 rows of 'sum', where 3 were asked for"),
        (tensor("sum", "FP32", [3], [1, 2, 3]), "has FP32 in 'sum', not FP64"),
        (tensor("sum", "FP64", [3, 2], [1] * 6), r"the shape \[3, 2\] in 'sum', not \[3\]"),
        (tensor("sum", "FP64", [3], [1, 2]), r"has 2 values, not as many as \[3\]"),
        (tensor("sum", "FP64", [3, 1], [[1], [2, 3], []]), "is not nested as its shape"),
        (tensor("sum", "FP64", [3], ["1", "2", "3"]), "values that are not FP64"),
        (tensor("sum", "FP64", [3], [1, True, 2]), "values that are not FP64"),
        (tensor("sum", "INT8", [3], [1, 2, 300]), "values out of the range of INT8"),
        (tensor("sum", "INT64", [3], [1, 2, 2.5]), "values that are not INT64"),
        (tensor("sum", "INT64", [3], [1, 2, 2**80]), "values that are not INT64"),
        (tensor("sum", "INT64", [3], [1, 2, None]), "values that are not INT64"),
        (tensor("sum", "BF16", [3], [1, 2, 3]), "the datatype BF16, which mlapi has not"),
        (tensor("sum", "FP64", [-1], [1, 2, 3]), "has no shape"),
        (tensor("sum", "FP64", []), "has no shape"),
        (tensor("sum", "FP64", [3]), "has no data"),
        (tensor("sum", "FP64", [3]) | {"parameters": {"binary_data_size": 24}}, "more binary data"),
        (tensor("sum", "FP64", [3]) | {"parameters": {"binary_data_size": -1}}, "more binary data"),
    ],
)
def test_an_output_that_is_wrong_is_an_error(
    server: StubServer, runtime: OpenInferenceRuntime, output: dict[str, Any], said: str
) -> None:
    server.replies = infer_reply(output)

    with pytest.raises(InferenceError, match=said):
        runtime.predict({"x": ROWS})


def test_nested_and_flat_data_are_alike(server: StubServer, runtime: OpenInferenceRuntime) -> None:
    for data in ([1.5, 2, 3], [[1.5], [2], [3]]):
        server.replies = infer_reply(tensor("sum", "FP64", [3, 1], data))

        assert runtime.predict({"x": ROWS})["sum"].tolist() == [1.5, 2.0, 3.0]


@pytest.mark.parametrize(
    ("length", "size", "raw", "said"),
    [
        ("x", 24, bytes(24), "is no number"),
        ("99999", 24, bytes(24), "longer than the body"),
        (None, 24, bytes(24), "it is no JSON"),
        ("", 24, bytes(23), "more binary data than came"),
        ("", 16, bytes(24), "has 16 bytes, not as many as"),
    ],
)
def test_a_binary_answer_that_is_wrong_is_an_error(
    server: StubServer,
    runtime: OpenInferenceRuntime,
    length: str | None,
    size: int,
    raw: bytes,
    said: str,
) -> None:
    output = tensor("sum", "FP64", [3]) | {"parameters": {"binary_data_size": size}}
    head = json.dumps({"outputs": [output]}).encode()
    headers = {} if length is None else {LENGTH_HEADER: length or str(len(head))}
    server.replies["infer"] = Reply(body=head + raw, headers=headers)

    with pytest.raises(InferenceError, match=said):
        runtime.predict({"x": ROWS})


@pytest.mark.parametrize(
    "raw", [b"", b"\x05\0\0\0abc", b"\x01\0\0\0a" * 2, b"\x01\0\0\0\xff", b"\x01\0\0\0ab", b"\x01"]
)
def test_binary_texts_that_are_wrong_are_an_error(raw: bytes, open_remote: Any) -> None:
    metadata = {"inputs": [tensor("x", "FP64", [-1, 2])], "outputs": [tensor("t", "BYTES", [-1])]}
    output = tensor("t", "BYTES", [1]) | {"parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"outputs": [output]}).encode()
    with stub_server(metadata=metadata) as server:
        runtime = open_remote(server)
        server.replies["infer"] = Reply(body=head + raw, headers={LENGTH_HEADER: str(len(head))})

        with pytest.raises(InferenceError, match="'t' holds"):
            runtime.predict({"x": ROWS[:1]})


def test_an_answer_larger_than_the_limit_is_an_error(
    server: StubServer, runtime: OpenInferenceRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 200_000)
    server.replies["infer"] = Reply(body=bytes(10**6))

    with pytest.raises(InferenceError, match="more than 200000 bytes"):
        runtime.predict({"x": ROWS})

    server.replies.clear()
    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]


def test_a_compressed_answer_is_not_unpacked(
    server: StubServer, runtime: OpenInferenceRuntime
) -> None:
    server.replies["infer"] = Reply(body=b"x", headers={"Content-Encoding": "gzip"})

    with pytest.raises(InferenceError, match="compressed"):
        runtime.predict({"x": ROWS})


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, b'{"error": "bad shape"}', "bad shape"),
        (500, b'{"error": "division by zero"}', "division by zero"),
        (422, b'{"detail": []}', "The server answered 422"),
        (501, b"", "The server answered 501"),
        (500, json.dumps({"error": "x" * 600}).encode(), "^x{500}$"),
    ],
)
def test_the_servers_own_error_is_the_models(
    server: StubServer, runtime: OpenInferenceRuntime, status: int, body: bytes, said: str
) -> None:
    server.replies["infer"] = Reply(status, body)

    for _ in range(remote_runtime.BREAKER_FAILURES + 1):
        with pytest.raises(InferenceError, match=said) as caught:
            runtime.predict({"x": ROWS})
        assert not isinstance(caught.value, RuntimeUnavailable)
