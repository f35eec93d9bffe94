"""The outputs of an ONNX graph: which are labels, probabilities or values, and their arrays. No
Django here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from registry.runtimes.base import LoadError, Outputs
from registry.runtimes.onnx.classes import GraphClasses
from registry.runtimes.onnx.layout import (
    DATATYPES_BY_TYPE,
    Measurement,
    RawOutput,
    TensorInfo,
    row_shape_of,
)
from registry.signatures.signature import ClassLabel, Kind, Output, Signature, label_datatype

_MAP_TYPES = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")
_LABEL_TYPES = ("tensor(int64)", "tensor(int32)", "tensor(string)")
_FLOAT_TYPES = ("tensor(float)", "tensor(double)", "tensor(float16)")

# A sum of single-precision probabilities may be off by this much.
PROBABILITY_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class GraphOutput:
    """One output of the graph; `type` is onnxruntime's name for it."""

    name: str
    type: str
    row_shape: tuple[int, ...]

    @property
    def is_map(self) -> bool:
        return self.type in _MAP_TYPES

    @property
    def is_scalar(self) -> bool:
        return self.row_shape in ((), (1,))

    @property
    def is_float(self) -> bool:
        return self.type in _FLOAT_TYPES


# -- description


def describe_outputs(
    graph_outputs: Sequence[GraphOutput],
    model: onnx.ModelProto,
    declared: Signature | None,
    *,
    is_unbatched: bool,
) -> tuple[Output, ...]:
    """The outputs of the signature: labels, each with the probabilities that follow it, and values.

    `declared` may name the classes of integer labels. Raises LoadError.
    """
    if is_unbatched:
        return tuple(_value(graph_output) for graph_output in graph_outputs)
    return _with_classes(graph_outputs, GraphClasses(model), _declared_classes(declared))


def measured_outputs(
    infos: Sequence[TensorInfo], measurement: Measurement, model: onnx.ModelProto
) -> list[GraphOutput]:
    """The graph's outputs, with the shapes that it declares or that were measured. Raises
    LoadError.
    """
    with_shape = {
        output.name for output in model.graph.output if output.type.tensor_type.HasField("shape")
    }
    return [
        _measured_output(
            info,
            [np.shape(np.asarray(run[position]))[1:] for run in measurement.runs],
            measurement,
            has_shape=info.name in with_shape,
        )
        for position, info in enumerate(infos)
    ]


def proven_outputs(infos: Sequence[TensorInfo], proven: Signature) -> list[GraphOutput]:
    """The graph's outputs, with the shapes in the signature that was proved; raises LoadError if
    these are not its outputs.
    """
    if [info.name for info in infos] != [output.name for output in proven.outputs]:
        raise LoadError("the outputs of the graph are not those of the signature")
    return [
        GraphOutput(info.name, info.type, output.shape[1:])
        for info, output in zip(infos, proven.outputs, strict=True)
    ]


def _measured_output(
    info: TensorInfo,
    measured: Sequence[tuple[int, ...]],
    measurement: Measurement,
    *,
    has_shape: bool,
) -> GraphOutput:
    is_unbatched = measurement.layout.is_unbatched
    if info.type in _MAP_TYPES and not is_unbatched:
        return GraphOutput(info.name, info.type, ())
    if info.type not in DATATYPES_BY_TYPE:
        raise LoadError(
            f"output '{info.name}' has the type {info.type}, which mlapi does not support"
        )
    if has_shape:
        row_shape = _consistent(row_shape_of(info)[not is_unbatched :], measured)
    elif measured:
        row_shape = (-1,) * len(measured[0])
    else:
        raise LoadError(
            f"the graph does not declare the shape of output '{info.name}', and it fails on "
            "synthetic rows: export it with the shapes of its outputs"
        )
    if row_shape == (-1,) and measurement.layout.takes_tables:
        row_shape = _measured_width(measured)
    return GraphOutput(info.name, info.type, row_shape)


