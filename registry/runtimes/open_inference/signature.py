"""The signature of a remote model, from its metadata, a declaration and a probe. No Django here."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from registry.open_inference.content_types import PARAMETER, SENT_AS_THEY_ARE
from registry.runtimes.base import LoadError
from registry.signatures.signature import (
    DTYPES,
    ClassLabel,
    Input,
    Output,
    Signature,
    SignatureError,
    label_datatype,
)

MAX_TENSORS = 1000
MAX_DIMENSIONS = 10


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """A tensor as the server describes it, or as its response to one row shows it.

    The first dimension of `shape` is the rows, -1.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self.shape[1:]

    @property
    def is_scalar(self) -> bool:
        return math.prod(self.row_shape) == 1


# Scores one made-up row and describes the named outputs of the response; without names, all.
Probe: TypeAlias = Callable[[tuple[Input, ...], Sequence[str]], list[TensorMetadata]]


def read_signature(
    metadata: Mapping[str, object], declared: Signature | None, probe: Probe
) -> Signature:
    """The signature of a model with this metadata.

    Without inputs in the metadata, the declared ones are used; they need datatypes. Declared
    outputs select among those of the metadata and say which are labels and probabilities. What
    neither of them has is read from a probe. Raises LoadError.
    """
    declared_inputs = declared.inputs if declared else ()
    inputs = tuple(
        Input(tensor.name, tensor.datatype, tensor.shape)
        for tensor in _read_tensors(metadata, "inputs")
    )
    _require_plain_inputs(metadata)
    inputs = inputs or tuple(_complete_input(tensor) for tensor in declared_inputs)
    if not inputs:
        raise LoadError(
            "the server's metadata has no inputs of the model: declare them in the signature "
            '({"inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}]})'
        )
    for tensor in declared_inputs:
        if tensor.nullable and tensor.datatype == "BYTES":
            raise LoadError(f"input '{tensor.name}': the protocol cannot send a missing text")
    return Signature(inputs, _read_outputs(metadata, declared, inputs, probe))


def require_valid(signature: Signature) -> None:
    """Raise LoadError if a name that the server chose is not valid in a signature."""
    try:
        Signature.from_json(signature.as_json())
    except SignatureError as error:
        raise LoadError(f"the server's metadata is not a valid signature: {error}") from error


# -- metadata


def _read_tensors(metadata: Mapping[str, object], key: str) -> list[TensorMetadata]:
    items = metadata.get(key) or []
    if not isinstance(items, list) or len(items) > MAX_TENSORS:
        raise LoadError(f"{key} of the server's metadata must be a list of at most {MAX_TENSORS}")
    tensors = [_read_tensor(item, f"{key}[{i}]") for i, item in enumerate(items)]
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise LoadError(f"two {key} of the server's metadata have the same name")
    return tensors


def _require_plain_inputs(metadata: Mapping[str, object]) -> None:
    """Raise LoadError if MLServer would decode an input: it does not refuse other texts, but scores
    for "Oslo" what these four letters are in base64.
    """
    items = metadata.get("inputs")
    for item in items if isinstance(items, list) else []:
        parameters = item.get("parameters")
        content_type = parameters.get(PARAMETER) if isinstance(parameters, dict) else None
        if content_type not in (None, *SENT_AS_THEY_ARE):
            raise LoadError(
                f"the server decodes the input '{item['name']}' by the content_type"
                f" {str(content_type)[:40]!r}, but mlapi sends texts and numbers as they are:"
                f" change it to {' or '.join(SENT_AS_THEY_ARE)} in the server's model settings"
            )


def _read_tensor(item: object, place: str) -> TensorMetadata:
    name = item.get("name") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(name, str) or not name:
        raise LoadError(f"{place} of the server's metadata has no name")
    datatype, shape = item.get("datatype"), item.get("shape")
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise LoadError(f"'{name}' has the datatype {datatype}, which mlapi does not support")
    sizes = shape if isinstance(shape, list) else []
    is_shape = 0 < len(sizes) <= MAX_DIMENSIONS and all(
        type(size) is int and (size == -1 or size > 0) for size in sizes
    )
    if not is_shape or sizes[0] != -1:
        raise LoadError(
            f"'{name}' has the shape {shape}: mlapi needs a model whose first dimension is the "
            "rows, -1, so that it takes any number of them"
        )
    return TensorMetadata(name, datatype, tuple(sizes))


