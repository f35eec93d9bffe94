"""Reads an ONNX file and checks that it is self-contained. No Django here."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from registry.runtimes.base import LoadError
from registry.signatures.signature import listed

_RANDOM = frozenset(
    (
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    )
)
DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft"))


def read_model(path: Path) -> tuple[onnx.ModelProto, bytes]:
    """The parsed file and its bytes.

    Raises LoadError for a file that is not an ONNX model, for data in other files and for custom
    operators.
    """
    content = path.read_bytes()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise LoadError("the file is not an ONNX model, or it is damaged or truncated") from error
    if not model.graph.node or not model.graph.output:
        raise LoadError("the file contains no ONNX graph, or it is truncated")
    nodes = list(all_nodes(model))
    _refuse_external_data(model)
    defined = {(function.domain, function.name) for function in model.functions}
    foreign = {
        f"{node.domain}.{node.op_type}"
        for node in nodes
        if node.domain not in DOMAINS and (node.domain, node.op_type) not in defined
    }
    if foreign:
        raise LoadError(
            f"the model needs custom operators: {listed(sorted(foreign))}. mlapi does not load "
            "libraries for them: export it with standard operators"
        )
    return model, content


def is_quantized_dynamically(model: onnx.ModelProto) -> bool:
    """Whether an operator takes a scale from all values of a tensor, those of other rows too."""
    return any(node.op_type.startswith("DynamicQuantize") for node in all_nodes(model))


def refuse_chance(model: onnx.ModelProto) -> None:
    """Raise LoadError for a graph that draws random numbers."""
    if drawing := sorted({node.op_type for node in all_nodes(model)} & _RANDOM):
        raise LoadError(
            f"the graph answers by chance ({', '.join(drawing)}), so no answer could be checked "
            "later: export it for inference, without dropout or sampling"
        )


# -- traversal


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    queue = [*model.graph.node, *(node for part in model.functions for node in part.node)]
    while queue:
        node = queue.pop()
        yield node
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                queue.extend(graph.node)


def subgraphs(attribute: onnx.AttributeProto) -> Iterator[onnx.GraphProto]:
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def _refuse_external_data(model: onnx.ModelProto) -> None:
    external = sorted({tensor.name for tensor in external_tensors(model)})
    if external:
        raise LoadError(
            f"the model keeps {listed(external)} in another file. Write it as a single file: "
            "onnx.save_model(onnx.load('model.onnx'), 'single.onnx'). On the server, "
            "manage.py register_model takes the .onnx file with the other file beside it"
        )


def external_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """The tensors whose values are in another file, wherever in the model they are."""
    return [tensor for tensor in _all_tensors(model, all_nodes(model)) if _is_external(tensor)]


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL or bool(tensor.external_data)


def _all_tensors(
    model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]
) -> Iterator[onnx.TensorProto]:
    graphs = [model.graph]
    defaults = [a for function in model.functions for a in function.attribute_proto]
    for attribute in (*(a for node in nodes for a in node.attribute), *defaults):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        graphs.extend(subgraphs(attribute))
        sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for tensor in (*sparse, *attribute.sparse_tensors):
            yield from (tensor.values, tensor.indices)
    for info in model.training_info:
        graphs.extend((info.initialization, info.algorithm))
    for graph in graphs:
        yield from graph.initializer
        for sparse_tensor in graph.sparse_initializer:
            yield from (sparse_tensor.values, sparse_tensor.indices)
