"""Recorded inputs as columns: exactly, or not at all."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import orjson

from predictions.export.columns import INPUT_PREFIX, JSON, Column, columns_of
from registry.signatures.flat_rows import FlatRows
from registry.signatures.signature import DTYPES, Signature

Values: TypeAlias = Sequence[Any]

# Every integer up to here is a float, and no other integer is the same float.
MAX_EXACT_INTEGER = 2**53
# The types of JSON values that a column of this kind of dtype holds as they are.
_EXACT_TYPES: Mapping[str, type] = {"O": str, "b": bool, "f": float, "i": int, "u": int}


class InputReader:
    """Reads the recorded inputs of several versions into the same columns."""

    def __init__(self, signatures: Mapping[int, Signature], columns: Sequence[Column]) -> None:
        self._columns = [column for column in columns if column.name.startswith(INPUT_PREFIX)]
        self._versions = {
            model_id: _VersionReader(signature, self._columns)
            for model_id, signature in signatures.items()
        }

    def read(self, model_ids: Values, texts: Sequence[str]) -> tuple[list[list[Any]], list[bool]]:
        """The values of each column, and for each row whether the columns hold all of its input.

        `texts` are the inputs as JSON. A row that does not fit is null in every column.
        """
        values: list[list[Any]] = [[None] * len(texts) for _ in self._columns]
        fits = [False] * len(texts)
        if not self._columns:
            return values, fits
        rows_of = defaultdict(list)
        for place, model_id in enumerate(model_ids):
            rows_of[model_id].append(place)
        for model_id, places in rows_of.items():
            if (reader := self._versions.get(model_id)) is None:
                continue
            read = reader.read([texts[place] for place in places])
            for place, row in zip(places, read, strict=True):
                fits[place] = row is not None
            for target, column in reader.columns_from(read):
                for place, value in zip(places, column, strict=True):
                    values[target][place] = value
        return values, fits


class _VersionReader:
    def __init__(self, signature: Signature, columns: Sequence[Column]) -> None:
        self._rows = FlatRows(signature)
        places = {column.name: place for place, column in enumerate(columns)}
        self._targets = [places[column.name] for column in columns_of(signature)]
        self._columns = [columns[target] for target in self._targets]

    def read(self, texts: Sequence[str]) -> list[Values | None]:
        """The values of each row in the order of the version's features; None for a misfit."""
        rows = [self._rows.cells(orjson.loads(text)) for text in texts]
        fitting = [row for row in rows if row is not None]
        columns = zip(*fitting, strict=True)
        if all(
            _are_exact(column, values)
            for column, values in zip(self._columns, columns, strict=False)
        ):
            return rows
        return [None if row is None else self._convert(row) for row in rows]

    def columns_from(self, rows: Sequence[Values | None]) -> Sequence[tuple[int, Values]]:
        """The values of each feature's column, with the column's place."""
        nothing = [None] * len(self._targets)
        columns = zip(*(nothing if row is None else row for row in rows), strict=True)
        return list(zip(self._targets, columns, strict=False))

    def _convert(self, row: Values) -> Values | None:
        try:
            return [
                _convert(column, column.depth, value)
                for column, value in zip(self._columns, row, strict=True)
            ]
        except (ValueError, OverflowError):
            return None


def _are_exact(column: Column, values: Values) -> bool:
    """Whether all values fit the column as they are; False if only a closer look can tell."""
    if column.depth == 1:
        lists = [value for value in values if value is not None]
        if not {list}.issuperset(map(type, lists)):
            return False
        values = list(chain.from_iterable(lists))
    elif column.depth:
        return False
    types = set(map(type, values)) - {type(None)}
    if column.datatype == JSON or len(types) > 1:
        return False
    dtype = DTYPES[column.datatype]
    if types != {int} or dtype.kind not in "iu":
        return types <= {_EXACT_TYPES[dtype.kind]}
    present = [value for value in values if value is not None]
    limits = np.iinfo(dtype)
    return bool(limits.min <= min(present) and max(present) <= limits.max)


def _convert(column: Column, depth: int, value: Any) -> Any:
    """The same value as the column has it; raises ValueError if there is none."""
    if value is None:
        return None
    if column.datatype == JSON:
        return orjson.dumps(value).decode()
    if depth:
        if not isinstance(value, list):
            raise ValueError
        return [_convert(column, depth - 1, item) for item in value]
    return _CONVERSIONS[DTYPES[column.datatype].kind](column, value)


def _text(column: Column, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _boolean(column: Column, value: Any) -> bool:
    if not isinstance(value, bool | int | float) or value not in (0, 1):
        raise ValueError
    return bool(value)


def _float(column: Column, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    if isinstance(value, int) and abs(value) > MAX_EXACT_INTEGER and int(float(value)) != value:
        raise ValueError
    return float(value)


def _integer(column: Column, value: Any) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT_INTEGER:
        value = int(value)
    limits = np.iinfo(DTYPES[column.datatype])
    if type(value) is not int or not limits.min <= value <= limits.max:
        raise ValueError
    return value


_CONVERSIONS: Mapping[str, Callable[[Column, Any], Any]] = {
    "O": _text,
    "b": _boolean,
    "f": _float,
    "i": _integer,
    "u": _integer,
}
