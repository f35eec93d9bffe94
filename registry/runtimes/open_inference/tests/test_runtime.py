"""Models on another server: what is sent, and what comes of the answers."""

from typing import Any

import numpy as np
import pytest

from registry.open_inference.binary import LENGTH_HEADER
from registry.runtimes.base import InferenceError, RuntimeUnavailable
from registry.signatures.signature import DTYPES
from registry.testing.remote_models import ROWS, infer_reply, tensor
from registry.testing.remote_models import open_remote as open_remote
from registry.testing.remote_models import server as server
from registry.testing.remote_server import Reply, StubServer, stub_server

# -- scoring


@pytest.mark.parametrize("extensions", [[], ["binary_tensor_data"]])
def test_rows_are_scored_in_one_call(extensions: list[str], open_remote: Any) -> None:
    with stub_server(extensions=extensions) as server:
        outputs = open_remote(server).predict({"x": ROWS})

        assert outputs["sum"].tolist() == [3.0, 7.5, 0.0]
        assert server.n_infer_calls == 1
        assert (LENGTH_HEADER in server.requests[-1][2]) == bool(extensions)


@pytest.mark.parametrize(("extensions", "binary"), [([], True), (["binary_tensor_data"], False)])
def test_the_document_decides_on_binary_tensors(
    extensions: list[str], binary: bool, open_remote: Any
) -> None:
    with stub_server(extensions=extensions) as server:
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
    with stub_server(metadata=metadata, score=lambda inputs: {"y": inputs["x"]}) as server:
        came = open_remote(server, binary=binary).predict({"x": sent})["y"]

    assert came.dtype == dtype
    assert came.tolist() == sent.tolist()


@pytest.mark.parametrize("binary", [False, True])
def test_missing_values_travel_as_nan(server: StubServer, open_remote: Any, binary: bool) -> None:
    runtime = open_remote(server, binary=binary)

    outputs = runtime.predict({"x": np.array([[1.0, np.nan], [1.0, 2.0]])})

    assert np.isnan(outputs["sum"][0])
    assert outputs["sum"][1] == 3.0
    if not binary:
        assert b"null" in server.requests[-1][3]


def test_version_path_and_headers_are_sent(server: StubServer, open_remote: Any) -> None:
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


def test_the_proven_signature_spares_asking(server: StubServer, open_remote: Any) -> None:
    proven = open_remote(server).signature
    server.stop()

    runtime = open_remote(server, proven=proven)

    assert runtime.signature == proven
    with pytest.raises(RuntimeUnavailable, match="no connection"):
        runtime.predict({"x": ROWS})


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
    with stub_server(metadata=metadata) as server:
        runtime = open_remote(server, {"outputs": [{"name": "y", "classes": classes}]})
        server.replies = infer_reply(tensor("y", datatype, [3, 1], answer))

        assert runtime.predict({"x": ROWS})["y"].tolist() == places


def test_a_class_the_model_has_not_is_an_error(open_remote: Any) -> None:
    metadata = {"inputs": [tensor("x", "FP64", [-1, 2])]}
    metadata["outputs"] = [tensor("y", "INT64", [-1])]
    with stub_server(metadata=metadata) as server:
        runtime = open_remote(server, {"classes": ["a", "b"]})
        server.replies = infer_reply(tensor("y", "INT64", [3], [0, 2, 1]))

        with pytest.raises(InferenceError, match="a class in 'y' that the model has not: 2"):
            runtime.predict({"x": ROWS})
