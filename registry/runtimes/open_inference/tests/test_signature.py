"""The signature of a remote model."""

import json
from collections.abc import Mapping

import numpy as np
import pytest

from registry.runtimes.base import LoadError
from registry.testing.remote_models import ROWS, OpenRemote, tensor
from registry.testing.remote_models import open_remote as open_remote
from registry.testing.remote_models import server as server
from registry.testing.remote_server import Reply, StubServer, stub_server

# -- from the metadata


def test_metadata_becomes_the_signature(open_remote: OpenRemote) -> None:
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
    ("metadata", "message"),
    [
        ({"inputs": [tensor("x", "BF16", [-1])]}, "'x' has the datatype BF16"),
        ({"inputs": [tensor("x", "FP32", [8, 4])]}, "whose first dimension is the rows"),
        ({"inputs": [tensor("x", "FP32", [])]}, "whose first dimension is the rows"),
        ({"inputs": [tensor("x", "FP32", [-1, 0])]}, "whose first dimension is the rows"),
        ({"inputs": [tensor("x", "FP32", [-1] * 11)]}, "whose first dimension is the rows"),
        ({"inputs": [tensor("", "FP32", [-1])]}, r"inputs\[0\] of the server's metadata has no na"),
        ({"inputs": "x"}, "must be a list of at most 1000"),
        ({"inputs": [tensor("x", "FP32", [-1])] * 2}, "two inputs .* have the same name"),
        (
            {"inputs": [tensor(f"x{i}", "FP32", [-1]) for i in range(1001)]},
            "must be a list of at most 1000",
        ),
        ({}, "has no inputs of the model: declare them"),
    ],
)
def test_unsupported_metadata_is_refused(
    metadata: dict[str, object], message: str, open_remote: OpenRemote
) -> None:
    with stub_server(metadata=metadata) as server, pytest.raises(LoadError, match=message):
        open_remote(server)


@pytest.mark.parametrize("content_type", ["base64", "datetime", "pd_json", "pillow_image", 5])
def test_inputs_that_the_server_decodes_are_refused(
    content_type: object, open_remote: OpenRemote
) -> None:
    """MLServer would score for "Oslo" what these letters are in base64."""
    city = tensor("city", "BYTES", [-1]) | {"parameters": {"content_type": content_type}}

    with stub_server(metadata={"inputs": [city]}) as server, pytest.raises(LoadError) as raised:
        open_remote(server)

    assert f"decodes the input 'city' by the content_type '{content_type}'" in str(raised.value)


@pytest.mark.parametrize("content_type", ["np", "str", None])
def test_inputs_that_the_server_takes_as_they_are_are_accepted(
    content_type: str | None, open_remote: OpenRemote
) -> None:
    city = tensor("city", "BYTES", [-1]) | {"parameters": {"content_type": content_type}}
    metadata = {"inputs": [city], "outputs": [tensor("y", "FP32", [-1])]}

    with stub_server(metadata=metadata) as server:
        runtime = open_remote(server)

    assert runtime.signature.as_json()["inputs"] == [tensor("city", "BYTES", [-1])]


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"inputs": NaN}'])
def test_metadata_that_is_not_a_json_object_is_refused(
    server: StubServer, body: bytes, open_remote: OpenRemote
) -> None:
    server.replies["metadata"] = Reply(body=body)

    with pytest.raises(LoadError, match="did not respond with"):
        open_remote(server)


def test_an_unknown_model_is_refused(server: StubServer, open_remote: OpenRemote) -> None:
    server.replies["metadata"] = Reply(404, b'{"error": "Model iris not found"}')

    with pytest.raises(LoadError, match=r"cannot read the model.*status 404"):
        open_remote(server)


def test_a_server_that_is_down_is_refused(server: StubServer, open_remote: OpenRemote) -> None:
    server.stop()

    with pytest.raises(LoadError, match=r"cannot read the model.*no connection"):
        open_remote(server)


# -- without inputs and outputs in the metadata, which is common with MLServer


BARE = {"name": "iris", "versions": [], "platform": "", "inputs": [], "outputs": []}
DECLARED_INPUTS = [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}]


def classified(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    share = 1 / (1 + np.exp(-inputs["x"].sum(axis=1)))
    label = (share > 0.5).astype(np.int64)
    return {"predict": label[:, None], "predict_proba": np.stack([1 - share, share], axis=1)}


def test_declared_inputs_and_classes_suffice(open_remote: OpenRemote) -> None:
    declared = {"inputs": DECLARED_INPUTS, "classes": ["no", "yes"]}

    def only_labels(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return {"predict": classified(inputs)["predict"]}

    with stub_server(metadata=BARE, score=only_labels) as server:
        runtime = open_remote(server, declared)
        outputs = runtime.predict({"x": np.array([[1.0, 2.0], [-1.0, -2.0]])})

    assert [(o.name, o.kind, o.classes) for o in runtime.signature.outputs] == [
        ("predict", "label", ("no", "yes"))
    ]
    assert outputs["predict"].tolist() == [1, 0]


def test_declared_outputs_are_requested_by_name(open_remote: OpenRemote) -> None:
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
        requested = json.loads(server.requests[-1].body)["outputs"]

    assert requested == [{"name": "predict"}, {"name": "predict_proba"}]
    label, probabilities = runtime.signature.outputs
    assert (label.datatype, label.shape) == ("BYTES", (-1,))
    assert (probabilities.datatype, probabilities.shape) == ("FP64", (-1, 2))
    assert probabilities.classes == ("no", "yes")
    assert outputs["predict_proba"].shape == (3, 2)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"inputs": [{"name": "x"}]}, "declare the datatype of 'x'"),
        (
            {"inputs": [*DECLARED_INPUTS, {"name": "t", "datatype": "BYTES", "nullable": True}]},
            "the protocol cannot send a missing text",
        ),
        (
            {"inputs": DECLARED_INPUTS, "outputs": [{"name": "predict", "kind": "label"}]},
            "declare the classes of the label",
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
            "probabilities need one column for each class",
        ),
    ],
)
def test_an_insufficient_declaration_is_refused(
    declared: dict[str, object], message: str, open_remote: OpenRemote
) -> None:
    with (
        stub_server(metadata=BARE, score=classified) as server,
        pytest.raises(LoadError, match=message),
    ):
        open_remote(server, declared)


def test_an_unknown_declared_output_is_refused(server: StubServer, open_remote: OpenRemote) -> None:
    with pytest.raises(LoadError, match="has no output 'mean': it has sum"):
        open_remote(server, {"outputs": [{"name": "mean"}]})


def test_classes_need_a_single_possible_label(server: StubServer, open_remote: OpenRemote) -> None:
    with pytest.raises(LoadError, match="0 outputs could be the label"):
        open_remote(server, {"classes": ["a", "b"]})
