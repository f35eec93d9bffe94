"""The signature of a model on another server."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from registry.runtimes.base import LoadError
from registry.testing.remote_models import ROWS, tensor
from registry.testing.remote_models import open_remote as open_remote
from registry.testing.remote_models import server as server
from registry.testing.remote_server import Reply, StubServer, stub_server

# -- what the server tells of the model


def test_metadata_becomes_the_signature(open_remote: Any) -> None:
    metadata = {
        "inputs": [tensor("x", "FP32", [-1, 4]), tensor("t", "BYTES", [-1])],
        "outputs": [tensor("y", "FP32", [-1, 1]), tensor("z", "INT64", [-1, 3, -1])],
    }
    with stub_server(metadata=metadata) as server:
        runtime = open_remote(server)

    assert runtime.signature.as_json() == {
        "inputs": [tensor("x", "FP32", [-1, 4]), tensor("t", "BYTES", [-1])],
        "outputs": [
            tensor("y", "FP32", [-1]) | {"kind": "value"},
            tensor("z", "INT64", [-1, 3, -1]) | {"kind": "value"},
        ],
    }
    assert runtime.libraries == {"stub": "9"}


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
    with stub_server(metadata=metadata) as server, pytest.raises(LoadError, match=said):
        open_remote(server)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"inputs": NaN}'])
def test_metadata_that_is_no_json_is_refused(
    server: StubServer, body: bytes, open_remote: Any
) -> None:
    server.replies["metadata"] = Reply(body=body)

    with pytest.raises(LoadError, match="answered with no JSON"):
        open_remote(server)


def test_a_model_that_is_not_there_is_refused(server: StubServer, open_remote: Any) -> None:
    server.replies["metadata"] = Reply(404, b'{"error": "Model iris not found"}')

    with pytest.raises(LoadError, match=r"could not be asked.*status 404"):
        open_remote(server)


def test_a_server_that_is_down_is_refused(server: StubServer, open_remote: Any) -> None:
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

    with stub_server(metadata=BARE, score=labels_alone) as server:
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
    with stub_server(metadata=BARE, score=classified) as server:
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
        stub_server(metadata=BARE, score=classified) as server,
        pytest.raises(LoadError, match=said),
    ):
        open_remote(server, declared)


def test_an_output_that_the_model_has_not_is_refused(server: StubServer, open_remote: Any) -> None:
    with pytest.raises(LoadError, match="has no output 'mean': it has sum"):
        open_remote(server, {"outputs": [{"name": "mean"}]})


def test_classes_need_one_output_that_may_be_the_label(
    server: StubServer, open_remote: Any
) -> None:
    with pytest.raises(LoadError, match="0 outputs may be the label"):
        open_remote(server, {"classes": ["a", "b"]})
