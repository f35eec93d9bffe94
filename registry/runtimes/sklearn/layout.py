"""How rows are handed to a scikit-learn model. No Django here."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from registry.signatures.signature import Input

Layout: TypeAlias = Literal["tensor", "columns", "text"]
"""What the model takes: one array of numbers, columns of different types, or one text per row."""

Marker: TypeAlias = Any
"""What stood for a missing value in a column of the training data: NaN, None, or a text or number
such as "?" or -1.
"""


class Columns:
    """The columns of n rows, each in its own dtype.

    scikit-learn indexes it like an array of shape (n, columns), and so gets each group of columns
    as an array of their common dtype: as from a data frame, and without its cost.
    """

    ndim = 2

    def __init__(self, columns: Sequence[np.ndarray]) -> None:
        self._columns = columns
        self.shape = (len(columns[0]), len(columns))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """One column (n,) for `[:, number]`, else an array (n, k) for several."""
        if not isinstance(key, tuple) or key[0] != slice(None):
            selected: np.ndarray = np.asarray(self)[key]
            return selected
        if isinstance(key[1], int | np.integer):
            return self._columns[int(key[1])]
        indices = np.arange(len(self._columns))[key[1]]
        return _joined([self._columns[index] for index in indices], len(self))

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        rows = _joined(self._columns, len(self))
        return rows if dtype is None else rows.astype(dtype)


def _joined(columns: Sequence[np.ndarray], n_rows: int) -> np.ndarray:
    if columns and all(column.dtype != object for column in columns):
        return np.stack(columns, axis=1)
    rows = np.empty((n_rows, len(columns)), dtype=object)
    for i, column in enumerate(columns):
        rows[:, i] = column
    return rows


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """The inputs of a model, and the layout in which it takes its rows."""

    layout: Layout
    inputs: tuple[Input, ...]
    positions: Mapping[str, int] = field(default_factory=dict)
    """The position of each named column in the rows that the model was trained on."""
    n_columns: int = 0
    markers: Mapping[int, Marker] = field(default_factory=dict)
    """By position: what stands for a missing value, if that is not NaN."""
    object_columns: frozenset[int] = frozenset()
    """The positions of columns of numbers or booleans that were arrays of objects, as data frames
    hold booleans with gaps.
    """
    text_columns: frozenset[int] = frozenset()
    never_null: frozenset[str] = frozenset()
    """Inputs in which a missing value would be an error or a guess, whatever is declared."""

    def arrange(self, arrays: Mapping[str, np.ndarray]) -> object:
        """The rows for the model, from one array (n, ...) for each input of a signature.

        A version that was registered with another layout keeps its signature: one matrix is split
        into columns, and columns are joined into a matrix.
        """
        if self.layout == "text":
            return arrays["text"]
        matrix = next(iter(arrays.values()))
        if self.layout == "tensor" and matrix.ndim == 2:
            return self._mark_matrix(matrix)
        columns = self._place(arrays)
        return np.stack(columns, axis=1) if self.layout == "tensor" else Columns(columns)

    def named_columns(
        self, arrays: Mapping[str, np.ndarray]
    ) -> Iterator[tuple[int, str, np.ndarray]]:
        """The position, name and values of each column in the arrays."""
        for name, array in arrays.items():
            if name in self.positions:
                yield self.positions[name], name, array.reshape(len(array))
            elif array.ndim == 2:
                yield from (
                    (position, column, array[:, position])
                    for column, position in self.positions.items()
                )

    def _mark_matrix(self, matrix: np.ndarray) -> np.ndarray:
        if not self.markers:
            return matrix
        columns = [self._mark(matrix[:, i], i) for i in range(matrix.shape[1])]
        return np.stack(columns, axis=1)

    def _place(self, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Every column that the model was trained on, at its position."""
        matrix = next(iter(arrays.values()))
        if matrix.ndim == 2 and len(arrays) == 1:
            return [self._mark(matrix[:, i], i) for i in range(matrix.shape[1])]
        # A model that ignores a column never reads these zeros.
        columns = [np.zeros(len(matrix))] * self.n_columns
        for order, (name, array) in enumerate(arrays.items()):
            position = order if self._is_in_order(arrays) else self.positions[name]
            if name in self.never_null and array.dtype == object and None in array.tolist():
                # The signature of a version that was registered before this was known.
                raise ValueError(
                    f"'{name}' must not be null: the model takes no missing value here"
                )
            columns[position] = self._mark(array.reshape(len(array)), position)
        return columns

    def _is_in_order(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Whether the arrays are all columns of a matrix, perhaps under names of the caller's."""
        return self.layout == "tensor" and len(arrays) == self.n_columns

    def _mark(self, column: np.ndarray, position: int) -> np.ndarray:
        """The column with missing values as the model was trained on them.

        They arrive as NaN among floats, and as None in an array of objects.
        """
        marker = self.markers.get(position, math.nan)
        is_object = position in self.object_columns
        if column.dtype.kind == "f":
            if not is_object and isinstance(marker, float | int):
                # Most markers are NaN, which is there already.
                return column if marker != marker else np.where(np.isnan(column), marker, column)
            is_missing = np.isnan(column)
        elif column.dtype == object:
            is_missing = np.fromiter((value is None for value in column), bool, len(column))
        else:
            return column.astype(object) if is_object else column
        marked = column.astype(object)
        marked[is_missing] = marker
        return marked if is_object or position in self.text_columns else _without_objects(marked)


def _without_objects(values: np.ndarray) -> np.ndarray:
    """Booleans and numbers in their own dtype, as a data frame holds them: floats with gaps."""
    types = {type(value) for value in values}
    if types == {bool}:
        return values.astype(bool)
    if types == {int}:
        return values.astype(np.int64)
    return values.astype(np.float64) if types <= {bool, int, float} else values
