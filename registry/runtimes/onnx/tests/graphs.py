"""Small ONNX graphs, written to files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnx import helper

from registry.runtimes.base import LoadOptions

OPTIONS = LoadOptions()


def write_graph(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
) -> Path:
    """Write a graph with these nodes."""
    body = helper.make_graph(nodes, "g", inputs, outputs)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    path.write_bytes(
        helper.make_model(body, opset_imports=opsets, ir_version=9).SerializeToString()
    )
    return path


def doubling_graph(path: Path, kind: int, shape: Sequence[str | int]) -> Path:
    """A graph that computes y = x + x."""
    infos = [helper.make_tensor_value_info(name, kind, shape) for name in ("x", "y")]
    return write_graph(path, [helper.make_node("Add", ["x", "x"], ["y"])], infos[:1], infos[1:])
