"""The classes that an ONNX graph names for its outputs. No Django here.

An integer output is a label only if the graph names its classes or takes it from an ArgMax; any
other integer, such as a count, is a value.
"""

from collections import deque
from collections.abc import Mapping

import onnx
from onnx import numpy_helper

from registry.signatures.signature import ClassLabel

# They change an array's shape or type, and not what its values mean.
PASS_THROUGH = frozenset(("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"))
_MONOTONIC = frozenset(("LogSoftmax", "Sigmoid", "Softmax"))
_CLASSIFIERS = frozenset(("LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"))
_CLASS_ATTRIBUTES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
_CLASS_DTYPES = (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.STRING)


class GraphClasses:
    """The classes of a graph's outputs."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._producers = {name: node for node in model.graph.node for name in node.output}
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                self._constants[node.output[0]] = node.attribute[0].t

    def of_label(self, output: str) -> tuple[ClassLabel, ...]:
        """The labels that an output can have, () if the graph does not name them.

        If the graph also has scores, their columns are in this order.
        """
        name, node = self._source(output)
        if node is None:
            return ()
        if node.op_type in _CLASSIFIERS and node.output[0] == name:
            return _attribute_classes(node)
        if node.op_type == "LabelEncoder":
            return self._encoded_classes(node)
        if node.op_type in ("ArrayFeatureExtractor", "Gather") and self.is_index(node.input[1]):
            return self._constant_classes(node.input[0])
        return ()

    def of_scores(self, output: str) -> tuple[ClassLabel, ...]:
        """The classes in the operator nearest to an output that names any, () if none does."""
        queue, seen = deque([output]), {output}
        while queue:
            node = self._producers.get(queue.popleft())
            if node is None:
                continue
            if classes := _attribute_classes(node):
                return classes
            unseen = [name for name in node.input if name not in seen]
            seen.update(unseen)
            queue.extend(unseen)
        return ()

    def is_index(self, output: str) -> bool:
        """Whether the value is the index of the largest of several scores."""
        _, node = self._source(output)
        return node is not None and node.op_type == "ArgMax"

    def are_its_scores(self, scores: str, index: str) -> bool:
        """Whether the index is that of the largest of these scores, which may be normalized."""
        _, node = self._source(index)
        return node is not None and self._logits(scores) == self._logits(node.input[0])

    def _logits(self, name: str) -> str:
        """The value that an output of scores is a monotonic function of."""
        name, node = self._source(name)
        while node is not None and node.op_type in _MONOTONIC:
            name, node = self._source(node.input[0])
        return name

    def _source(self, name: str) -> tuple[str, onnx.NodeProto | None]:
        """The value, and its operator, that an output is a copy of."""
        node = self._producers.get(name)
        while node is not None and node.op_type in PASS_THROUGH:
            name = node.input[0]
            node = self._producers.get(name)
        return name, node

    def _encoded_classes(self, node: onnx.NodeProto) -> tuple[ClassLabel, ...]:
        attributes = _attributes(node)
        keys = [*_values_of(attributes, "keys_"), *_values_of(attributes, "classes_")]
        values = _values_of(attributes, "values_")
        encoded = self.of_label(node.input[0]) or tuple(range(len(keys)))
        mapping = dict(zip(keys, values, strict=False))
        if not set(encoded) <= mapping.keys():
            return ()
        return tuple(mapping[label] for label in encoded)

    def _constant_classes(self, name: str) -> tuple[ClassLabel, ...]:
        tensor = self._constants.get(name)
        if tensor is None or tensor.data_type not in _CLASS_DTYPES:
            return ()
        values = numpy_helper.to_array(tensor).reshape(-1).tolist()
        return tuple(v.decode() if isinstance(v, bytes) else v for v in values)


def _attributes(node: onnx.NodeProto) -> Mapping[str, onnx.AttributeProto]:
    return {attribute.name: attribute for attribute in node.attribute}


def _attribute_classes(node: onnx.NodeProto) -> tuple[ClassLabel, ...]:
    attributes = _attributes(node)
    return next((_values(attributes[name]) for name in _CLASS_ATTRIBUTES if name in attributes), ())


def _values_of(
    attributes: Mapping[str, onnx.AttributeProto], prefix: str
) -> tuple[ClassLabel, ...]:
    """The values of the attribute with this prefix, which ends in the type of the values."""
    found = (value for name, value in attributes.items() if name.startswith(prefix))
    return next((_values(attribute) for attribute in found), ())


def _values(attribute: onnx.AttributeProto) -> tuple[ClassLabel, ...]:
    return tuple(text.decode() for text in attribute.strings) or tuple(attribute.ints)
