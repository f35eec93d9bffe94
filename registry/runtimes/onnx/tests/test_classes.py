"""Which integer outputs are labels, and what their values stand for."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from registry.artifacts import proof
from registry.runtimes.base import LoadError, LoadOptions
from registry.runtimes.onnx.runtime import load
from registry.signatures.completion import complete
from registry.signatures.signature import Output, Signature
from registry.testing.onnx_graphs import INT64, constant, counting_graph, info, write_graph

ROWS = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)


@pytest.mark.parametrize("labels", [(1, 2), (5, 7, 9), (-1, 1), ("no", "yes")])
@pytest.mark.parametrize(
    "estimator",
    [
        KNeighborsClassifier(),
        GaussianNB(),
        LogisticRegression(),
        MLPClassifier((3,), max_iter=5, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_labels_and_probabilities_are_those_of_the_estimator(
    estimator: KNeighborsClassifier, labels: tuple[object, ...], tmp_path: Path
) -> None:
    fitted = estimator.fit(ROWS, np.array(labels)[np.arange(60) % len(labels)])
    path = tmp_path / "m.onnx"
    graph = to_onnx(fitted, ROWS[:1], options={"zipmap": False})
    path.write_bytes(graph.SerializeToString())

    runtime = load(path, LoadOptions())

    label, probabilities = runtime.signature.outputs
    assert label.classes == probabilities.classes == labels
    outputs = runtime.predict({"X": ROWS})
    answered = [label.classes[index] for index in outputs[label.name]]
    assert answered == fitted.predict(ROWS).tolist()
    expected = fitted.predict_proba(ROWS)
    np.testing.assert_allclose(outputs[probabilities.name], expected, atol=1e-5)


def test_a_count_beside_scores_is_a_value(tmp_path: Path) -> None:
    runtime = load(counting_graph(tmp_path / "m.onnx"), LoadOptions())

    assert [output.kind for output in runtime.signature.outputs] == ["value", "value"]
    outputs = runtime.predict({"x": np.array([[1, -1, 2, 3]], np.float32)})
    assert outputs["num_dets"].tolist() == [3]


def argmax_graph(path: Path) -> Path:
    """Scores of 3 classes and the index of the largest, as PyTorch exports a classifier."""
    nodes = [
        helper.make_node("Softmax", ["x"], ["scores"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["class"], axis=1, keepdims=0),
    ]
    outputs = [info("class", ["n"], INT64), info("scores", ["n", 3])]
    return write_graph(path, nodes, [info("x", ["n", 3])], outputs)


def declare(*classes: object, name: str = "") -> Signature:
    document = {"outputs": [{"name": name, "classes": list(classes)}]} if name else None
    return Signature.from_json(document or {"classes": list(classes)})


def test_the_index_of_the_largest_score_is_a_label_that_can_be_named(tmp_path: Path) -> None:
    declared = declare("cat", "dog", "bird")
    runtime = load(argmax_graph(tmp_path / "m.onnx"), LoadOptions(declared=declared))

    label, scores = complete(runtime.signature, declared).outputs

    assert label == Output("class", "BYTES", (-1,), "label", ("cat", "dog", "bird"))
    assert scores.kind == "probabilities"
    assert runtime.predict({"x": np.array([[0, 0, 9]], np.float32)})["class"].tolist() == [2]


def lookup_graph(path: Path) -> Path:
    """Of each row, its first number as an integer: 10, 20 or 30."""
    nodes = [helper.make_node("Cast", ["x"], ["code"], to=INT64)]
    return write_graph(path, nodes, [info("x", ["n"])], [info("code", ["n"], INT64)])


def test_declared_numbers_are_the_labels_themselves(tmp_path: Path) -> None:
    declared = declare(10, 20, 30, name="code")
    runtime = load(lookup_graph(tmp_path / "m.onnx"), LoadOptions(declared=declared))

    assert complete(runtime.signature, declared).outputs[0].classes == (10, 20, 30)
    assert runtime.predict({"x": np.array([30, 10], np.float32)})["code"].tolist() == [2, 0]


def test_names_cannot_be_guessed_for_numbers_that_the_graph_does_not_explain(
    tmp_path: Path,
) -> None:
    declared = declare("low", "middle", "high", name="code")

    with pytest.raises(LoadError, match="declare the numbers themselves"):
        load(lookup_graph(tmp_path / "m.onnx"), LoadOptions(declared=declared))


def test_renamed_labels_keep_the_order_of_the_scores(tmp_path: Path) -> None:
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["index", "scores"],
            coefficients=[1.0, 0.0, 0.0, 1.0],
            intercepts=[0.0, 0.0],
            classlabels_ints=[0, 1],
            post_transform="SOFTMAX",
            domain="ai.onnx.ml",
        ),
        helper.make_node(
            "LabelEncoder",
            ["index"],
            ["name"],
            keys_int64s=[1, 0],
            values_strings=["yes", "no"],
            domain="ai.onnx.ml",
        ),
    ]
    outputs = [info("name", ["n"], 8), info("scores", ["n", 2])]
    path = write_graph(tmp_path / "m.onnx", nodes, [info("x", ["n", 2])], outputs)

    runtime = load(path, LoadOptions())

    assert runtime.signature.outputs[0].classes == ("no", "yes")
    outputs_of_row = runtime.predict({"x": np.array([[0, 5]], np.float32)})
    assert outputs_of_row["name"].tolist() == [1]
    assert outputs_of_row["scores"][0].argmax() == 1


def test_a_label_has_no_classes_of_other_numbers_beside_it(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        helper.make_node("MatMul", ["x", "v"], ["box"]),
    ]
    weights = [
        constant("w", random.normal(size=(6, 20))),
        constant("v", random.normal(size=(6, 4))),
    ]
    outputs = [info("label", ["n"], INT64), info("box", ["n", 4])]
    path = write_graph(tmp_path / "m.onnx", nodes, [info("x", ["n", 6])], outputs, weights)

    label, box = load(path, LoadOptions()).signature.outputs

    assert (label.kind, label.classes, box.kind) == ("value", (), "value")


@pytest.mark.usefixtures("in_process_sandbox")
def test_scores_that_sum_to_1_only_for_some_rows_are_no_probabilities(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
    ]
    weights = [constant("w", np.eye(3) * 20 - 10)]
    outputs = [info("label", ["n"], INT64), info("scores", ["n", 3])]
    path = write_graph(tmp_path / "m.onnx", nodes, [info("x", ["n", 3])], outputs, weights)

    proved = proof.prove(
        path,
        framework="onnx",
        options=LoadOptions(),
        declared=None,
        example=[{"features": [9.0, -9.0, -9.0]}],
        timeout_seconds=60,
        memory_bytes=2**30,
    )

    assert [output["kind"] for output in proved.signature["outputs"]] == ["label", "value"]
