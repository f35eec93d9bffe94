"""The outputs of an ONNX graph: which are labels, probabilities or values, and their arrays. No
Django here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from registry.runtimes.base import LoadError, Outputs
from registry.runtimes.onnx.graph import classes_of
from registry.signatures.signature import (
    DTYPES,
    ClassLabel,
    Kind,
    Output,
    Signature,
    label_datatype,
)

DATATYPES_BY_TYPE: Mapping[str, str] = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(float16)": "FP16",
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
    **{f"tensor({name.lower()})": name for name in DTYPES if "INT" in name},
}
"""Datatypes by onnxruntime's names of tensor types."""

_MAP_TYPES = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")
_LABEL_TYPES = ("tensor(int64)", "tensor(int32)", "tensor(string)")
_FLOAT_TYPES = ("tensor(float)", "tensor(double)", "tensor(float16)")

# A sum of single-precision probabilities may be off by this much.
PROBABILITY_TOLERANCE = 1e-3

RawOutput: TypeAlias = np.ndarray | list[dict[ClassLabel, float]]
"""What a session returns for one output: an array, or for ZipMap a mapping of classes to
probabilities for each row.
"""


class TensorInfo(Protocol):
    """The part of onnxruntime.NodeArg that is used. A dimension is an integer if it is fixed."""

    name: str
    type: str
    shape: Sequence[object]


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


def declared_row_shape(info: TensorInfo) -> tuple[int, ...]:
    """The dimensions behind the first one, -1 for each that varies."""
    return tuple(size if isinstance(size, int) and size > 0 else -1 for size in info.shape[1:])


def describe_output(info: TensorInfo, raw: RawOutput | None, *, n_rows: int) -> GraphOutput:
    """An output as the graph declares it, with the row shape of `raw`, its value for `n_rows`
    rows, if there is one. Raises LoadError.
    """
    if info.type in _MAP_TYPES:
        return GraphOutput(info.name, info.type, ())
    if info.type not in DATATYPES_BY_TYPE:
        raise LoadError(
            f"output '{info.name}' has the type {info.type}, which mlapi does not support"
        )
    if raw is None:
        return GraphOutput(info.name, info.type, declared_row_shape(info))
    shape = np.shape(np.asarray(raw))
    if not shape or shape[0] != n_rows:
        raise LoadError(
            f"output '{info.name}' has the shape {list(shape)} for {n_rows} rows: the first "
            "dimension of every output must be the rows"
        )
    return GraphOutput(info.name, info.type, shape[1:])


def signature_outputs(
    graph_outputs: Sequence[GraphOutput], model: onnx.ModelProto
) -> tuple[Output, ...]:
    """Labels, each with the probabilities that follow it, and values. Raises LoadError."""
    outputs: list[Output] = []
    # Of the last label, until its probabilities are found.
    pending: tuple[ClassLabel, ...] = ()
    for i, graph_output in enumerate(graph_outputs):
        classes: tuple[ClassLabel, ...] = ()
        kind: Kind = "value"
        if graph_output.is_scalar and graph_output.type in _LABEL_TYPES:
            classes = _label_classes(graph_output, graph_outputs[i + 1 :], model)
            kind = "label" if classes else "value"
            pending = classes
        elif graph_output.is_map or _is_probabilities(graph_output, pending):
            classes = pending or classes_of(model, graph_output.name)
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
    datatype = "FP32" if graph_output.is_map else DATATYPES_BY_TYPE[graph_output.type]
    if kind == "probabilities":
        return Output(name, datatype, (-1, len(classes)), kind, classes)
    return Output(
        name, datatype, (-1,) if graph_output.is_scalar else (-1, *graph_output.row_shape)
    )


def _label_classes(
    label: GraphOutput, following: Sequence[GraphOutput], model: onnx.ModelProto
) -> tuple[ClassLabel, ...]:
    """The classes of an output that may be a label, () if it is a plain number."""
    scores = next(
        (o for o in following if o.is_map or (o.is_float and len(o.row_shape) == 1)), None
    )
    classes = classes_of(model, label.name)
    if scores is not None and (not classes or scores.is_map):
        classes = classes_of(model, scores.name) or classes
    is_text = label.type == "tensor(string)"
    if classes and isinstance(classes[0], str) == is_text:
        return classes
    if is_text:
        raise LoadError(
            f"the file does not contain the classes of '{label.name}': export it with the option "
            "zipmap=False, or with integer labels and name the classes in the signature"
        )
    if scores is not None and not scores.is_map and scores.row_shape[0] > 1:
        return tuple(range(scores.row_shape[0]))
    return ()


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


def read_output(graph_output: GraphOutput, output: Output, raw: RawOutput) -> np.ndarray:
    """The value of one output as the signature describes it; raises ValueError or KeyError for a
    class that is not in the signature.
    """
    if isinstance(raw, list) and graph_output.is_map:
        return np.array([[row[label] for label in output.classes] for row in raw], np.float32)
    array = np.asarray(raw)
    if graph_output.is_scalar:
        array = array.reshape(len(array))
    return _class_indices(array, output.classes) if output.kind == "label" else array


def _class_indices(labels: np.ndarray, classes: tuple[ClassLabel, ...]) -> np.ndarray:
    index_of = {label: index for index, label in enumerate(classes)}
    try:
        return np.array([index_of[label] for label in labels.tolist()], dtype=np.int64)
    except KeyError as error:
        raise ValueError(f"the model returned a class that it does not have: {error}") from error
