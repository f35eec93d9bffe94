"""Validates the values of input rows by a signature. No Django here."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from registry.signatures.signature import DATATYPES, DTYPES, MAX_REPORTED_ERRORS, Input


class InvalidInput(ValueError):
    """A row does not fit the signature.

    `row` is its index in the rows that were passed. `errors` maps a path inside of the row
    (`features[2]`, `alcohol`, or "" for the row itself) to messages.
    """

    def __init__(self, row: int, errors: Mapping[str, list[str]]) -> None:
        self.row = row
        self.errors = dict(list(errors.items())[:MAX_REPORTED_ERRORS])
        super().__init__(
            join_messages(
                f"{path}: {' '.join(messages)}".removeprefix(": ")
                for path, messages in self.errors.items()
            )
        )


def join_messages(messages: Iterable[str]) -> str:
    """One text from several messages: only the last keeps its full stop."""
    *others, last = [*messages] or [""]
    return "; ".join([*(message.removesuffix(".") for message in others), last])


def validate_cell(
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
            values.append(_validate_value(value, tensor, DTYPES[tensor.datatype or "FP64"]))
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


def _error_path(tensor: Input, position: tuple[int, ...], start: int | None) -> str:
    if start is not None and len(position) <= 1:
        return f"features[{start + (position[0] if position else 0)}]"
    if tensor.features and position:
        return tensor.features[position[0]]
    return tensor.name + "".join(f"[{i}]" for i in position)


# -- one value


def dtype_of(tensor: Input) -> np.dtype:
    """The dtype of the input's array: objects for booleans and integers that may be None."""
    dtype = DTYPES[tensor.datatype or "FP64"]
    return DTYPES["BYTES"] if tensor.nullable and dtype.kind in "biu" else dtype


def _validate_value(value: object, tensor: Input, dtype: np.dtype) -> object:
    """The value as it goes into the array. Raises ValueError with what it should have been."""
    if value is None:
        if not tensor.nullable:
            raise ValueError("Must not be null: this model accepts no missing value here.")
        return math.nan if dtype.kind == "f" else None
    if dtype.kind == "O":
        if not isinstance(value, str):
            raise ValueError(f"Must be text, not {describe_value(value)}.")
        return value
    if dtype.kind == "b":
        # The numbers 0 and 1 are how tables without booleans write them.
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            raise ValueError(f"Must be true or false, not {describe_value(value)}.")
        return bool(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"Must be a number, not {describe_value(value)}.")
    return _validate_float(value, dtype) if dtype.kind == "f" else _validate_integer(value, dtype)


def _validate_float(value: int | float, dtype: np.dtype) -> int | float:
    if not abs(value) <= float(np.finfo(dtype).max):
        raise ValueError(
            f"Must be a finite number in the range of {DATATYPES[dtype]},"
            f" not {describe_value(value)}."
        )
    return value


def _validate_integer(value: int | float, dtype: np.dtype) -> int:
    # Above 2^53, several integers share one float, so the float is ambiguous.
    if isinstance(value, float) and not (value.is_integer() and abs(value) <= 2**53):
        raise ValueError(f"Must be a whole number, not {describe_value(value)}.")
    limits = np.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise ValueError(
            f"Must be from {limits.min} to {limits.max} ({DATATYPES[dtype]}),"
            f" not {describe_value(value)}."
        )
    return int(value)


def describe_value(value: object) -> str:
    """A JSON value for a message, shortened if it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:37]}..."
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return type(value).__name__
