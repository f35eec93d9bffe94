"""ONNX files that are refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from registry.runtimes.base import LoadError
from registry.runtimes.onnx.runtime import load
from registry.signatures.signature import Output
from registry.testing.onnx_graphs import OPTIONS, write_graph

N: list[str | int] = ["n"]


def test_external_data_is_refused(tmp_path: Path) -> None:
    rows = np.ones((4, 3), np.float32)
    model = to_onnx(LinearRegression().fit(rows, rows[:, 0]), rows[:1])
    node = model.graph.node[0].attribute.add(name="hidden", type=onnx.AttributeProto.TENSOR)
    node.t.name = "weights"
    node.t.data_location = TensorProto.EXTERNAL
    node.t.external_data.add(key="location", value="/etc/passwd")
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(LoadError, match="'weights' in another file"):
        load(path, OPTIONS)


def test_external_data_inside_a_branch_is_refused(tmp_path: Path) -> None:
    inner = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [1.0])
    inner.ClearField("float_data")
    inner.data_location = TensorProto.EXTERNAL
    inner.external_data.add(key="location", value="weights.bin")
    output = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])
    branch = helper.make_graph([], "branch", [], [output], initializer=[inner])
    x = helper.make_tensor_value_info("x", TensorProto.BOOL, ["n"])
    node = helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch)

    with pytest.raises(LoadError, match="'hidden' in another file"):
        load(write_graph(tmp_path / "m.onnx", [node], [x], [output]), OPTIONS)


def test_custom_operators_are_refused_by_name(tmp_path: Path) -> None:
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, N) for name in ("x", "y")]
    node = helper.make_node("Rotate", ["x"], ["y"], domain="com.acme")

    with pytest.raises(LoadError, match=r"custom operators: 'com\.acme\.Rotate'"):
        load(write_graph(tmp_path / "m.onnx", [node], infos[:1], infos[1:]), OPTIONS)


def test_text_whose_classes_the_graph_does_not_name_is_a_value(tmp_path: Path) -> None:
    infos = [helper.make_tensor_value_info(name, TensorProto.STRING, N) for name in ("x", "y")]
    node = helper.make_node("Identity", ["x"], ["y"])

    runtime = load(write_graph(tmp_path / "m.onnx", [node], infos[:1], infos[1:]), OPTIONS)

    assert runtime.signature.outputs == (Output("y", "BYTES", (-1,)),)
