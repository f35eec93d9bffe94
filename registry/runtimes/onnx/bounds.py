"""Finds what in an ONNX graph could run without end, or leave its memory, on some input. No Django
here.

onnxruntime checks most of what its operators are given. What is listed here it does not, or it
cannot know.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx

from registry.runtimes.base import LoadError
from registry.runtimes.onnx.graph import all_nodes, subgraphs
from registry.runtimes.trees.branches import check_indexes, check_no_circle, require

_TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
# Each repeats until a condition holds that it computes itself.
_LOOPS = frozenset(("Loop", "BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"))
# These read as far into an input as attributes say, whose sizes onnxruntime does not compare.
_UNCHECKED = frozenset(("SVMClassifier", "SVMRegressor", "TreeEnsemble"))
# The inputs that are the size of an output, by their places.
_SIZES: Mapping[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (2, 3),
    "Tile": (1,),
    "Upsample": (1,),
}
# Their outputs do not depend on the values of their inputs.
_SHAPE_READERS = frozenset(("Shape", "Size"))
_SAME_WIDTH = frozenset(("Binarizer", "Cast", "Identity", "Imputer", "Normalizer", "Scaler"))


def unbounded_operators(model: onnx.ModelProto) -> str:
    """Why a call might never end or crash, although onnxruntime loads the graph; "" if it cannot.

    Raises LoadError for trees whose nodes are in a circle, or read features that no row has.
    """
    reasons = set()
    for node in all_nodes(model):
        if node.op_type in _LOOPS:
            reasons.add(f"{node.op_type} may repeat without end")
        elif node.op_type in _UNCHECKED:
            reasons.add(f"{node.op_type} trusts the sizes in its attributes")
    reasons |= _values_as_sizes(model)
    widths = _widths(model.graph)
    for node in all_nodes(model):
        if node.op_type in _TREES:
            reason = _check_trees(node, widths.get(node.input[0]) if node.input else None)
            reasons |= {reason} if reason else set()
    return "; ".join(sorted(reasons))


# -- sizes that callers choose


def _values_as_sizes(model: onnx.ModelProto) -> set[str]:
    """The operators whose output is as large as a value in the input says."""
    found: set[str] = set()
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = {graph_input.name for graph_input in model.graph.input} - initializers
    _follow(model.graph.node, inputs, found)
    for function in model.functions:
        _follow(function.node, set(function.input), found)
    return found


def _follow(nodes: Iterable[onnx.NodeProto], values: set[str], found: set[str]) -> None:
    """Add to `values` the tensors that depend on them; nodes come after what they use."""
    for node in nodes:
        sizes = [node.input[i] for i in _SIZES.get(node.op_type, ()) if i < len(node.input)]
        if not values.isdisjoint(sizes):
            found.add(f"{node.op_type} takes a size from the values of the input")
        depends = not values.isdisjoint(node.input)
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                # What a scan passes to its body depends on the input as soon as the scan does.
                values |= {graph_input.name for graph_input in graph.input}
                _follow(graph.node, values, found)
                depends = True
        if depends and node.op_type not in _SHAPE_READERS:
            values.update(node.output)


# -- trees


def _widths(graph: onnx.GraphProto) -> dict[str, int]:
    """How many values a row of each tensor has, where that is certain."""
    widths: dict[str, int] = {}
    for info in graph.input:
        dimensions = info.type.tensor_type.shape.dim
        if len(dimensions) == 2 and dimensions[1].dim_value > 0:
            widths[info.name] = dimensions[1].dim_value
    for node in graph.node:
        known = [widths.get(name) for name in node.input]
        if node.op_type in _SAME_WIDTH and known and known[0] is not None:
            widths[node.output[0]] = known[0]
        elif node.op_type == "Concat" and _attributes(node).get("axis") in (1, -1):
            if all(width is not None for width in known):
                widths[node.output[0]] = sum(width or 0 for width in known)
        elif node.op_type == "FeatureVectorizer":
            widths[node.output[0]] = sum(_attributes(node).get("inputdimensions", ()))
    return widths


def _check_trees(node: onnx.NodeProto, width: int | None) -> str:
    """Check the trees of a node; return why that is not possible, or ""."""
    try:
        values = _attributes(node)
        modes = np.array([mode != b"LEAF" for mode in values["nodes_modes"]], dtype=bool)
        numbers = {
            name: np.array(values[f"nodes_{name}"], dtype=np.int64)
            for name in ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")
        }
        size = len(modes)
        require(
            size > 0 and all(len(array) == size for array in numbers.values()),
            "trees of the wrong size",
        )
        _check_nodes(numbers, modes)
        _check_targets(node, values)
        features = numbers["featureids"][modes]
        check_indexes(features, 2**31, "a tree with an invalid feature")
        if width is None:
            return f"the width of the rows of {node.op_type} is not known"
        check_indexes(features, width, "a tree for another number of features")
    except (KeyError, TypeError, ValueError) as error:
        raise LoadError(f"the trees of {node.op_type} cannot be checked: {error}") from error
    return ""


def _check_nodes(numbers: Mapping[str, np.ndarray], is_inner: np.ndarray) -> None:
    """Check each tree, whose nodes are found by their numbers and whose root comes first."""
    trees, nodes = numbers["treeids"], numbers["nodeids"]
    starts = np.flatnonzero(np.diff(trees, prepend=trees[0] - 1))
    require(len(np.unique(trees)) == len(starts), "a tree in several pieces")
    for start, end in zip(starts, [*starts[1:], len(trees)], strict=True):
        ids, inner = nodes[start:end], is_inner[start:end]
        order = np.argsort(ids)
        ordered = ids[order]
        require((np.diff(ordered) > 0).all(), "a tree with a repeated node")
        children = np.concatenate(
            [numbers[name][start:end][inner] for name in ("truenodeids", "falsenodeids")]
        )
        places = np.minimum(np.searchsorted(ordered, children), len(ids) - 1)
        require((ordered[places] == children).all(), "a tree with an invalid branch")
        true_children, false_children = np.split(order[places], 2)
        check_no_circle(inner, true_children, false_children)


def _check_targets(node: onnx.NodeProto, values: Mapping[str, Any]) -> None:
    if node.op_type == "TreeEnsembleRegressor":
        n_targets, ids = values.get("n_targets", 1), values["target_ids"]
    else:
        labels = values.get("classlabels_int64s") or values.get("classlabels_strings") or ()
        n_targets, ids = len(labels), values["class_ids"]
    check_indexes(np.array(ids, dtype=np.int64), n_targets, "a tree with an invalid target")


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {
        attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute
    }