def _consistent(declared: tuple[int, ...], measured: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The declared shape, in which the dimensions that a measurement contradicts are free.

    onnxruntime does not enforce the shapes of outputs, and an input may decide them.
    """
    for shape in measured:
        if len(shape) != len(declared):
            return (-1,) * len(shape)
        pairs = zip(declared, shape, strict=True)
        declared = tuple(size if size == actual else -1 for size, actual in pairs)
    return declared


def _measured_width(measured: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The width of a table of scores, which converters often leave free.

    Any other free dimension stays free: it may have another size for another row.
    """
    shapes = set(measured)
    shape = shapes.pop() if len(shapes) == 1 else ()
    return shape if len(shape) == 1 and shape != (0,) else (-1,)


def _declared_classes(declared: Signature | None) -> Mapping[str, tuple[ClassLabel, ...]]:
    """Classes by the name of an output; "" if they are those of the only label."""
    outputs = declared.outputs if declared is not None else ()
    return {output.name: output.classes for output in outputs if output.classes}


def _with_classes(
    graph_outputs: Sequence[GraphOutput],
    graph_classes: GraphClasses,
    declared: Mapping[str, tuple[ClassLabel, ...]],
) -> tuple[Output, ...]:
    outputs: list[Output] = []
    # Of the last label, until its probabilities are found.
    pending: tuple[ClassLabel, ...] = ()
    for i, graph_output in enumerate(graph_outputs):
        classes: tuple[ClassLabel, ...] = ()
        kind: Kind = "value"
        if graph_output.is_scalar and graph_output.type in _LABEL_TYPES:
            classes = _label_classes(graph_output, graph_outputs[i + 1 :], graph_classes, declared)
            kind = "label" if classes else "value"
            pending = classes
        elif graph_output.is_map or _is_probabilities(graph_output, pending):
            classes = pending or graph_classes.of_scores(graph_output.name)
            kind, pending = "probabilities", ()
        outputs.append(_signature_output(graph_output, kind, classes))
    return tuple(outputs)


def _is_probabilities(graph_output: GraphOutput, classes: tuple[ClassLabel, ...]) -> bool:
    return bool(classes) and graph_output.is_float and graph_output.row_shape == (len(classes),)


def _signature_output(
    graph_output: GraphOutput, kind: Kind, classes: tuple[ClassLabel, ...]
) -> Output:
    name = graph_output.name
    if kind == "label":
        return Output(name, label_datatype(classes), (-1,), kind, classes)
    if kind == "probabilities":
        datatype = "FP32" if graph_output.is_map else DATATYPES_BY_TYPE[graph_output.type]
        return Output(name, datatype, (-1, len(classes)), kind, classes)
    return _value(graph_output)


def _value(graph_output: GraphOutput) -> Output:
    datatype = DATATYPES_BY_TYPE[graph_output.type]
    return Output(graph_output.name, datatype, (-1, *graph_output.row_shape))


def _label_classes(
    label: GraphOutput,
    following: Sequence[GraphOutput],
    graph_classes: GraphClasses,
    declared: Mapping[str, tuple[ClassLabel, ...]],
) -> tuple[ClassLabel, ...]:
    """The classes of an output that may be a label, () if it is a plain value."""
    scores = next(
        (o for o in following if o.is_map or (o.is_float and len(o.row_shape) == 1)), None
    )
    classes = graph_classes.of_label(label.name)
    if scores is not None and scores.is_map:
        classes = graph_classes.of_scores(scores.name) or classes
    is_text = label.type == "tensor(string)"
    if classes and isinstance(classes[0], str) == is_text:
        return classes
    if is_text:
        return ()
    names = declared.get(label.name) or declared.get("", ())
    if graph_classes.is_index(label.name):
        has_scores = scores is not None and graph_classes.are_its_scores(scores.name, label.name)
        width = scores.row_shape[0] if scores is not None and has_scores else len(names)
        return tuple(range(width)) if width > 1 else ()
    if any(isinstance(name, str) for name in names):
        raise LoadError(
            f"the graph does not say which class each number in '{label.name}' stands for: declare "
            "the numbers themselves as its classes, or export the model with their names"
        )
    return names


# -- what the values reveal


def relabel_false_probabilities(signature: Signature, outputs: Outputs) -> Signature:
    """Turn outputs that only claim to be probabilities into values.

    ONNX converters also export decision scores under the name of probabilities.
    """

    def relabel(output: Output) -> Output:
        values = outputs[output.name]
        if output.kind != "probabilities" or not np.isfinite(values).all():
            return output
        if _are_probabilities(values):
            return output
        return replace(output, kind="value", classes=())

    return replace(signature, outputs=tuple(relabel(output) for output in signature.outputs))


def _are_probabilities(values: NDArray[np.floating]) -> bool:
    return bool(
        (values >= -PROBABILITY_TOLERANCE).all()
        and (values <= 1 + PROBABILITY_TOLERANCE).all()
        and (abs(values.sum(axis=-1) - 1) <= PROBABILITY_TOLERANCE).all()
    )


# -- arrays


def read_output(output: Output, raw: RawOutput) -> np.ndarray:
    """The value of one output as the signature describes it; raises ValueError or KeyError for a
    class that is not in the signature, or several labels a row.
    """
    if isinstance(raw, list) and output.classes:
        return np.array([[row[label] for label in output.classes] for row in raw], np.float32)
    array = np.asarray(raw)
    return _class_indices(array, output.classes) if output.kind == "label" else array


def _class_indices(labels: np.ndarray, classes: tuple[ClassLabel, ...]) -> np.ndarray:
    index_of = {label: index for index, label in enumerate(classes)}
    try:
        return np.array(
            [index_of[label] for label in labels.reshape(len(labels)).tolist()], dtype=np.int64
        )
    except KeyError as error:
        raise ValueError(f"the model returned a class that it does not have: {error}") from error
