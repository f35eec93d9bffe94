"""JSON rows in, one exact array for each input of a signature out. No Django here."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from registry.signatures.signature import (
    DATATYPES,
    DTYPES,
    MAX_REPORTED_ERRORS,
    Input,
    Signature,
    listed,
)

FLOAT_LIMITS = {
    name: float(np.finfo(dtype).max) for name, dtype in DTYPES.items() if dtype.kind == "f"
}
PLAIN_NUMBERS = frozenset({int, float})


class InvalidInput(ValueError):
    """One row does not fit the signature.

    `row` is its index among the rows given; `errors` maps a path inside the row (`features[2]`,
    `alcohol`, or "" for the row itself) to messages.
    """

    def __init__(self, row: int, errors: Mapping[str, list[str]]) -> None:
        self.row = row
        self.errors = dict(list(errors.items())[:MAX_REPORTED_ERRORS])
        super().__init__(
            "; ".join(
                f"{path}: {' '.join(said)}".removeprefix(": ") for path, said in self.errors.items()
            )
        )


def arrange(signature: Signature, rows: Sequence[object]) -> dict[str, np.ndarray]:
    """Turn n rows of JSON into one array of shape (n, ...) for each input, of that input's own
    dtype.

    A row is `{"features": [...]}` in the signature's order or an object by feature name. Text,
    booleans and integers stay exact: nothing is coerced but a whole float to an integer and an
    integer to a float tensor. Raises InvalidInput for the first row that does not fit, naming every
    wrong value in it.
    """
    if (plain := _plain_table(signature, rows)) is not None:
        return plain
    flat: list[list[Any]] = [[] for _ in signature.inputs]
    sizes = [_sizes(tensor, None) for tensor in signature.inputs]
    for index, row in enumerate(rows):
        errors: dict[str, list[str]] = {}
        start = 0 if _is_by_position(signature, row) else None
        for i, (tensor, cell) in enumerate(
            zip(signature.inputs, cells_of(signature, row, index), strict=True)
        ):
            flat[i] += _checked_cell(tensor, cell, start, errors)
            if start is not None:
                start += math.prod(tensor.row_shape)
            if -1 in tensor.row_shape and not errors:
                size = _sizes(tensor, cell)
                if math.prod(size) * (index + 1) != len(flat[i]):
                    errors[tensor.name] = ["Must be rectangular, and alike in every row."]
                sizes[i] = size
        if errors:
            raise InvalidInput(index, errors)
    arrays = {}
    for tensor, values, size in zip(signature.inputs, flat, sizes, strict=True):
        array = np.empty((len(rows), *size), dtype=_dtype(tensor))
        array.reshape(-1)[:] = values
        arrays[tensor.name] = array
    return arrays


def _plain_table(signature: Signature, rows: Sequence[object]) -> dict[str, np.ndarray] | None:
    """What nearly all requests are, rows of finite numbers for one table of floats, without a look
    at each value; None where anything is otherwise, or wrong.
    """
    tensor, *others = signature.inputs
    limit = FLOAT_LIMITS.get(tensor.datatype or "")
    if others or limit is None or len(tensor.row_shape) != 1:
        return None
    width = tensor.row_shape[0]
    values: list[Any] = []
    for row in rows:
        if type(row) is not dict:
            return None
        cell = row.get("features") if len(row) == 1 else [*map(row.get, tensor.features)]
        if type(cell) is not list or len(cell) != width or len(row) not in (1, width):
            return None
        values += cell
    if not PLAIN_NUMBERS.issuperset(map(type, values)):
        return None
    if not (-limit <= min(values) and max(values) <= limit):
        return None
    return {tensor.name: np.array(values, _dtype(tensor)).reshape(len(rows), width)}


def cells_of(signature: Signature, row: object, index: int = 0) -> list[Any]:
    """One entry an input: the value of a scalar, else the (nested) list of its values, none of them
    checked yet.

    Raises InvalidInput, with `index` as its row, where features are missing, unknown or too many.
    """
    if not isinstance(row, Mapping):
        raise InvalidInput(
            index, {"": ['Must be an object: {"features": [...]} or one value a feature name.']}
        )
    if _is_by_position(signature, row):
        return _cells_by_position(signature, row["features"], index)
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
    """Whether a row is `{"features": [...]}`; a lone scalar that is itself called "features" takes
    its value by name.
    """
    if not isinstance(row, Mapping) or row.keys() != {"features"}:
        return False
    return not (signature.feature_names == ("features",) and not isinstance(row["features"], list))


def _cells_by_position(signature: Signature, values: object, index: int) -> list[Any]:
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


def _checked_cell(
    tensor: Input, cell: Any, start: int | None, errors: dict[str, list[str]]
) -> list[Any]:
    """The values of one row's cell, flat; what is wrong goes into `errors`.

    `start` is the cell's place in the row's `features` list, None where the row came by name.
    """
    values = []
    for place, value in _leaves(
        cell, () if tensor.is_scalar and not isinstance(cell, list) else tensor.row_shape
    ):
        try:
            if isinstance(value, _Misshapen):
                raise ValueError(str(value))
            values.append(_checked(value, tensor, _dtype(tensor)))
        except ValueError as error:
            errors[_path(tensor, place, start)] = [str(error)]
    return values


class _Misshapen(str):
    """Stands in the place of a list that has not the length the shape demands, and says so."""


def _leaves(
    cell: Any, shape: tuple[int, ...], place: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], Any]]:
    if not shape:
        yield place, cell
    elif not isinstance(cell, list) or not cell or shape[0] not in (-1, len(cell)):
        yield (
            place,
            _Misshapen(
                "Must be a list of values."
                if shape[0] == -1
                else f"Must be a list of {shape[0]} values."
            ),
        )
    else:
        for i, item in enumerate(cell):
            yield from _leaves(item, shape[1:], (*place, i))


def _sizes(tensor: Input, cell: Any) -> tuple[int, ...]:
    """The shape of one row's cell, once it was checked; of no cell, the shape with 0 where it
    varies.
    """
    sizes = []
    for size in tensor.row_shape:
        sizes.append(size if size != -1 else len(cell or ()))
        cell = cell[0] if isinstance(cell, list) else None
    return tuple(sizes)


def _path(tensor: Input, place: tuple[int, ...], start: int | None) -> str:
    if start is not None and len(place) <= 1:
        return f"features[{start + (place[0] if place else 0)}]"
    if tensor.features and place:
        return tensor.features[place[0]]
    return tensor.name + "".join(f"[{i}]" for i in place)


# -- one value


def _dtype(tensor: Input) -> np.dtype:
    return DTYPES[tensor.datatype or "FP64"]


def _checked(value: Any, tensor: Input, dtype: np.dtype) -> Any:
    """The value as the array holds it; ValueError says what it should have been."""
    if value is None:
        if not tensor.nullable:
            raise ValueError("Must not be null: this model takes no missing value here.")
        return math.nan if dtype.kind == "f" else None
    if dtype.kind == "O":
        if not isinstance(value, str):
            raise ValueError(f"Must be text, not {_shown(value)}.")
        return value
    if dtype.kind == "b":
        if not isinstance(value, bool):
            raise ValueError(f"Must be true or false, not {_shown(value)}.")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"Must be a number, not {_shown(value)}.")
    return _checked_float(value, dtype) if dtype.kind == "f" else _checked_integer(value, dtype)


def _checked_float(value: int | float, dtype: np.dtype) -> int | float:
    if not abs(value) <= float(np.finfo(dtype).max):
        raise ValueError(
            f"Must be a finite number in the range of {DATATYPES[dtype]}, not {_shown(value)}."
        )
    return value


def _checked_integer(value: int | float, dtype: np.dtype) -> int:
    # Past 2^53 neighbouring integers share one float, so that a float there no longer says which
    # one was meant.
    if isinstance(value, float) and not (value.is_integer() and abs(value) <= 2**53):
        raise ValueError(f"Must be a whole number, not {_shown(value)}.")
    limits = np.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise ValueError(
            f"Must be from {limits.min} to {limits.max} ({DATATYPES[dtype]}), not {_shown(value)}."
        )
    return int(value)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:37]}..."
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return type(value).__name__
