"""Which inputs of an ONNX graph may hold NaN. No Django here."""

from collections import defaultdict
from collections.abc import Iterator

import onnx

from registry.runtimes.onnx.graph import subgraphs

# NaN comes out of these as NaN, at the same place.
_PASS_NAN_ON = frozenset(
    (
        "ArrayFeatureExtractor",
        "Concat",
        "FeatureVectorizer",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    )
)
_FLOATS = frozenset((onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16))


def nullable_inputs(model: onnx.ModelProto) -> frozenset[str]:
    """The inputs whose missing values reach an operator that handles them, on every path."""
    consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in _names_read(node):
            consumers[name].append(node)
    outputs = {output.name for output in model.graph.output}
    return frozenset(
        graph_input.name
        for graph_input in model.graph.input
        if _all_paths_handle_nan(graph_input.name, consumers, outputs)
    )


def _all_paths_handle_nan(
    name: str, consumers: dict[str, list[onnx.NodeProto]], outputs: set[str]
) -> bool:
    queue, seen, is_handled = [name], {name}, False
    while queue:
        value = queue.pop()
        if value in outputs:
            return False
        for node in consumers[value]:
            if _handles_nan(node):
                is_handled = True
            elif _passes_nan_on(node):
                unseen = [output for output in node.output if output not in seen]
                seen.update(unseen)
                queue.extend(unseen)
            else:
                return False
    return is_handled


def _names_read(node: onnx.NodeProto) -> Iterator[str]:
    """The inputs of an operator, and what its subgraphs read, also from outside."""
    yield from node.input
    for attribute in node.attribute:
        for graph in subgraphs(attribute):
            for inner in graph.node:
                yield from _names_read(inner)


def _passes_nan_on(node: onnx.NodeProto) -> bool:
    if node.op_type == "Cast":
        return any(a.name == "to" and a.i in _FLOATS for a in node.attribute)
    return node.op_type in _PASS_NAN_ON


def _handles_nan(node: onnx.NodeProto) -> bool:
    """Whether an operator does more with NaN than to compute NaN."""
    if node.op_type in ("Imputer", "IsNaN"):
        return True
    return node.op_type.startswith("TreeEnsemble") and any(
        attribute.name.endswith("missing_value_tracks_true") and any(attribute.ints)
        for attribute in node.attribute
    )
