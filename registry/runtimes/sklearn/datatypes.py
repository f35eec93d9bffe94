"""The datatypes of the columns that a fitted scikit-learn model takes. No Django here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

from registry.runtimes.base import LoadError
from registry.runtimes.sklearn.composites import (
    branches,
    entries_of,
    is_float_check,
    pipeline_steps,
)

_DATATYPES_BY_KIND = {"U": "BYTES", "b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64"}
# What no JSON value stands for. Declared as text, such a column would match no category.
_REFUSED_KINDS = {"M": "dates", "m": "durations", "c": "complex numbers", "S": "bytes"}


@dataclass(frozen=True, slots=True)
class ColumnKind:
    """The datatype of a column, None if the file does not show it, and whether its numbers or
    booleans were an array of objects, as in a data frame that holds None among them.
    """

    datatype: str | None
    is_object: bool = False


UNKNOWN = ColumnKind(None)
NUMBERS = ColumnKind("FP64")
TEXT = ColumnKind("BYTES")


def column_kinds(part: object, n_columns: int, names: Sequence[str]) -> Sequence[ColumnKind]:
    """The kind of each column that a part takes; raises LoadError for one that cannot be sent."""
    if isinstance(part, Pipeline):
        first = next(iter(pipeline_steps(part)), None)
        return [UNKNOWN] * n_columns if first is None else column_kinds(first, n_columns, names)
    if isinstance(part, ColumnTransformer):
        return _kinds_by_branches(part, names)
    categories = getattr(part, "categories_", None)
    if isinstance(categories, list) and len(categories) == n_columns:
        return [_kind_of_values(*pair) for pair in zip(categories, names, strict=True)]
    if isinstance(part, SimpleImputer):
        return _kinds_of_imputer(part, names)
    if isinstance(part, FunctionTransformer) and not part.validate:
        return [UNKNOWN if part.func is None else NUMBERS] * n_columns
    tags = get_tags(part)
    is_numeric = tags.input_tags.two_d_array or tags.input_tags.one_d_array
    if tags.input_tags.string or (tags.input_tags.categorical and not hasattr(part, "predict")):
        is_numeric = False
    return [NUMBERS if is_numeric else UNKNOWN] * n_columns


def agreed(kinds: Sequence[ColumnKind]) -> ColumnKind:
    """The kind of a column that several parts take, unknown unless they agree."""
    datatypes = {kind.datatype for kind in kinds if kind.datatype is not None}
    if len(datatypes) > 1 and datatypes <= {"INT64", "FP64"}:
        datatypes = {"FP64"}
    datatype = datatypes.pop() if len(datatypes) == 1 else None
    return ColumnKind(datatype, any(kind.is_object for kind in kinds))


def _kinds_by_branches(
    transformer: ColumnTransformer, names: Sequence[str]
) -> Sequence[ColumnKind]:
    found: list[list[ColumnKind]] = [[] for _ in names]
    for branch, columns in branches(transformer):
        inner = _kinds_of_branch(branch, [names[index] for index in columns])
        for index, kind in zip(columns, inner, strict=True):
            found[index].append(kind)
    return [agreed(kinds) for kinds in found]


def _kinds_of_branch(branch: object, names: Sequence[str]) -> Sequence[ColumnKind]:
    n_columns = len(names)
    if is_float_check(branch):
        return [NUMBERS] * n_columns
    entries = list(entries_of(branch))
    # Columns that pass through may be anything that the next step takes.
    if not entries or branch == "passthrough":
        return [UNKNOWN] * n_columns
    tags = [get_tags(entry).input_tags for entry in entries]
    if any(tag.string and not tag.two_d_array for tag in tags):
        return [TEXT] * n_columns
    kinds = [column_kinds(entry, n_columns, names) for entry in entries]
    return [agreed(column) for column in zip(*kinds, strict=True)]


def _kinds_of_imputer(imputer: SimpleImputer, names: Sequence[str]) -> Sequence[ColumnKind]:
    is_object = getattr(imputer, "_fit_dtype", np.dtype(float)).kind == "O"
    kinds = [
        _kind_of_values(np.asarray([value]), name)
        for value, name in zip(imputer.statistics_, names, strict=True)
    ]
    # The fill value of a column of numbers may be a text, and then shows nothing.
    if imputer.strategy == "constant" and is_object:
        kinds = [kind if kind.datatype == "BYTES" else UNKNOWN for kind in kinds]
    return [ColumnKind(kind.datatype, is_object and kind.datatype != "BYTES") for kind in kinds]


def _kind_of_values(values: np.ndarray, column: str) -> ColumnKind:
    """The kind of a column in which an encoder or imputer has seen these values."""
    _refuse(_REFUSED_KINDS.get(values.dtype.kind), column)
    if values.dtype.kind != "O":
        return ColumnKind(_DATATYPES_BY_KIND.get(values.dtype.kind))
    objects = values.tolist()
    present = [v for v in objects if not (v is None or (isinstance(v, float) and math.isnan(v)))]
    has_gaps = len(present) < len(objects)
    if not present:
        return UNKNOWN
    if all(isinstance(value, str) for value in present):
        return TEXT
    if all(isinstance(value, bool | np.bool_) for value in present):
        return ColumnKind("BOOL", is_object=True)
    if all(isinstance(value, int | float | np.number) for value in present):
        is_integer = all(isinstance(value, int | np.integer) for value in present)
        return ColumnKind("INT64" if is_integer and not has_gaps else "FP64", is_object=True)
    other = next(type(v) for v in present if not isinstance(v, str | int | float | np.number))
    _refuse(f"values of the type {other.__name__}", column)
    return UNKNOWN


def _refuse(what: str | None, column: str) -> None:
    if what is not None:
        raise LoadError(
            f"the model was trained on {what} in the column '{column}', which JSON does not have: "
            "train it on numbers or texts made of them, such as a year, days since a date or "
            "'2026-11-25'"
        )
