"""Models on another server: a stand-in that answers, errs, stalls, dies and comes back."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.runtimes import _remote_client, open_inference
from registry.runtimes.base import (
    InferenceError,
    LoadError,
    LoadOptions,
    RemoteOptions,
    RuntimeUnavailable,
)
from registry.runtimes.open_inference import OpenInferenceRuntime, load
from registry.signature import DTYPES, Signature
from registry.tensors import LENGTH_HEADER
from registry.tests.remote_server import Reply, StandIn, standing_in

ROWS = np.array([[1.0, 2.0], [3.0, 4.5], [-1.0, 1.0]])


@pytest.fixture
def server() -> Iterator[StandIn]:
    with standing_in() as server:
        yield server


@pytest.fixture
def open_remote(tmp_path: Path) -> Callable[..., OpenInferenceRuntime]:
    def open_remote(
        server: StandIn,
        declared: dict[str, Any] | None = None,
        proven: Signature | None = None,
        secrets: Mapping[str, str] | None = None,
        **members: Any,
    ) -> OpenInferenceRuntime:
        path = tmp_path / "remote.json"
        path.write_text(json.dumps(server.document(**members)))
        options = LoadOptions(
            remote=RemoteOptions(frozenset({server.origin}), secrets or {}),
            declared=None if declared is None else Signature.from_json(declared),
            proven=proven,
        )
        return load(path, options)

    return open_remote


@pytest.fixture
def runtime(server: StandIn, open_remote: Any) -> OpenInferenceRuntime:
    return open_remote(server)


def tensor(name: str, datatype: str, shape: list[int], data: Any = None) -> dict[str, Any]:
    told = {"name": name, "datatype": datatype, "shape": shape}
    return told if data is None else told | {"data": data}


def answering(*outputs: dict[str, Any]) -> dict[str, Reply]:
    body = json.dumps({"model_name": "iris", "outputs": list(outputs)}).encode()
    return {"infer": Reply(body=body)}


# -- scoring


@pytest.mark.parametrize("extensions", [[], ["binary_tensor_data"]])
def test_rows_are_scored_in_one_call(extensions: list[str], open_remote: Any) -> None:
    with standing_in(extensions=extensions) as server:
        outputs = open_remote(server).predict({"x": ROWS})

        assert outputs["sum"].tolist() == [3.0, 7.5, 0.0]
        assert server.infers == 1
        assert (LENGTH_HEADER in server.requests[-1][2]) == bool(extensions)


@pytest.mark.parametrize(("extensions", "binary"), [([], True), (["binary_tensor_data"], False)])
def test_the_document_decides_on_binary_tensors(
    extensions: list[str], binary: bool, open_remote: Any
) -> None:
    with standing_in(extensions=extensions) as server:
        outputs = open_remote(server, binary=binary).predict({"x": ROWS})

        assert outputs["sum"].tolist() == [3.0, 7.5, 0.0]
        assert (LENGTH_HEADER in server.requests[-1][2]) == binary


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("datatype", list(DTYPES))
def test_every_datatype_travels_exactly(datatype: str, binary: bool, open_remote: Any) -> None:
    dtype = DTYPES[datatype]
    if dtype.kind == "O":
        values: Any = ["", "Köln", 'a "b"\n', "日本"]
    elif dtype.kind == "b":
        values = [True, False, False, True]
    elif dtype.kind == "f":
        limits = np.finfo(dtype)
        values = [float(limits.max), float(limits.tiny), 0.1, -1.5]
    else:
        values = [np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1]
    sent = np.array(values, dtype).reshape(2, 2)
    metadata = {"inputs": [tensor("x", datatype, [-1, 2])]}
    metadata["outputs"] = [tensor("y", datatype, [-1, 2])]
    with standing_in(metadata=metadata, score=lambda inputs: {"y": inputs["x"]}) as server:
        came = open_remote(server, binary=binary).predict({"x": sent})["y"]

    assert came.dtype == dtype
    assert came.tolist() == sent.tolist()


@pytest.mark.parametrize("binary", [False, True])
def test_missing_values_travel_as_nan(server: StandIn, open_remote: Any, binary: bool) -> None:
    runtime = open_remote(server, binary=binary)

    outputs = runtime.predict({"x": np.array([[1.0, np.nan], [1.0, 2.0]])})

    assert np.isnan(outputs["sum"][0])
    assert outputs["sum"][1] == 3.0
    if not binary:
        assert b"null" in server.requests[-1][3]


def test_version_path_and_headers_are_sent(server: StandIn, open_remote: Any) -> None:
    server.replies["/base/v2"] = Reply(body=b"{}")
    runtime = open_remote(
        server,
        secrets={"MLAPI_REMOTE_TOKEN": "Bearer t"},
        url=f"{server.origin}/base",
        model="my model",
        version="3",
        headers={"Authorization": "MLAPI_REMOTE_TOKEN"},
    )

    runtime.predict({"x": ROWS})

    paths = [path for _, path, _, _ in server.requests]
    assert paths[0] == "/base/v2/models/my%20model/versions/3"
    assert paths[-1] == "/base/v2/models/my%20model/versions/3/infer"
    assert all(headers["Authorization"] == "Bearer t" for _, _, headers, _ in server.requests)


def test_the_proven_signature_spares_asking(server: StandIn, open_remote: Any) -> None:
    proven = open_remote(server).signature
    server.stop()

    runtime = open_remote(server, proven=proven)

    assert runtime.signature == proven
    with pytest.raises(RuntimeUnavailable, match="no connection"):
        runtime.predict({"x": ROWS})


# -- what the server tells of the model


def test_metadata_becomes_the_signature(open_remote: Any) -> None:
    metadata = {
        "inputs": [tensor("x", "FP32", [-1, 4]), tensor("t", "BYTES", [-1])],
        "outputs": [tensor("y", "FP32", [-1, 1]), tensor("z", "INT64", [-1, 3, -1])],
    }
    with standing_in(metadata=metadata) as server:
        runtime = open_remote(server)

    assert runtime.signature.as_json() == {
        "inputs": [tensor("x", "FP32", [-1, 4]), tensor("t", "BYTES", [-1])],
        "outputs": [
            tensor("y", "FP32", [-1]) | {"kind": "value"},
            tensor("z", "INT64", [-1, 3, -1]) | {"kind": "value"},
        ],
    }
    assert runtime.libraries == {"stand-in": "9"}


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"inputs": [tensor("x", "BF16", [-1])]}, "'x' is of the datatype BF16"),
        ({"inputs": [tensor("x", "FP32", [8, 4])]}, "whose first dimension is the rows"),
        ({"inputs": [tensor("x", "FP32", [])]}, "whose first dimension is the rows"),
        ({"inputs": [tensor("x", "FP32", [-1, 0])]}, "whose first dimension is the rows"),
        ({"inputs": [tensor("x", "FP32", [-1] * 11)]}, "whose first dimension is the rows"),
        ({"inputs": [tensor("", "FP32", [-1])]}, r"inputs\[0\] of the server's metadata has no na"),
        ({"inputs": "x"}, "no list of at most 1000 inputs"),
        ({"inputs": [tensor("x", "FP32", [-1])] * 2}, "names one of the inputs twice"),
        ({"inputs": [tensor(f"x{i}", "FP32", [-1]) for i in range(1001)]}, "at most 1000 inputs"),
        ({}, "tells no inputs of the model: declare them"),
    ],
)
def test_metadata_that_can_not_be_served_is_refused(
    metadata: dict[str, Any], said: str, open_remote: Any
) -> None:
    with standing_in(metadata=metadata) as server, pytest.raises(LoadError, match=said):
        open_remote(server)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"inputs": NaN}'])
def test_metadata_that_is_no_json_is_refused(
    server: StandIn, body: bytes, open_remote: Any
) -> None:
    server.replies["metadata"] = Reply(body=body)

    with pytest.raises(LoadError, match="answered with no JSON"):
        open_remote(server)


def test_a_model_that_is_not_there_is_refused(server: StandIn, open_remote: Any) -> None:
    server.replies["metadata"] = Reply(404, b'{"error": "Model iris not found"}')

    with pytest.raises(LoadError, match=r"could not be asked.*status 404"):
        open_remote(server)


def test_a_server_that_is_down_is_refused(server: StandIn, open_remote: Any) -> None:
    server.stop()

    with pytest.raises(LoadError, match=r"could not be asked.*no connection"):
        open_remote(server)


# -- where the metadata tells nothing, as MLServer's often does


BARE = {"name": "iris", "versions": [], "platform": "", "inputs": [], "outputs": []}
DECLARED_INPUTS = [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}]


def classified(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    share = 1 / (1 + np.exp(-inputs["x"].sum(axis=1)))
    label = (share > 0.5).astype(np.int64)
    return {"predict": label[:, None], "predict_proba": np.stack([1 - share, share], axis=1)}


def test_declared_inputs_and_classes_are_enough(open_remote: Any) -> None:
    declared = {"inputs": DECLARED_INPUTS, "classes": ["no", "yes"]}

    def labels_alone(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return {"predict": classified(inputs)["predict"]}

    with standing_in(metadata=BARE, score=labels_alone) as server:
        runtime = open_remote(server, declared)
        outputs = runtime.predict({"x": np.array([[1.0, 2.0], [-1.0, -2.0]])})

    assert [(o.name, o.kind, o.classes) for o in runtime.signature.outputs] == [
        ("predict", "label", ("no", "yes"))
    ]
    assert outputs["predict"].tolist() == [1, 0]


def test_declared_outputs_are_asked_for_by_name(open_remote: Any) -> None:
    declared = {
        "inputs": DECLARED_INPUTS,
        "outputs": [
            {"name": "predict", "classes": ["no", "yes"]},
            {"name": "predict_proba", "kind": "probabilities"},
        ],
    }
    with standing_in(metadata=BARE, score=classified) as server:
        runtime = open_remote(server, declared)
        outputs = runtime.predict({"x": ROWS})
        asked = json.loads(server.requests[-1][3])["outputs"]

    assert asked == [{"name": "predict"}, {"name": "predict_proba"}]
    label, probabilities = runtime.signature.outputs
    assert (label.datatype, label.shape) == ("BYTES", (-1,))
    assert (probabilities.datatype, probabilities.shape) == ("FP64", (-1, 2))
    assert probabilities.classes == ("no", "yes")
    assert outputs["predict_proba"].shape == (3, 2)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"inputs": [{"name": "x"}]}, "declare the datatype of 'x'"),
        (
            {"inputs": [*DECLARED_INPUTS, {"name": "t", "datatype": "BYTES", "nullable": True}]},
            "the protocol has no missing text",
        ),
        (
            {"inputs": DECLARED_INPUTS, "outputs": [{"name": "predict", "kind": "label"}]},
            "a label needs its classes",
        ),
        (
            {"inputs": DECLARED_INPUTS, "outputs": [{"name": "predict", "datatype": "FP32"}]},
            "output 'predict' is INT64, not FP32",
        ),
        (
            {
                "inputs": DECLARED_INPUTS,
                "outputs": [
                    {"name": "predict", "classes": ["a", "b", "c"]},
                    {"name": "predict_proba", "kind": "probabilities"},
                ],
            },
            "probabilities have one column for each class",
        ),
    ],
)
def test_a_declaration_that_does_not_do_is_refused(
    declared: dict[str, Any], said: str, open_remote: Any
) -> None:
    with (
        standing_in(metadata=BARE, score=classified) as server,
        pytest.raises(LoadError, match=said),
    ):
        open_remote(server, declared)


def test_an_output_that_the_model_has_not_is_refused(server: StandIn, open_remote: Any) -> None:
    with pytest.raises(LoadError, match="has no output 'mean': it has sum"):
        open_remote(server, {"outputs": [{"name": "mean"}]})


def test_classes_need_one_output_that_may_be_the_label(server: StandIn, open_remote: Any) -> None:
    with pytest.raises(LoadError, match="0 outputs may be the label"):
        open_remote(server, {"classes": ["a", "b"]})


# -- labels


@pytest.mark.parametrize(
    ("datatype", "answer", "classes", "places"),
    [
        ("BYTES", ["b", "a", "b"], ["a", "b"], [1, 0, 1]),
        ("INT32", [1, 0, 1], ["a", "b"], [1, 0, 1]),
        ("INT64", [7, 5, 7], [5, 7], [1, 0, 1]),
        ("BOOL", [True, False, True], [False, True], [1, 0, 1]),
        ("FP64", [7.5, 5.0, 7.5], [5.0, 7.5], [1, 0, 1]),
    ],
)
def test_labels_become_places_of_classes(
    datatype: str, answer: list[Any], classes: list[Any], places: list[int], open_remote: Any
) -> None:
    metadata = {"inputs": [tensor("x", "FP64", [-1, 2])]}
    metadata["outputs"] = [tensor("y", datatype, [-1])]
    with standing_in(metadata=metadata) as server:
        runtime = open_remote(server, {"outputs": [{"name": "y", "classes": classes}]})
        server.replies = answering(tensor("y", datatype, [3, 1], answer))

        assert runtime.predict({"x": ROWS})["y"].tolist() == places


def test_a_class_the_model_has_not_is_an_error(open_remote: Any) -> None:
    metadata = {"inputs": [tensor("x", "FP64", [-1, 2])]}
    metadata["outputs"] = [tensor("y", "INT64", [-1])]
    with standing_in(metadata=metadata) as server:
        runtime = open_remote(server, {"classes": ["a", "b"]})
        server.replies = answering(tensor("y", "INT64", [3], [0, 2, 1]))

        with pytest.raises(InferenceError, match="a class in 'y' that the model has not: 2"):
            runtime.predict({"x": ROWS})


# -- answers that are wrong


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
    server: StandIn, runtime: OpenInferenceRuntime, body: bytes, said: str
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
    server: StandIn, runtime: OpenInferenceRuntime, output: dict[str, Any], said: str
) -> None:
    server.replies = answering(output)

    with pytest.raises(InferenceError, match=said):
        runtime.predict({"x": ROWS})


def test_nested_and_flat_data_are_alike(server: StandIn, runtime: OpenInferenceRuntime) -> None:
    for data in ([1.5, 2, 3], [[1.5], [2], [3]]):
        server.replies = answering(tensor("sum", "FP64", [3, 1], data))

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
    server: StandIn,
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
    with standing_in(metadata=metadata) as server:
        runtime = open_remote(server)
        server.replies["infer"] = Reply(body=head + raw, headers={LENGTH_HEADER: str(len(head))})

        with pytest.raises(InferenceError, match="'t' holds"):
            runtime.predict({"x": ROWS[:1]})


def test_an_answer_larger_than_the_limit_is_an_error(
    server: StandIn, runtime: OpenInferenceRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_remote_client, "MAX_ANSWER_BYTES", 200_000)
    server.replies["infer"] = Reply(body=bytes(10**6))

    with pytest.raises(InferenceError, match="more than 200000 bytes"):
        runtime.predict({"x": ROWS})

    server.replies.clear()
    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]


def test_a_compressed_answer_is_not_unpacked(
    server: StandIn, runtime: OpenInferenceRuntime
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
    server: StandIn, runtime: OpenInferenceRuntime, status: int, body: bytes, said: str
) -> None:
    server.replies["infer"] = Reply(status, body)

    for _ in range(open_inference.BREAKER_FAILURES + 1):
        with pytest.raises(InferenceError, match=said) as caught:
            runtime.predict({"x": ROWS})
        assert not isinstance(caught.value, RuntimeUnavailable)


# -- servers that are not there


@pytest.mark.parametrize("status", [404, 408, 429, 502, 503, 504])
def test_a_server_that_has_no_time_is_unavailable(
    server: StandIn, runtime: OpenInferenceRuntime, status: int
) -> None:
    server.replies["infer"] = Reply(status, headers={"Retry-After": "7"})

    with pytest.raises(RuntimeUnavailable, match=f"status {status}") as caught:
        runtime.predict({"x": ROWS})

    assert caught.value.retry_after == 7


@pytest.mark.parametrize(("told", "seconds"), [("99999", 60), ("0", 1), ("-3", 1), ("soon", 1)])
def test_how_long_to_wait_is_bounded(
    server: StandIn, runtime: OpenInferenceRuntime, told: str, seconds: int
) -> None:
    server.replies["infer"] = Reply(503, headers={"Retry-After": told})

    with pytest.raises(RuntimeUnavailable) as caught:
        runtime.predict({"x": ROWS})

    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_us_is_unavailable(
    server: StandIn, runtime: OpenInferenceRuntime, status: int
) -> None:
    server.replies["infer"] = Reply(status)

    with pytest.raises(RuntimeUnavailable, match="refused this service"):
        runtime.predict({"x": ROWS})


def test_a_model_that_still_loads_is_unavailable(
    server: StandIn, runtime: OpenInferenceRuntime
) -> None:
    server.replies["infer"] = Reply(400, b'{"error": "Model iris is not ready yet."}')
    server.replies["ready"] = Reply(400)

    with pytest.raises(RuntimeUnavailable, match="does not serve it now"):
        runtime.predict({"x": ROWS})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    server: StandIn, runtime: OpenInferenceRuntime, status: int
) -> None:
    with standing_in() as elsewhere:
        location = f"{elsewhere.origin}/v2/models/iris/infer"
        server.replies["infer"] = Reply(status, headers={"Location": location})

        with pytest.raises(RuntimeUnavailable, match="redirect, which is never followed"):
            runtime.predict({"x": ROWS})

        assert elsewhere.connections == 0


def test_a_redirect_of_the_metadata_is_not_followed(open_remote: Any) -> None:
    with standing_in() as elsewhere, standing_in() as server:
        location = f"{elsewhere.origin}/v2/models/iris"
        server.replies["metadata"] = Reply(302, headers={"Location": location})

        with pytest.raises(LoadError, match="never followed"):
            open_remote(server)

        assert elsewhere.connections == 0


def test_a_proxy_of_the_environment_is_not_asked(
    server: StandIn, open_remote: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing_in() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)

        open_remote(server).predict({"x": ROWS})

        assert proxy.connections == 0


def test_a_slow_server_is_unavailable_in_time(server: StandIn, open_remote: Any) -> None:
    runtime = open_remote(server, timeout_seconds=0.3)
    server.delay = 1.0
    started = time.monotonic()

    with pytest.raises(RuntimeUnavailable, match="timeout"):
        runtime.predict({"x": ROWS})

    assert time.monotonic() - started < 0.9
    # It may have scored: not asked twice.
    assert server.infers == 1


def test_an_answer_that_drips_is_cut_off(server: StandIn, open_remote: Any) -> None:
    runtime = open_remote(server, timeout_seconds=0.3)
    server.replies["infer"] = Reply(body=b" " * 1000, drip=0.05)
    started = time.monotonic()

    with pytest.raises(RuntimeUnavailable, match="timeout"):
        runtime.predict({"x": ROWS})

    assert time.monotonic() - started < 0.9


def test_an_answer_that_breaks_off_is_unavailable(
    server: StandIn, runtime: OpenInferenceRuntime
) -> None:
    server.replies["infer"] = Reply(body=b'{"outputs": [', length=500)

    with pytest.raises(RuntimeUnavailable, match="the connection broke"):
        runtime.predict({"x": ROWS})

    assert server.infers == 1


def test_a_call_that_was_sent_is_not_sent_again(
    server: StandIn, runtime: OpenInferenceRuntime
) -> None:
    server.hang_up = True

    with pytest.raises(RuntimeUnavailable, match="the connection broke"):
        runtime.predict({"x": ROWS})

    assert server.infers == 1


def test_connections_are_kept(server: StandIn, runtime: OpenInferenceRuntime) -> None:
    for _ in range(5):
        runtime.predict({"x": ROWS})

    assert server.connections == 1


def test_connections_are_bounded(
    server: StandIn, runtime: OpenInferenceRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.delay = 0.02

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: runtime.predict({"x": ROWS}), range(32)))

    assert len(answers) == 32
    assert server.connections <= _remote_client.MAX_CONNECTIONS


def test_a_kept_connection_that_was_closed_meanwhile_costs_nobody_an_error(
    server: StandIn, runtime: OpenInferenceRuntime
) -> None:
    runtime.predict({"x": ROWS})
    server.stop()
    server.start()

    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]


def test_a_refused_connection_is_tried_once_more(
    server: StandIn, runtime: OpenInferenceRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    monkeypatch.setattr(_remote_client, "PAUSE_SECONDS", 0.5)
    comeback = threading.Timer(0.2, server.start)
    comeback.start()

    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]
    comeback.join()


def test_a_dead_server_is_left_alone_until_a_trial_succeeds(
    server: StandIn, runtime: OpenInferenceRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime._remote._breaker, "_open_seconds", 0.3)
    server.stop()
    for _ in range(open_inference.BREAKER_FAILURES):
        with pytest.raises(RuntimeUnavailable, match="no connection"):
            runtime.predict({"x": ROWS})

    with pytest.raises(RuntimeUnavailable, match="left alone") as caught:
        runtime.predict({"x": ROWS})
    assert caught.value.retry_after == 1
    server.start()
    with pytest.raises(RuntimeUnavailable, match="left alone"):
        runtime.predict({"x": ROWS})
    time.sleep(0.35)

    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]


def test_another_server_in_its_place_is_asked_what_it_offers(
    server: StandIn, runtime: OpenInferenceRuntime
) -> None:
    runtime.predict({"x": ROWS})
    server.hang_up = True
    with pytest.raises(RuntimeUnavailable):
        runtime.predict({"x": ROWS})
    server.hang_up, server.extensions = False, ["binary_tensor_data"]

    runtime.predict({"x": ROWS})

    assert LENGTH_HEADER in server.requests[-1][2]
