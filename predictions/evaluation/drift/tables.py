"""Rows of inputs and answers as columns: all that the mathematics of monitoring sees of data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Kind: TypeAlias = Literal["number", "category"]

INPUT_PREFIX = "input:"
# Between the name of a text input and what is counted of it: `input:review#words`.
TEXT_SEPARATOR = "#"
PREDICTION = "prediction"
CONFIDENCE = "confidence"
LATENCY = "latency"


class InvalidTable(ValueError):
    """The columns of a table do not fit each other; the message names the column."""


@dataclass(frozen=True, slots=True)
class Variable:
    """Something that is compared, such as `input:age`, `input:review#words` or `prediction`."""

    key: str
    kind: Kind

    @property
    def is_input(self) -> bool:
        return self.key.startswith(INPUT_PREFIX)

    @property
    def label(self) -> str:
        """What texts call it: an input by its name alone."""
        name, _, measure = self.key.removeprefix(INPUT_PREFIX).partition(TEXT_SEPARATOR)
        return f"{measure} of {name}" if self.is_input and measure else name


@dataclass(frozen=True, slots=True)
class Numbers:
    """One number a row. NaN means that there is none.

    `unparsable` marks rows whose value is there but is no number, such as a text; infinite values
    count as unparsable as well. Whatever `values` has in such a row is ignored.
    """

    values: FloatArray
    unparsable: BoolArray | None = None

    kind: Kind = field(default="number", init=False)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Categories:
    """One category a row, as canonical text. None means that there is none."""

    values: Sequence[str | None]

    kind: Kind = field(default="category", init=False)

    def __len__(self) -> int:
        return len(self.values)


Column: TypeAlias = Numbers | Categories


@dataclass(frozen=True, slots=True)
class Table:
    """n rows as columns.

    columns: by the variable's key. A row that failed has no prediction and no confidence: NaN or
        None there.
    failed: which rows the model failed on; None for none.
    subjects: what each row is about, None where it is not known. None for all unknown.
    probabilities: of a classifier, shape (n, classes); NaN where there are none.
    predicted: of a classifier, the index of the predicted class; -1 where there is none.
    violations: by the text of a declared constraint, which rows break it.

    Raises InvalidTable if a length differs from `rows`.
    """

    rows: int
    columns: Mapping[str, Column] = field(default_factory=dict)
    failed: BoolArray | None = None
    subjects: Sequence[str | None] | None = None
    probabilities: FloatArray | None = None
    predicted: IntArray | None = None
    violations: Mapping[str, BoolArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = {
            "failed": self.failed,
            "subjects": self.subjects,
            "probabilities": self.probabilities,
            "predicted": self.predicted,
            **{f"columns[{key!r}]": column for key, column in self.columns.items()},
            **{f"violations[{key!r}]": rows for key, rows in self.violations.items()},
        }
        for name, part in parts.items():
            if part is not None and len(part) != self.rows:
                raise InvalidTable(f"{name} has {len(part)} rows; the table has {self.rows}")
        if self.probabilities is not None and self.probabilities.ndim != 2:
            raise InvalidTable("probabilities must have two dimensions: rows and classes")
        if self.probabilities is not None and self.predicted is None:
            raise InvalidTable("probabilities need the predicted classes as well")
