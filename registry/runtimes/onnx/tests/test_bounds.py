"""Graphs that could run without end, or leave their memory."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from registry.runtimes.base import LoadError
from registry.runtimes.onnx.bounds import unbounded_operators

ROWS = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
CLASSES = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(int)


def graph(*nodes: Any) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("x", 1, ["n", 4])]
    outputs = [helper.make_tensor_value_info("y", 1, None)]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs))


def forest() -> onnx.ModelProto:
    model = RandomForestClassifier(3, max_depth=3, random_state=0).fit(ROWS, CLASSES)
    converted: onnx.ModelProto = to_onnx(model, ROWS[:1])
    return converted


@pytest.fixture
def trees() -> onnx.ModelProto:
    return forest()


def attribute(model: onnx.ModelProto, name: str) -> Any:
    return next(a for node in model.graph.node for a in node.attribute if a.name == name)


@pytest.mark.parametrize(
    "model",
    [
        forest(),
        to_onnx(
            make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=3)).fit(
                ROWS, ROWS[:, 0]
            ),
            ROWS[:1],
        ),
    ],
    ids=["forest", "scaled"],
)
def test_converted_trees_pass(model: onnx.ModelProto) -> None:
    assert unbounded_operators(model) == ""


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("nodes_truenodeids", 0, 0),
        ("nodes_falsenodeids", 0, 0),
        ("nodes_truenodeids", 0, 99),
        ("nodes_featureids", 0, 4),
        ("nodes_featureids", 0, -1),
        ("class_ids", 0, 2),
        ("nodes_nodeids", 0, 1),
    ],
)
def test_a_damaged_tree_is_refused(
    name: str, place: int, value: int, trees: onnx.ModelProto
) -> None:
    attribute(trees, name).ints[place] = value

    with pytest.raises(LoadError):
        unbounded_operators(trees)


def test_trees_behind_an_unknown_width_are_not_proved(trees: onnx.ModelProto) -> None:
    trees.graph.input[0].type.tensor_type.shape.dim[1].Clear()

    assert "the width of the rows of TreeEnsembleClassifier" in unbounded_operators(trees)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Range", ["x", "x", "x"], ["y"]),
        helper.make_node("Expand", ["one", "x"], ["y"]),
        helper.make_node("SVMRegressor", ["x"], ["y"], domain="ai.onnx.ml"),
    ],
)
def test_operators_that_trust_their_input_are_named(node: Any) -> None:
    assert node.op_type in unbounded_operators(graph(node))


def test_a_size_from_a_shape_is_bounded() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("Add", ["x", "zeros"], ["y"]),
    ]

    assert unbounded_operators(graph(*nodes)) == ""
