"""What a fitted scikit-learn model takes, read from its attributes. No Django here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sklearn.compose import ColumnTransformer
from sklearn.utils import get_tags

from registry.runtimes.base import LoadError
from registry.runtimes.sklearn.composites import (
    branches,
    entries_of,
)
from registry.runtimes.sklearn.datatypes import ColumnKind, agreed, column_kinds
from registry.runtimes.sklearn.layout import ModelInputs
from registry.runtimes.sklearn.missing_values import Handling, missing_value_handling
from registry.signatures.signature import Input

# Estimators take true for 1.
BOOLEANS = ("BOOL",)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the rows that a model was trained on."""

    name: str
    kind: ColumnKind
    handling: Handling

    @property
    def is_nullable(self) -> bool:
        return self.handling.kind in ("accepted", "unused")

    @property
    def is_ambiguous(self) -> bool:
        """Whether several values were missing values in training."""
        return len(self.handling.markers) > 1

    @property
    def never_takes_null(self) -> bool:
        """Whether a declaration cannot make it nullable: null would be an error, or a guess.

        For numbers that the library checks itself, NaN can be nothing else.
        """
        kind = self.handling.kind
        return kind == "refused" or (kind in ("unknown", "passed on") and self.is_text)

    @property
    def is_text(self) -> bool:
        return self.kind.datatype in ("BYTES", "BOOL")

    def as_input(self) -> Input:
        datatype = self.kind.datatype
        alternatives = BOOLEANS if datatype in ("FP64", "INT64") else ()
        return Input(
            self.name, datatype, (-1,), nullable=self.is_nullable, alternatives=alternatives
        )


def read_inputs(model: object) -> ModelInputs:
    """The inputs of a fitted model; raises LoadError if the file does not have their number."""
    entries = list(entries_of(model))
    tags = [get_tags(entry).input_tags for entry in entries]
    if any(tag.dict for tag in tags):
        raise LoadError("the model takes dictionaries (DictVectorizer): use a ColumnTransformer")
    if entries and all(tag.string and not tag.two_d_array for tag in tags):
        text = Input("text", "BYTES", (-1,))
        return ModelInputs("text", (text,), never_null=frozenset(("text",)))
    feature_names = _feature_names(model, entries)
    n_features = _n_features(model, entries, feature_names)
    columns = _read_columns(model, entries, feature_names, n_features)
    if _is_matrix(columns, has_names=bool(feature_names)):
        return _matrix_inputs(columns, feature_names)
    used = _used_columns(entries) if feature_names else None
    inputs = tuple(
        column.as_input() for i, column in enumerate(columns) if used is None or i in used
    )
    return ModelInputs(
        "columns",
        inputs,
        positions={column.name: i for i, column in enumerate(columns)},
        n_columns=n_features,
        markers=_markers(columns),
        object_columns=frozenset(i for i, c in enumerate(columns) if c.kind.is_object),
        text_columns=frozenset(i for i, c in enumerate(columns) if c.kind.datatype == "BYTES"),
        never_null=frozenset(column.name for column in columns if column.never_takes_null),
    )


def _read_columns(
    model: object, entries: Sequence[object], names: Sequence[str], n_features: int
) -> list[Column]:
    names = names or [f"x{i}" for i in range(n_features)]
    kinds = zip(*(column_kinds(entry, n_features, names) for entry in entries), strict=True)
    columns = []
    for i, (name, kind) in enumerate(zip(names, map(agreed, kinds), strict=True)):
        handling = missing_value_handling(model, i)
        # An integer column has gaps only as floats.
        if handling.kind == "accepted" and kind.datatype == "INT64":
            kind = replace(kind, datatype="FP64")
        columns.append(Column(name, kind, handling))
    return columns


def _is_matrix(columns: Sequence[Column], *, has_names: bool) -> bool:
    """Whether the model takes one array of numbers.

    Columns that differ in whether they may be missing are inputs of their own, if they have names.
    """
    if not all(column.kind == ColumnKind("FP64") for column in columns):
        return False
    if not all(isinstance(marker, int | float) for marker in _markers(columns).values()):
        return False
    return not has_names or len({column.is_nullable for column in columns}) == 1


def _matrix_inputs(columns: Sequence[Column], feature_names: tuple[str, ...]) -> ModelInputs:
    nullable = all(column.is_nullable for column in columns)
    shape = (-1, len(columns))
    features = Input("features", "FP64", shape, feature_names, nullable, BOOLEANS)
    return ModelInputs(
        "tensor",
        (features,),
        positions={column.name: i for i, column in enumerate(columns)},
        n_columns=len(columns),
        markers=_markers(columns),
        never_null=frozenset(["features"] if any(c.is_ambiguous for c in columns) else ()),
    )


def _markers(columns: Sequence[Column]) -> dict[int, object]:
    """By position: what stands for a missing value, if that is not NaN."""
    return {
        i: marker
        for i, column in enumerate(columns)
        for marker in column.handling.markers
        if not column.is_ambiguous and not (isinstance(marker, float) and math.isnan(marker))
    }


def _used_columns(entries: list[object]) -> set[int] | None:
    """The columns that rows must have, None for all: a ColumnTransformer ignores those it drops."""
    if not all(isinstance(entry, ColumnTransformer) for entry in entries):
        return None
    return {index for entry in entries for _, columns in branches(entry) for index in columns}


# -- names


def _feature_names(model: object, entries: list[object]) -> tuple[str, ...]:
    for part in (model, *entries):
        names = getattr(part, "feature_names_in_", None)
        if names is not None:
            return tuple(str(name) for name in names)
    return ()


def _n_features(model: object, entries: list[object], feature_names: tuple[str, ...]) -> int:
    for part in (model, *entries):
        n_features = getattr(part, "n_features_in_", None)
        if n_features is not None:
            return int(n_features)
    if any(get_tags(entry).input_tags.one_d_array for entry in entries):
        return 1
    if feature_names:
        return len(feature_names)
    if not hasattr(model, "predict"):
        raise LoadError(
            f"{type(model).__name__} transforms no rows of columns, but labels or images: send a "
            "model that takes rows"
        )
    raise LoadError(
        "the file does not contain how many features the model takes: fit the model again with "
        "this version of scikit-learn"
    )
