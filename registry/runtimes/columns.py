"""Rows of named columns, as boosters take them: one matrix, with categories as codes. No Django
here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from registry.runtimes.base import InferenceError, LoadError
from registry.signatures.signature import Input, listed
from registry.signatures.synthetic_rows import ColumnProfile

Category: TypeAlias = str | int | float | bool

# What a column of numbers may be declared as. A booster takes true as 1 and false as 0.
NUMBER_ALTERNATIVES = (
    "BOOL",
    *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
)
MATRIX = "features"
_MAX_SHOWN_CATEGORIES = 20


@dataclass(frozen=True, slots=True)
class Categories:
    """The categories of a column in the order of their codes, all of one JSON type."""

    labels: tuple[Category, ...]
    datatype: str
    codes: Mapping[Category, int] = field(repr=False)

    @classmethod
    def of(cls, labels: Sequence[Category], column: str) -> "Categories":
        """Raises LoadError if the labels are of several types."""
        for kind, datatype in ((str, "BYTES"), (bool, "BOOL"), (int, "INT64"), (float, "FP64")):
            if all(type(label) is kind for label in labels):
                return cls(tuple(labels), datatype, {label: i for i, label in enumerate(labels)})
        raise LoadError(
            f"the categories of the column '{column}' are of several types or of one that JSON does"
            " not have. Use texts or integers as categories"
        )

    def profile(self) -> ColumnProfile:
        return ColumnProfile(choices=self.labels)


def category_input(name: str, categories: Categories) -> Input:
    return Input(name, categories.datatype, (-1,), nullable=True)


def number_input(name: str, datatype: str) -> Input:
    """A column of numbers that is an input of its own."""
    return Input(name, datatype, (-1,), nullable=True, alternatives=NUMBER_ALTERNATIVES)


def matrix_input(width: int, names: tuple[str, ...], datatype: str) -> Input:
    """All columns as one input; each may be declared as a column of another datatype."""
    return Input(
        MATRIX, datatype, (-1, width), names, nullable=True, alternatives=NUMBER_ALTERNATIVES
    )


class MatrixReader:
    """Reads the inputs of either form, a matrix or one array per column, as one matrix.

    `categories` are those of the columns that hold categories, by their position. If
    `unknown_is_missing`, any other value becomes NaN like a missing one; otherwise it is refused.
    """

    def __init__(
        self,
        names: Sequence[str],
        dtype: type[np.floating],
        categories: Mapping[int, Categories],
        *,
        unknown_is_missing: bool,
    ) -> None:
        self._names = names
        self._dtype = dtype
        self._categories = categories
        self._unknown_is_missing = unknown_is_missing

    def read(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The matrix (n, k) of n rows, NaN for missing values; raises InferenceError.

        Columns come in the order of the signature, whatever their names.
        """
        columns = list(inputs.values())
        if len(columns) == 1 and columns[0].ndim == 2:
            return np.ascontiguousarray(columns[0], dtype=self._dtype)
        matrix = np.empty((len(columns[0]), len(columns)), self._dtype)
        for i, column in enumerate(columns):
            # None becomes NaN.
            matrix[:, i] = self._codes(i, column) if i in self._categories else column
        return matrix

    def _codes(self, position: int, values: np.ndarray) -> list[float]:
        codes = self._categories[position].codes
        result = [codes.get(value, np.nan) for value in values.tolist()]
        if not self._unknown_is_missing:
            for value, code in zip(values.tolist(), result, strict=True):
                if code != code and value is not None and value == value:
                    raise InferenceError(self._unknown_message(position, value))
        return result

    def _unknown_message(self, position: int, value: object) -> str:
        labels = [str(label) for label in self._categories[position].labels]
        known = f": {listed(labels)}" if len(labels) <= _MAX_SHOWN_CATEGORIES else ""
        return (
            f"'{str(value)[:100]}' is not one of the {len(labels)} categories of "
            f"'{self._names[position]}'{known}"
        )
