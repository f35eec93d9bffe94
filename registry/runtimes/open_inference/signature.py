"""The signature of a remote model, from its metadata, a declaration and a trial. No Django here."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from registry.runtimes.base import LoadError
from registry.signatures.signature import (
    DTYPES,
    Input,
    Output,
    Signature,
    SignatureError,
    label_datatype,
)

MAX_TENSORS = 1000
MAX_DIMENSIONS = 10


@dataclass(frozen=True, slots=True)
class Told:
    """A tensor as the server tells of it: in its metadata, or in an answer to one row."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self.shape[1:]

    @property
    def is_scalar(self) -> bool:
        return math.prod(self.row_shape) == 1


# Asks the model about a made-up row, for some of its outputs or (none named) for all.
Trial: TypeAlias = Callable[[tuple[Input, ...], Sequence[str]], list[Told]]


def read_signature(
    metadata: Mapping[str, Any], declared: Signature | None, trial: Trial
) -> Signature:
    """The signature that the model's metadata tells.

    Where it tells no inputs, the declared ones are taken, with their datatypes. Declared outputs
    choose among the told ones and say which are labels and probabilities; what neither tells of
    them is read off a trial. Raises LoadError.
    """
    wished = declared.inputs if declared else ()
    inputs = tuple(_input(told) for told in _tensors(metadata, "inputs"))
    inputs = inputs or tuple(_declared_input(tensor) for tensor in wished)
    if not inputs:
        raise LoadError(
            "the server's metadata tells no inputs of the model: declare them in the signature "
            '({"inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}]})'
        )
    for tensor in wished:
        if tensor.nullable and tensor.datatype == "BYTES":
            raise LoadError(f"input '{tensor.name}': the protocol has no missing text")
    return Signature(inputs, _outputs(metadata, declared, inputs, trial))


def _tensors(metadata: Mapping[str, Any], key: str) -> list[Told]:
    told = metadata.get(key) or []
    if not isinstance(told, list) or len(told) > MAX_TENSORS:
        raise LoadError(f"the server's metadata has no list of at most {MAX_TENSORS} {key}")
    tensors = [_tensor(item, f"{key}[{i}]") for i, item in enumerate(told)]
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise LoadError(f"the server's metadata names one of the {key} twice")
    return tensors


def _tensor(item: object, place: str) -> Told:
    name = item.get("name") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(name, str) or not name:
        raise LoadError(f"{place} of the server's metadata has no name")
    datatype, shape = item.get("datatype"), item.get("shape")
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise LoadError(f"'{name}' is of the datatype {datatype}, which mlapi does not send")
    sizes = shape if isinstance(shape, list) else []
    is_shape = 0 < len(sizes) <= MAX_DIMENSIONS and all(
        type(size) is int and (size == -1 or size > 0) for size in sizes
    )
    if not is_shape or sizes[0] != -1:
        raise LoadError(
            f"'{name}' has the shape {shape}: mlapi serves models whose first dimension is the "
            "rows, -1, so that they take any number of them"
        )
    return Told(name, datatype, tuple(sizes))


def _input(told: Told) -> Input:
    return Input(told.name, told.datatype, told.shape)


def _declared_input(tensor: Input) -> Input:
    if tensor.datatype is None:
        raise LoadError(
            f"the server's metadata tells no inputs of the model: declare the datatype of "
            f"'{tensor.name}' in the signature"
        )
    shape = tensor.shape or ((-1, len(tensor.features)) if tensor.features else (-1,))
    return Input(tensor.name, tensor.datatype, shape, tensor.features, tensor.nullable)


# -- outputs


def _outputs(
    metadata: Mapping[str, Any],
    declared: Signature | None,
    inputs: tuple[Input, ...],
    trial: Trial,
) -> tuple[Output, ...]:
    wishes = [wish for wish in (declared.outputs if declared else ()) if wish.name]
    # `{"classes": [...]}` beside the inputs names those of the one label.
    classes = next((w.classes for w in (declared.outputs if declared else ()) if not w.name), ())
    told = {tensor.name: tensor for tensor in _tensors(metadata, "outputs")}
    unknown = [wish.name for wish in wishes if wish.name not in told]
    if told and unknown:
        raise LoadError(f"the model has no output '{unknown[0]}': it has {', '.join(told)}")
    if not told and not (wishes and all(_is_complete(wish) for wish in wishes)):
        measured = trial(inputs, [wish.name for wish in wishes])
        told = {tensor.name: tensor for tensor in measured}
    if not wishes:
        wishes = [Output(name, "", ()) for name in told]
    if classes:
        wishes = _with_label(wishes, told, classes)
    outputs: list[Output] = []
    for wish in wishes:
        outputs.append(_output(wish, told.get(wish.name), outputs))
    if not outputs:
        raise LoadError("the model answers nothing")
    return tuple(outputs)


def _is_complete(wish: Output) -> bool:
    return wish.kind == "label" or bool(wish.datatype and wish.shape)


def _with_label(
    wishes: list[Output], told: Mapping[str, Told], classes: tuple[Any, ...]
) -> list[Output]:
    labels = [
        wish.name
        for wish in wishes
        if (tensor := told.get(wish.name))
        and tensor.is_scalar
        and DTYPES[tensor.datatype].kind != "f"
    ]
    if len(labels) != 1:
        raise LoadError(
            f"classes: {len(labels)} outputs may be the label; name the outputs in the signature"
        )
    return [
        Output(wish.name, "", (), "label", classes) if wish.name in labels else wish
        for wish in wishes
    ]


def _output(wish: Output, told: Told | None, before: Sequence[Output]) -> Output:
    """One output as it is stored: what was declared of it, and else what was told."""
    if wish.kind == "label":
        if not wish.classes:
            raise LoadError(f"output '{wish.name}': a label needs its classes declared")
        return Output(wish.name, label_datatype(wish.classes), (-1,), "label", wish.classes)
    datatype = told.datatype if told else wish.datatype
    row_shape = told.row_shape if told else wish.shape[1:]
    if wish.datatype not in ("", datatype):
        raise LoadError(f"output '{wish.name}' is {datatype}, not {wish.datatype}")
    if wish.kind == "probabilities":
        label = before[-1].classes if before and before[-1].kind == "label" else ()
        classes = wish.classes or label
        if not classes or row_shape not in ((len(classes),), (-1,)):
            raise LoadError(
                f"output '{wish.name}' has the shape {[-1, *row_shape]}: probabilities have one "
                "column for each class, of the label before them or declared"
            )
        return Output(wish.name, datatype, (-1, len(classes)), "probabilities", classes)
    is_scalar = math.prod(row_shape) == 1
    return Output(wish.name, datatype, (-1,) if is_scalar else (-1, *row_shape))


def require_usable(signature: Signature) -> None:
    """Raise LoadError where names the server chose can not be a signature's."""
    try:
        Signature.from_json(signature.as_json())
    except SignatureError as error:
        raise LoadError(f"the server's metadata can not be used: {error}") from error
