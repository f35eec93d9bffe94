"""Tensors of a request to rows of `input_data`, and records to tensors of an answer. No ORM."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from predictions.serving.answers import Answer, output_values, targets_of
from registry.exact_json.values import JSONObject
from registry.open_inference.binary import TensorError
from registry.open_inference.messages import Wanted
from registry.open_inference.tensors import Tensor
from registry.signatures.signature import Input, Output, Signature, listed

# -- requests


def rows_of(tensors: Sequence[Tensor], signature: Signature, *, limit: int) -> list[JSONObject]:
    """Rows of `input_data`, at most `limit`, whose values are the signature's to judge.

    A tensor is one of the signature's inputs, or one of its columns, by name; a lone table of any
    other name holds all columns in the signature's order, as clients of MLServer send it. Raises
    TensorError.
    """
    size = tensors[0].shape[0]
    if not size <= limit:
        raise TensorError(f"'{tensors[0].name}' has {size} rows, where {limit} may be")
    for tensor in tensors:
        if tensor.shape[0] != size:
            raise TensorError(
                f"'{tensor.name}' has {tensor.shape[0]} rows, and '{tensors[0].name}' {size}: "
                "the first dimension of every tensor is the rows"
            )
    if len(tensors) == 1 and (table := _table(tensors[0], signature)) is not None:
        return table
    return _joined_by_name(tensors, signature, size)


def _table(tensor: Tensor, signature: Signature) -> list[JSONObject] | None:
    """Rows by position, where this tensor is all that the model takes."""
    first, *others = signature.inputs
    if not others and not _is_flat(first) and len(tensor.shape) == len(first.shape):
        return [{first.name: row} for row in tensor.rows()]
    if others and (len(tensor.shape) != 2 or _is_known(tensor.name, signature)):
        return None
    if tensor.is_column and len(first.features) > 1 and tensor.name in first.features:
        return None
    if len(tensor.shape) > 2 or not all(map(_is_flat, signature.inputs)):
        return None
    if len(tensor.shape) == 1:
        return [{"features": [value]} for value in tensor.values]
    return [{"features": row} for row in tensor.rows()]


def _is_known(name: str, signature: Signature) -> bool:
    return name in signature.feature_names or any(one.name == name for one in signature.inputs)


def _is_flat(tensor: Input) -> bool:
    """Whether a `features` list can hold this input's values."""
    return len(tensor.row_shape) <= 1 and -1 not in tensor.row_shape


def _joined_by_name(tensors: Sequence[Tensor], signature: Signature, size: int) -> list[JSONObject]:
    inputs = {tensor.name: tensor for tensor in signature.inputs}
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        given = _columns(tensor, inputs.get(tensor.name), signature)
        if twice := sorted(columns.keys() & given.keys()):
            raise TensorError(f"{listed(twice)} is given twice")
        columns |= given
    if missing := [name for name in signature.feature_names if name not in columns]:
        raise TensorError(f"missing {listed(missing)}; {_takes(signature)}")
    ordered = [columns[name] for name in signature.feature_names]
    names = signature.feature_names
    return [dict(zip(names, row, strict=True)) for row in zip(*ordered, strict=True)]


def _columns(tensor: Tensor, known: Input | None, signature: Signature) -> dict[str, list[Any]]:
    """The values of each column that this tensor gives, row by row."""
    if known is not None and known.features and tensor.shape[1:] == known.row_shape:
        by_column = zip(*tensor.rows(), strict=True)
        return dict(zip(known.features, map(list, by_column), strict=True))
    if known is not None and not (known.features or known.is_scalar):
        if len(tensor.shape) == len(known.shape):
            return {known.name: tensor.rows()}
    elif tensor.name in signature.feature_names and tensor.is_column:
        return {tensor.name: tensor.values}
    if known is None and tensor.name not in signature.feature_names:
        raise TensorError(f"'{tensor.name}' is no input of this model; {_takes(signature)}")
    wanted = list(known.shape) if known else [-1]
    raise TensorError(f"'{tensor.name}' has the shape {list(tensor.shape)}, not {wanted}")


def _takes(signature: Signature) -> str:
    names = [tensor.name for tensor in signature.inputs]
    if tuple(names) == signature.feature_names:
        return f"it takes {listed(names)}"
    return f"it takes {listed(names)}, or its columns: {listed(signature.feature_names)}"


# -- answers


def selected(
    wanted: Sequence[Wanted], signature: Signature, *, is_binary: bool
) -> list[tuple[Output, bool]]:
    """The outputs that were asked for, in that order, and whether each goes as binary data; raises
    TensorError.
    """
    if not wanted:
        return [(output, is_binary) for output in signature.outputs]
    by_name = {output.name: output for output in signature.outputs}
    if unknown := [want.name for want in wanted if want.name not in by_name]:
        raise TensorError(f"{listed(unknown)} is no output: there are {listed(list(by_name))}")
    return [
        (by_name[want.name], is_binary if want.is_binary is None else want.is_binary)
        for want in wanted
    ]


def tensors_of(
    answers: Sequence[Answer], signature: Signature, outputs: Sequence[Output]
) -> list[Tensor]:
    """One tensor for each output, with all rows."""
    targets = targets_of(signature.outputs)
    cells: dict[str, list[Any]] = {output.name: [] for output in signature.outputs}
    for answer in answers:
        for target in targets:
            values = output_values(answer, target, len(targets))
            for output, cell in zip(target, values, strict=True):
                cells[output.name].append(cell)
    return [_tensor(output, cells[output.name]) for output in outputs]


# What a label is on the wire, where the classes of one model are of several types.
_LABELS: Mapping[str, Callable[[Any], Any]] = {"BYTES": str, "FP64": float}


def _tensor(output: Output, values: list[Any]) -> Tensor:
    shape = [len(values)]
    while values and isinstance(values[0], list):
        shape.append(len(values[0]))
        values = [cell for row in values for cell in row]
    if output.kind == "label" and (as_datatype := _LABELS.get(output.datatype)):
        values = [as_datatype(value) for value in values]
    return Tensor(output.name, output.datatype, tuple(shape), values)
