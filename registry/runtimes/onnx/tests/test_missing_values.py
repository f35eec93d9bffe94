"""Which inputs accept a missing value."""

from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from registry.runtimes.onnx.missing_values import nullable_inputs
from registry.testing.onnx_graphs import constant, info


def imputer(name: str) -> Any:
    return helper.make_node(
        "Imputer",
        [name],
        ["imputed"],
        domain="ai.onnx.ml",
        imputed_value_floats=[5.0],
        replaced_value_float=float("nan"),
    )


def graph(*nodes: Any) -> onnx.ModelProto:
    outputs = [info("imputed", ["n", 2])]
    constants = [constant("zero", 0.0), constant("flag", True, "bool")]
    body = helper.make_graph(nodes, "g", [info("x", ["n", 2])], outputs, initializer=constants)
    return helper.make_model(body)


@pytest.mark.parametrize(
    ("kind", "expected"), [(TensorProto.DOUBLE, {"x"}), (TensorProto.INT64, set())]
)
def test_only_a_float_keeps_nan(kind: int, expected: set[str]) -> None:
    cast = helper.make_node("Cast", ["x"], ["c"], to=kind)

    assert nullable_inputs(graph(cast, imputer("c"))) == expected


def test_a_subgraph_that_reads_an_input_is_a_path_too() -> None:
    def branch(name: str) -> onnx.GraphProto:
        node = helper.make_node("Max", ["x", "zero"], [name])
        return helper.make_graph([node], name, [], [info(name, ["n", 2])])

    choice = helper.make_node(
        "If", ["flag"], ["chosen"], then_branch=branch("a"), else_branch=branch("b")
    )

    assert nullable_inputs(graph(imputer("x"), choice)) == set()
