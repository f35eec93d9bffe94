"""Arranges rows of JSON into one array for each input of a signature. No Django here."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from registry.signatures.signature import (
    DATATYPES,
    DTYPES,
    MAX_REPORTED_ERRORS,
    Input,
    Signature,
    listed,
)

Arrays: TypeAlias = dict[str, np.ndarray]
"""By input name, each of shape (n, ...)."""

FLOAT_LIMITS = {
    name: float(np.finfo(dtype).max) for name, dtype in DTYPES.items() if dtype.kind == "f"
}
NUMBER_TYPES = frozenset({int, float})


class InvalidInput(ValueError):
    """A row does not fit the signature.

    `row` is its index in the rows that were passed. `errors` maps a path inside of the row
    (`features[2]`, `alcohol`, or "" for the row itself) to messages.
    """

    def __init__(self, row: int, errors: Mapping[str, list[str]]) -> None:
        self.row = row
        self.errors = dict(list(errors.items())[:MAX_REPORTED_ERRORS])
        super().__init__(
            "; ".join(
                f"{path}: {' '.join(messages)}".removeprefix(": ")
                for path, messages in self.errors.items()
            )
        )


def arrange(signature: Signature, rows: Sequence[object]) -> Arrays:
    """Turn n rows of JSON into one array of shape (n, ...) per input, in that input's dtype.

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
            values[i] += _validate_cell(tensor, cell, start, errors)
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
        array = np.empty((len(rows), *cell_shape), dtype=_dtype(tensor))
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
    return {tensor.name: np.array(values, _dtype(tensor)).reshape(len(rows), width)}


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


# -- one cell


def _validate_cell(
    tensor: Input, cell: object, start: int | None, errors: dict[str, list[str]]
) -> list[object]:
    """The cell's values, flattened; adds to `errors`.

    `start` is the position of the cell in the row's `features` list, None for a row by name.
    """
    values = []
    shape = () if tensor.is_scalar and not isinstance(cell, list) else tensor.row_shape
    for position, value in _iterate_values(cell, shape):
        try:
            if isinstance(value, _WrongLength):
                raise ValueError(value.message)
            values.append(_validate_value(value, tensor, _dtype(tensor)))
        except ValueError as error:
            errors[_error_path(tensor, position, start)] = [str(error)]
    return values


@dataclass(frozen=True, slots=True)
class _WrongLength:
    """Stands in for a value that is not a list of the length that the shape requires."""

    message: str


def _iterate_values(
    cell: object, shape: tuple[int, ...], position: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], object]]:
    if not shape:
        yield position, cell
    elif not isinstance(cell, list) or not cell or shape[0] not in (-1, len(cell)):
        length = "" if shape[0] == -1 else f"{shape[0]} "
        yield position, _WrongLength(f"Must be a list of {length}values.")
    else:
        for i, item in enumerate(cell):
            yield from _iterate_values(item, shape[1:], (*position, i))


def _cell_shape(tensor: Input, cell: object) -> tuple[int, ...]:
    """The shape of a validated cell. Without a cell, variable dimensions are 0."""
    sizes = []
    for size in tensor.row_shape:
        items = cell if isinstance(cell, list) else []
        sizes.append(size if size != -1 else len(items))
        cell = items[0] if items else None
    return tuple(sizes)


def _error_path(tensor: Input, position: tuple[int, ...], start: int | None) -> str:
    if start is not None and len(position) <= 1:
        return f"features[{start + (position[0] if position else 0)}]"
    if tensor.features and position:
        return tensor.features[position[0]]
    return tensor.name + "".join(f"[{i}]" for i in position)


# -- one value


def _dtype(tensor: Input) -> np.dtype:
    return DTYPES[tensor.datatype or "FP64"]


def _validate_value(value: object, tensor: Input, dtype: np.dtype) -> object:
    """The value as it goes into the array. Raises ValueError with what it should have been."""
    if value is None:
        if not tensor.nullable:
            raise ValueError("Must not be null: this model accepts no missing value here.")
        return math.nan if dtype.kind == "f" else None
    if dtype.kind == "O":
        if not isinstance(value, str):
            raise ValueError(f"Must be text, not {_describe(value)}.")
        return value
    if dtype.kind == "b":
        if not isinstance(value, bool):
            raise ValueError(f"Must be true or false, not {_describe(value)}.")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"Must be a number, not {_describe(value)}.")
    return _validate_float(value, dtype) if dtype.kind == "f" else _validate_integer(value, dtype)


def _validate_float(value: int | float, dtype: np.dtype) -> int | float:
    if not abs(value) <= float(np.finfo(dtype).max):
        raise ValueError(
            f"Must be a finite number in the range of {DATATYPES[dtype]}, not {_describe(value)}."
        )
    return value


def _validate_integer(value: int | float, dtype: np.dtype) -> int:
    # Above 2^53, several integers share one float, so the float is ambiguous.
    if isinstance(value, float) and not (value.is_integer() and abs(value) <= 2**53):
        raise ValueError(f"Must be a whole number, not {_describe(value)}.")
    limits = np.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise ValueError(
            f"Must be from {limits.min} to {limits.max} ({DATATYPES[dtype]}),"
            f" not {_describe(value)}."
        )
    return int(value)


def _describe(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:37]}..."
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return type(value).__name__
