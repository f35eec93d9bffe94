"""Small ONNX graphs, written to files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from registry.runtimes.base import LoadOptions

OPTIONS = LoadOptions()
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Shape: TypeAlias = Sequence[str | int]


def info(name: str, shape: Shape, kind: int = FLOAT) -> Any:
    """An input or output of a graph."""
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name: str, values: object, dtype: str = "float32") -> Any:
    return numpy_helper.from_array(np.array(values, dtype), name)


def write_graph(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: Sequence[Any] = (),
) -> Path:
    """Write a graph with these nodes."""
    body = helper.make_graph(nodes, "g", inputs, outputs, initializer=constants)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    path.write_bytes(
        helper.make_model(body, opset_imports=opsets, ir_version=9).SerializeToString()
    )
    return path


def doubling_graph(path: Path, kind: int, shape: Shape) -> Path:
    """A graph that computes y = x + x."""
    infos = [info(name, shape, kind) for name in ("x", "y")]
    return write_graph(path, [helper.make_node("Add", ["x", "x"], ["y"])], infos[:1], infos[1:])


# -- graphs whose rows depend on each other


def quantized_graph(path: Path) -> Path:
    """y = relu(x w) v of 8 numbers, quantized dynamically: the scale is taken over the batch."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    constants = [
        constant("w", random.normal(size=(8, 16))),
        constant("v", random.normal(size=(16, 1))),
    ]
    whole = write_graph(
        path.with_suffix(".whole"), nodes, [info("x", ["n", 8])], [info("y", ["n", 1])], constants
    )
    quantize_dynamic(whole, path, weight_type=QuantType.QUInt8)
    return path


def quantized_label_graph(path: Path) -> Path:
    """The class of a row by a quantized graph, which hides that the scores depend on other rows."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    weights = np.random.default_rng(1).normal(size=(4, 3))
    whole = write_graph(
        path.with_suffix(".whole"),
        nodes,
        [info("x", ["n", 4])],
        [info("label", ["n"], INT64)],
        [constant("w", weights)],
    )
    quantize_dynamic(whole, path, weight_type=QuantType.QUInt8)
    return path


def centred_graph(path: Path) -> Path:
    """y = x less the mean over the rows, which is 0 for every row alone."""
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"]),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    infos = [info(name, ["n", 3]) for name in ("x", "y")]
    return write_graph(path, nodes, infos[:1], infos[1:], [constant("axes", [0], "int64")])


def softmax_graph(path: Path, batch: str | int = "n", axis: int = 0) -> Path:
    infos = [info(name, [batch, 3]) for name in ("x", "y")]
    node = helper.make_node("Softmax", ["x"], ["y"], axis=axis)
    return write_graph(path, [node], infos[:1], infos[1:])


def recurrent_graph(path: Path) -> Path:
    """An LSTM whose first dimension is time: x (time, 1, 2) gives the last state (1, 1, 3)."""
    random = np.random.default_rng(0)
    constants = [
        constant("w", random.normal(size=(1, 12, 2))),
        constant("r", random.normal(size=(1, 12, 3))),
    ]
    node = helper.make_node("LSTM", ["x", "w", "r"], ["", "state"], hidden_size=3)
    return write_graph(
        path, [node], [info("x", ["time", 1, 2])], [info("state", [1, 1, 3])], constants
    )


def running_sum_graph(path: Path) -> Path:
    """The sums over time of x (time, 2): as many outputs as inputs, none of them a row."""
    infos = [info(name, ["time", 2]) for name in ("x", "y")]
    node = helper.make_node("CumSum", ["x", "axis"], ["y"])
    return write_graph(path, [node], infos[:1], infos[1:], [constant("axis", 0, "int64")])


# -- graphs whose outputs do not have the rows of their inputs


def detector_graph(path: Path) -> Path:
    """The positions (n, 2) and values (n,) of the positive numbers in one "image" (1, 3, 4)."""
    nodes = [
        helper.make_node("Greater", ["image", "zero"], ["is_positive"]),
        helper.make_node("NonZero", ["is_positive"], ["places"]),
        helper.make_node("Transpose", ["places"], ["positions"], perm=[1, 0]),
        helper.make_node("Gather", ["positions", "columns"], ["boxes"], axis=1),
        helper.make_node("GatherND", ["image", "positions"], ["scores"]),
    ]
    constants = [constant("zero", 0.0), constant("columns", [1, 2], "int64")]
    outputs = [info("boxes", ["found", 2], INT64), info("scores", ["found"])]
    return write_graph(path, nodes, [info("image", [1, 3, 4])], outputs, constants)


def filter_graph(path: Path) -> Path:
    """The rows whose first number is greater than -1000: at first glance, every row."""
    nodes = [
        helper.make_node("Gather", ["x", "first"], ["column"], axis=1),
        helper.make_node("Greater", ["column", "limit"], ["keeps"]),
        helper.make_node("Compress", ["x", "keeps"], ["y"], axis=0),
    ]
    constants = [constant("first", 0, "int64"), constant("limit", -1000.0)]
    return write_graph(path, nodes, [info("x", ["n", 2])], [info("y", ["m", 2])], constants)


def padded_graph(path: Path) -> Path:
    """A row's first number, once for each unit by which the largest number of all rows exceeds
    1000: y (n, k).
    """
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Sub", ["largest", "limit"], ["excess"]),
        helper.make_node("Relu", ["excess"], ["length"]),
        helper.make_node("Cast", ["length"], ["k"], to=INT64),
        helper.make_node("Unsqueeze", ["k", "first"], ["width"]),
        helper.make_node("Shape", ["x"], ["n"], start=0, end=1),
        helper.make_node("Concat", ["n", "width"], ["shape"], axis=0),
        helper.make_node("Gather", ["x", "first"], ["column"], axis=1),
        helper.make_node("Expand", ["column", "shape"], ["y"]),
    ]
    constants = [constant("limit", 1000.0), constant("first", [0], "int64")]
    return write_graph(path, nodes, [info("x", ["n", 2])], [info("y", ["n", "k"])], constants)


def sum_graph(path: Path) -> Path:
    """The sum over a whole tensor, a scalar."""
    node = helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0)
    return write_graph(path, [node], [info("x", ["n", 2])], [info("total", [])])


def sampling_graph(path: Path) -> Path:
    """x and a random number."""
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"]),
        helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    infos = [info(name, ["n", 2]) for name in ("x", "y")]
    return write_graph(path, nodes, infos[:1], infos[1:])


def counting_graph(path: Path) -> Path:
    """How many of a row's 4 numbers are positive, an integer beside the scores."""
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["is_positive"]),
        helper.make_node("Cast", ["is_positive"], ["ones"], to=INT64),
        helper.make_node("ReduceSum", ["ones", "axes"], ["num_dets"], keepdims=0),
        helper.make_node("Sigmoid", ["x"], ["scores"]),
    ]
    constants = [constant("zero", 0.0), constant("axes", [1], "int64")]
    outputs = [info("num_dets", ["n"], INT64), info("scores", ["n", 4])]
    return write_graph(path, nodes, [info("x", ["n", 4])], outputs, constants)


def session(path: Path) -> Any:
    """onnxruntime's own session for a file, to compare with."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def own_answer(path: Path, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """What onnxruntime answers, by the name of the output."""
    loaded = session(path)
    names = [output.name for output in loaded.get_outputs()]
    return dict(zip(names, loaded.run(None, inputs), strict=True))
