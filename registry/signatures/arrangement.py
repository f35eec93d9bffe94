"""Arranges rows of JSON into one array for each input of a signature. No Django here."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from registry.signatures.signature import DTYPES, Input, Signature, listed
from registry.signatures.validation import InvalidInput, dtype_of, validate_cell

Arrays: TypeAlias = dict[str, np.ndarray]
"""By input name, each of shape (n, ...)."""

FLOAT_LIMITS = {
    name: float(np.finfo(dtype).max) for name, dtype in DTYPES.items() if dtype.kind == "f"
}
NUMBER_TYPES = frozenset({int, float})


def arrange(signature: Signature, rows: Sequence[object]) -> Arrays:
    """Turn n rows of JSON into one array of shape (n, ...) per input, in the signature's order.

    A row is either `{"features": [...]}` in the signature's order or an object with one key per
    feature. Values stay exact: the only conversions are from a whole float to an integer, and from
    an integer to a float tensor. Raises InvalidInput for the first row that does not fit, with all
    of that row's errors.
    """
    if (table := _arrange_float_table(signature, rows)) is not None:
        return table
    values: list[list[object]] = [[] for _ in signature.inputs]
    cell_shapes = [_cell_shape(tensor, None) for tensor in signature.inputs]
    for index, row in enumerate(rows):
        errors: dict[str, list[str]] = {}
        start = 0 if _is_by_position(signature, row) else None
        for i, (tensor, cell) in enumerate(
            zip(signature.inputs, extract_cells(signature, row, index), strict=True)
        ):
            values[i] += validate_cell(tensor, cell, start, errors)
            if start is not None:
                start += math.prod(tensor.row_shape)
            if -1 in tensor.row_shape and not errors:
                cell_shape = _cell_shape(tensor, cell)
                if math.prod(cell_shape) * (index + 1) != len(values[i]):
                    errors[tensor.name] = ["Must be rectangular, with the same shape in every row."]
                cell_shapes[i] = cell_shape
        if errors:
            raise InvalidInput(index, errors)
    arrays: Arrays = {}
    for tensor, flat, cell_shape in zip(signature.inputs, values, cell_shapes, strict=True):
        array = np.empty((len(rows), *cell_shape), dtype=dtype_of(tensor))
        array.reshape(-1)[:] = flat
        arrays[tensor.name] = array
    return arrays


def _arrange_float_table(signature: Signature, rows: Sequence[object]) -> Arrays | None:
    """The fast path for most requests: finite numbers for a single table of floats.

    It checks the values all at once. None if anything is different or invalid.
    """
    tensor, *others = signature.inputs
    limit = FLOAT_LIMITS.get(tensor.datatype or "")
    if others or limit is None or len(tensor.row_shape) != 1:
        return None
    width = tensor.row_shape[0]
    values: list[int | float] = []
    for row in rows:
        if type(row) is not dict:
            return None
        cell = row.get("features") if len(row) == 1 else [*map(row.get, tensor.features)]
        if type(cell) is not list or len(cell) != width or len(row) not in (1, width):
            return None
        values += cell
    if not NUMBER_TYPES.issuperset(map(type, values)):
        return None
    if not (-limit <= min(values) and max(values) <= limit):
        return None
    return {tensor.name: np.array(values, dtype_of(tensor)).reshape(len(rows), width)}


def extract_cells(signature: Signature, row: object, index: int = 0) -> list[object]:
    """Each input's part of a row: a value for a scalar, otherwise a (nested) list.

    The values themselves are not validated. Raises InvalidInput, with `index` as the row, if
    features are missing or unknown.
    """
    if not isinstance(row, Mapping):
        raise InvalidInput(
            index, {"": ['Must be an object: {"features": [...]}, or one key per feature.']}
        )
    if _is_by_position(signature, row):
        return _extract_by_position(signature, row["features"], index)
    names = set(signature.feature_names)
    if row.keys() != names:
        missing = {name: ["Missing."] for name in signature.feature_names if name not in row}
        raise InvalidInput(
            index,
            missing | {key: ["Not a feature of this model."] for key in row if key not in names},
        )
    return [
        [row[key] for key in tensor.features] if tensor.features else row[tensor.name]
        for tensor in signature.inputs
    ]


def _is_by_position(signature: Signature, row: object) -> bool:
    """Whether a row is `{"features": [...]}`.

    If the model's only input is a scalar named "features", its value is a plain value instead.
    """
    if not isinstance(row, Mapping) or row.keys() != {"features"}:
        return False
    return not (signature.feature_names == ("features",) and not isinstance(row["features"], list))


def _extract_by_position(signature: Signature, values: object, index: int) -> list[object]:
    if any(-1 in tensor.row_shape or len(tensor.row_shape) > 1 for tensor in signature.inputs):
        if signature.feature_names == ("features",):
            return [values]
        message = f"This model takes its inputs by name: {listed(signature.feature_names)}."
        raise InvalidInput(index, {"features": [message]})
    widths = [math.prod(tensor.row_shape) for tensor in signature.inputs]
    if not isinstance(values, list):
        raise InvalidInput(index, {"features": ["Must be a list of values."]})
    if len(values) != sum(widths):
        raise InvalidInput(
            index, {"features": [f"Must hold {sum(widths)} values, not {len(values)}."]}
        )
    cells, start = [], 0
    for tensor, width in zip(signature.inputs, widths, strict=True):
        cells.append(values[start] if tensor.is_scalar else values[start : start + width])
        start += width
    return cells


def _cell_shape(tensor: Input, cell: object) -> tuple[int, ...]:
    """The shape of a validated cell. Without a cell, variable dimensions are 0."""
    sizes = []
    for size in tensor.row_shape:
        items = cell if isinstance(cell, list) else []
        sizes.append(size if size != -1 else len(items))
        cell = items[0] if items else None
    return tuple(sizes)
