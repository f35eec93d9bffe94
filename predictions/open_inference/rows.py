"""Request tensors to rows of `input_data`, and recorded answers to response tensors. No ORM."""

from collections.abc import Mapping, Sequence
from typing import Any

from predictions.open_inference.selection import Selection
from predictions.serving.answers import Answer, output_values, targets_of
from registry.exact_json.values import JSONObject
from registry.open_inference.binary import TensorError
from registry.open_inference.tensors import Tensor
from registry.signatures.signature import Input, Output, Signature, listed

# -- requests


def rows_from_tensors(
    tensors: Sequence[Tensor], signature: Signature, *, max_rows: int, is_frame: bool = False
) -> list[JSONObject]:
    """The rows of `input_data` in these tensors. Whether their values fit the model is checked
    later, against the signature.

    A tensor is an input of the signature or one of its columns, by name. A single table with any
    other name has all columns in the order of the signature, as clients of MLServer send it. With
    `is_frame`, each tensor is a column; a model without column names takes them in their order.
    For an unbatched model the tensors are those of one row. Raises TensorError.
    """
    if is_frame:
        _require_columns(tensors)
    if signature.batching == "unbatched":
        return [_complete_row(tensors, signature)]
    n_rows = tensors[0].shape[0]
    if n_rows > max_rows:
        raise TensorError(f"'{tensors[0].name}' has {n_rows} rows; the limit is {max_rows}")
    for tensor in tensors:
        if tensor.shape[0] != n_rows:
            raise TensorError(
                f"'{tensor.name}' has {tensor.shape[0]} rows, but '{tensors[0].name}' has "
                f"{n_rows}: the first dimension of every tensor is the rows"
            )
    if is_frame:
        return _rows_of_frame(tensors, signature)
    if len(tensors) == 1 and (rows := _rows_of_table(tensors[0], signature)) is not None:
        return rows
    return _join_by_name(tensors, signature)


def _rows_of_table(tensor: Tensor, signature: Signature) -> list[JSONObject] | None:
    """The rows of a tensor that has all columns by position; None if it must be one of several."""
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


def _require_columns(tensors: Sequence[Tensor]) -> None:
    for tensor in tensors:
        if not tensor.is_column:
            raise TensorError(
                f"'{tensor.name}' has the shape {list(tensor.shape)}, but with the content_type pd"
                " each input is one column"
            )


def _rows_of_frame(tensors: Sequence[Tensor], signature: Signature) -> list[JSONObject]:
    first, *others = signature.inputs
    if others or first.features or not _is_flat(first):
        return _join_by_name(tensors, signature)
    columns = [tensor.values for tensor in tensors]
    return [{"features": list(row)} for row in zip(*columns, strict=True)]


def _complete_row(tensors: Sequence[Tensor], signature: Signature) -> JSONObject:
    """The row whose tensors have the model's own shapes, without a dimension for rows."""
    row: JSONObject = {}
    inputs = {model_input.name: model_input for model_input in signature.inputs}
    for tensor in tensors:
        # As for other models, the name of the only tensor does not matter.
        name = signature.inputs[0].name if len(tensors) == len(inputs) == 1 else tensor.name
        if name not in inputs:
            raise TensorError(f"'{name}' is not an input of this model; {_expected(signature)}")
        shape = tensor_shape(inputs[name], signature)
        if not _fits(tensor.shape, shape):
            raise TensorError(
                f"'{tensor.name}' has the shape {list(tensor.shape)}, not {list(shape)}; this "
                "model takes one row a request"
            )
        row[name] = list(tensor.rows()) if inputs[name].row_shape else tensor.values[0]
    if missing := [name for name in inputs if name not in row]:
        raise TensorError(f"{listed(missing)} is missing; {_expected(signature)}")
    return row


def _fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    return len(shape) == len(expected) and all(
        size in (-1, actual) for size, actual in zip(expected, shape, strict=True)
    )


