"""Predictions of models on another server: what is sent, and how outputs are read."""

from collections.abc import Sequence

import numpy as np
import pytest

from registry.open_inference.binary import LENGTH_HEADER
from registry.runtimes.base import InferenceError, RuntimeUnavailable
from registry.signatures.signature import DTYPES
from registry.testing.remote_models import ROWS, OpenRemote, infer_reply, tensor
from registry.testing.remote_models import open_remote as open_remote
from registry.testing.remote_models import server as server
from registry.testing.remote_server import Reply, StubServer, stub_server

# -- scoring


@pytest.mark.parametrize("extensions", [[], ["binary_tensor_data"]])
def test_rows_are_scored_in_one_call(extensions: list[str], open_remote: OpenRemote) -> None:
    with stub_server(extensions=extensions) as server:
        outputs = open_remote(server).predict({"x": ROWS})

        assert outputs["sum"].tolist() == [3.0, 7.5, 0.0]
        assert server.n_infer_calls == 1
        assert (LENGTH_HEADER in server.requests[-1].headers) == bool(extensions)


@pytest.mark.parametrize(("extensions", "binary"), [([], True), (["binary_tensor_data"], False)])
def test_the_document_overrides_the_extensions(
    extensions: list[str], binary: bool, open_remote: OpenRemote
) -> None:
    with stub_server(extensions=extensions) as server:
        outputs = open_remote(server, binary=binary).predict({"x": ROWS})

        assert outputs["sum"].tolist() == [3.0, 7.5, 0.0]
        assert (LENGTH_HEADER in server.requests[-1].headers) == binary


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("datatype", list(DTYPES))
def test_every_datatype_is_sent_and_received_exactly(
    datatype: str, binary: bool, open_remote: OpenRemote
) -> None:
    dtype = DTYPES[datatype]
    if dtype.kind == "O":
        values: Sequence[object] = ["", "Köln", 'a "b"\n', "日本"]
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
    with stub_server(metadata=metadata, score=lambda inputs: {"y": inputs["x"]}) as server:
        received = open_remote(server, binary=binary).predict({"x": sent})["y"]

    assert received.dtype == dtype
    assert received.tolist() == sent.tolist()


@pytest.mark.parametrize("binary", [False, True])
def test_missing_values_are_nan(server: StubServer, open_remote: OpenRemote, binary: bool) -> None:
    runtime = open_remote(server, binary=binary)

    outputs = runtime.predict({"x": np.array([[1.0, np.nan], [1.0, 2.0]])})

    assert np.isnan(outputs["sum"][0])
    assert outputs["sum"][1] == 3.0
    if not binary:
        assert b"null" in server.requests[-1].body


def test_version_path_and_headers_are_sent(server: StubServer, open_remote: OpenRemote) -> None:
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

    paths = [request.path for request in server.requests]
    assert paths[0] == "/base/v2/models/my%20model/versions/3"
    assert paths[-1] == "/base/v2/models/my%20model/versions/3/infer"
    assert all(r.headers["Authorization"] == "Bearer t" for r in server.requests)


def test_with_a_proven_signature_the_server_is_not_called(
    server: StubServer, open_remote: OpenRemote
) -> None:
    proven = open_remote(server).signature
    server.stop()

    runtime = open_remote(server, proven=proven)

    assert runtime.signature == proven
    with pytest.raises(RuntimeUnavailable, match="no connection"):
        runtime.predict({"x": ROWS})


# -- labels


@pytest.mark.parametrize(
    ("datatype", "labels", "classes", "indices"),
    [
        ("BYTES", ["b", "a", "b"], ["a", "b"], [1, 0, 1]),
        ("INT32", [1, 0, 1], ["a", "b"], [1, 0, 1]),
        ("INT64", [7, 5, 7], [5, 7], [1, 0, 1]),
        ("BOOL", [True, False, True], [False, True], [1, 0, 1]),
        ("FP64", [7.5, 5.0, 7.5], [5.0, 7.5], [1, 0, 1]),
    ],
)
def test_labels_become_indices_of_classes(
    datatype: str,
    labels: list[object],
    classes: list[object],
    indices: list[int],
    open_remote: OpenRemote,
) -> None:
    metadata = {"inputs": [tensor("x", "FP64", [-1, 2])]}
    metadata["outputs"] = [tensor("y", datatype, [-1])]
    with stub_server(metadata=metadata) as server:
        runtime = open_remote(server, {"outputs": [{"name": "y", "classes": classes}]})
        server.replies = infer_reply(tensor("y", datatype, [3, 1], labels))

        assert runtime.predict({"x": ROWS})["y"].tolist() == indices


def test_an_unknown_class_is_an_inference_error(open_remote: OpenRemote) -> None:
    metadata = {"inputs": [tensor("x", "FP64", [-1, 2])]}
    metadata["outputs"] = [tensor("y", "INT64", [-1])]
    with stub_server(metadata=metadata) as server:
        runtime = open_remote(server, {"classes": ["a", "b"]})
        server.replies = infer_reply(tensor("y", "INT64", [3], [0, 2, 1]))

        with pytest.raises(InferenceError, match="the class 2 for 'y', which is not one of"):
            runtime.predict({"x": ROWS})