def _complete_input(declared: Input) -> Input:
    if declared.datatype is None:
        raise LoadError(
            f"the server's metadata has no inputs of the model: declare the datatype of "
            f"'{declared.name}' in the signature"
        )
    shape = declared.shape or ((-1, len(declared.features)) if declared.features else (-1,))
    return Input(declared.name, declared.datatype, shape, declared.features, declared.nullable)


# -- outputs


def _read_outputs(
    metadata: Mapping[str, object],
    declared: Signature | None,
    inputs: tuple[Input, ...],
    probe: Probe,
) -> tuple[Output, ...]:
    declarations = list(declared.outputs) if declared else []
    # `classes` without outputs is read as one output without a name.
    classes = next((output.classes for output in declarations if not output.name), ())
    declarations = [output for output in declarations if output.name]
    tensors = {tensor.name: tensor for tensor in _read_tensors(metadata, "outputs")}
    unknown = [output.name for output in declarations if output.name not in tensors]
    if tensors and unknown:
        raise LoadError(f"the model has no output '{unknown[0]}': it has {', '.join(tensors)}")
    if not tensors and not (declarations and all(map(_is_complete, declarations))):
        probed = probe(inputs, [output.name for output in declarations])
        tensors = {tensor.name: tensor for tensor in probed}
    if not declarations:
        declarations = [Output(name, "", ()) for name in tensors]
    if classes:
        declarations = _with_label(declarations, tensors, classes)
    outputs: list[Output] = []
    for declaration in declarations:
        outputs.append(_merge(declaration, tensors.get(declaration.name), outputs))
    if not outputs:
        raise LoadError("the model has no outputs")
    return tuple(outputs)


def _is_complete(declared: Output) -> bool:
    return declared.kind == "label" or bool(declared.datatype and declared.shape)


def _with_label(
    declarations: list[Output],
    tensors: Mapping[str, TensorMetadata],
    classes: tuple[ClassLabel, ...],
) -> list[Output]:
    """The declarations, of which the only possible label gets these classes."""
    labels = [
        output.name
        for output in declarations
        if (tensor := tensors.get(output.name))
        and tensor.is_scalar
        and DTYPES[tensor.datatype].kind != "f"
    ]
    if len(labels) != 1:
        raise LoadError(
            f"classes: {len(labels)} outputs could be the label, so declare the outputs by name "
            "in the signature"
        )
    return [
        Output(output.name, "", (), "label", classes) if output.name in labels else output
        for output in declarations
    ]


def _merge(declared: Output, tensor: TensorMetadata | None, previous: Sequence[Output]) -> Output:
    """One output as it is stored: declared properties, completed from the tensor's metadata.

    `previous` are the outputs before it, of which probabilities take their label.
    """
    if declared.kind == "label":
        if not declared.classes:
            raise LoadError(f"output '{declared.name}': declare the classes of the label")
        datatype = label_datatype(declared.classes)
        return Output(declared.name, datatype, (-1,), "label", declared.classes)
    datatype = tensor.datatype if tensor else declared.datatype
    row_shape = tensor.row_shape if tensor else declared.shape[1:]
    if declared.datatype not in ("", datatype):
        raise LoadError(f"output '{declared.name}' is {datatype}, not {declared.datatype}")
    if declared.kind == "probabilities":
        label = previous[-1].classes if previous and previous[-1].kind == "label" else ()
        classes = declared.classes or label
        if not classes or row_shape not in ((len(classes),), (-1,)):
            raise LoadError(
                f"output '{declared.name}' has the shape {[-1, *row_shape]}: probabilities need "
                "one column for each class, either declared or of the label before them"
            )
        if DTYPES[datatype].kind not in "fiu":
            raise LoadError(f"output '{declared.name}' is {datatype}: probabilities are numbers")
        return Output(declared.name, datatype, (-1, len(classes)), "probabilities", classes)
    is_scalar = math.prod(row_shape) == 1
    return Output(declared.name, datatype, (-1,) if is_scalar else (-1, *row_shape))