def tensor_shape(tensor: Input | Output, signature: Signature) -> tuple[int, ...]:
    """The shape of a tensor at /v2, with -1 for each variable dimension.

    The first dimension is the rows, which an unbatched model does not have; there, a scalar is a
    tensor of one value, since the protocol requires a dimension.
    """
    if signature.batching != "unbatched":
        return tensor.shape
    return tensor.row_shape or (1,)


def _is_known(name: str, signature: Signature) -> bool:
    return name in signature.feature_names or any(item.name == name for item in signature.inputs)


def _is_flat(model_input: Input) -> bool:
    """Whether a `features` list can have the values of this input."""
    return len(model_input.row_shape) <= 1 and -1 not in model_input.row_shape


def _join_by_name(tensors: Sequence[Tensor], signature: Signature) -> list[JSONObject]:
    inputs = {model_input.name: model_input for model_input in signature.inputs}
    columns: dict[str, Sequence[object]] = {}
    for tensor in tensors:
        added = _columns(tensor, inputs.get(tensor.name), signature)
        if repeated := sorted(columns.keys() & added.keys()):
            raise TensorError(f"{listed(repeated)} appears twice")
        columns |= added
    names = signature.feature_names
    if missing := [name for name in names if name not in columns]:
        raise TensorError(f"{listed(missing)} is missing; {_expected(signature)}")
    ordered = [columns[name] for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*ordered, strict=True)]


def _columns(
    tensor: Tensor, model_input: Input | None, signature: Signature
) -> dict[str, Sequence[object]]:
    """The values of each column in this tensor; `model_input` is the input of the same name."""
    name = tensor.name
    if model_input is None:
        if name not in signature.feature_names:
            raise TensorError(f"'{name}' is not an input of this model; {_expected(signature)}")
        if tensor.is_column:
            return {name: tensor.values}
    elif model_input.features and tensor.shape[1:] == model_input.row_shape:
        n_columns = len(model_input.features)
        return {
            feature: tensor.values[i::n_columns] for i, feature in enumerate(model_input.features)
        }
    elif model_input.features or model_input.is_scalar:
        if name in signature.feature_names and tensor.is_column:
            return {name: tensor.values}
    elif len(tensor.shape) == len(model_input.shape):
        return {name: tensor.rows()}
    shape = list(model_input.shape) if model_input else [-1]
    raise TensorError(f"'{name}' has the shape {list(tensor.shape)}, not {shape}")


def _expected(signature: Signature) -> str:
    names = [model_input.name for model_input in signature.inputs]
    if tuple(names) == signature.feature_names:
        return f"the model takes {listed(names)}"
    return f"the model takes {listed(names)}, or the columns {listed(signature.feature_names)}"


# -- responses


def response_tensors(
    answers: Sequence[Answer], signature: Signature, selected: Sequence[Selection]
) -> list[Tensor]:
    """One tensor for each selected output, with all rows."""
    targets = targets_of(signature.outputs)
    columns: dict[str, list[Any]] = {output.name: [] for output in signature.outputs}
    for answer in answers:
        for target in targets:
            values = output_values(answer, target, len(targets))
            for output, value in zip(target, values, strict=True):
                columns[output.name].append(value)
    return [
        item.presented(_tensor(item.output, columns[item.output.name], signature))
        for item in selected
    ]


# The type of a label in a response, if the classes of the model have several types.
_LABEL_TYPES: Mapping[str, type[str] | type[float]] = {"BYTES": str, "FP64": float}


def _tensor(output: Output, values: list[Any], signature: Signature) -> Tensor:
    """The tensor of one value per row, each a scalar or lists nested to the shape of a row."""
    shape = [len(values)]
    if output.is_scalar:
        shape += output.row_shape
    else:
        for size in output.row_shape:
            # Lists do not show the dimensions behind one of length 0.
            shape.append(len(values[0]) if values else max(size, 0))
            values = [item for row in values for item in row]
    if signature.batching == "unbatched":
        shape = shape[1:] or [1]
    if output.kind == "label" and (label_type := _LABEL_TYPES.get(output.datatype)):
        values = [label_type(value) for value in values]
    return Tensor(output.name, output.datatype, tuple(shape), values)
