"""What a fitted scikit-learn model does with missing values. No Django here."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

from registry.runtimes.sklearn.composites import (
    branches,
    inner_estimators,
    is_composite,
    is_float_check,
    pipeline_steps,
    union_parts,
)
from registry.runtimes.sklearn.layout import Marker
from registry.runtimes.sklearn.structure import parts_of

Kind: TypeAlias = Literal["accepted", "ignored", "unused", "refused", "unknown", "passed on"]
"""What a step does with a missing value: handle it as in training; treat it as any category that it
does not know; leave out its column; refuse it or give it several meanings; decide when it is
called; or hand it to the next step.
"""


@dataclass(frozen=True, slots=True)
class Handling:
    """What a step does with missing values, and the distinct markers that it takes for missing.

    `is_unchanged` says that a step passes the marker on as it is, not as the NaN of a number.
    """

    kind: Kind
    markers: tuple[Marker, ...] = ()
    is_unchanged: bool = False


_NAN = (math.nan,)
# Stands for the missing values that an imputer did not take for missing.
_BEHIND_IMPUTER = ("behind the imputer",)
_PASSED_UNCHANGED = Handling("passed on", is_unchanged=True)


def missing_value_handling(model: object, column: int | None = None) -> Handling:
    """What the model does with missing values in one of its columns, or in any."""
    if isinstance(model, Pipeline):
        return _handling_by_steps(pipeline_steps(model), column)
    if isinstance(model, ColumnTransformer):
        return _combined(
            missing_value_handling(part, position)
            for part, columns in branches(model)
            for position, index in enumerate(columns)
            if column in (None, index)
        )
    if isinstance(model, FeatureUnion):
        return _combined(missing_value_handling(part, column) for part in union_parts(model))
    if model == "passthrough":
        return _PASSED_UNCHANGED
    if isinstance(model, FunctionTransformer) and (model.func is None or is_float_check(model)):
        return _PASSED_UNCHANGED
    if isinstance(model, FunctionTransformer) and not model.validate:
        return Handling("passed on" if isinstance(model.func, np.ufunc) else "unknown")
    categories = getattr(model, "categories_", None)
    if isinstance(categories, list):
        return _handling_by_categories(model, categories, column)
    if isinstance(model, SimpleImputer | KNNImputer | MissingIndicator) or _is_iterative(model):
        return _handling_by_imputer(model, column)
    if any(is_composite(part) for part, _ in inner_estimators(model)):
        return _handling_by_inner(model, column)
    return _handling_by_tags(model)


def known_markers(values: np.ndarray) -> tuple[Marker, ...]:
    """NaN and None, as far as an encoder has them among its categories."""
    objects = values.tolist()
    nan = _NAN if any(isinstance(v, float) and math.isnan(v) for v in objects) else ()
    return (*nan, None) if any(value is None for value in objects) else nan


# -- several steps


def _handling_by_steps(steps: Sequence[object], column: int | None) -> Handling:
    """What a pipeline does. Only its first step has the columns of the rows."""
    markers: tuple[Marker, ...] = ()
    is_unchanged = True
    for i, step in enumerate(steps):
        handling = missing_value_handling(step, column if is_unchanged else None)
        if not is_unchanged and any(not _is_nan(marker) for marker in handling.markers):
            return Handling("refused")
        markers = _distinct((*markers, *handling.markers))
        if handling.kind == "passed on":
            is_unchanged = is_unchanged and handling.is_unchanged
            continue
        if _imputes_objects(step, column) and _lets_through(step, steps[i + 1 :], column):
            return Handling("refused", (*markers, *_BEHIND_IMPUTER))
        return _unambiguous(handling.kind, markers)
    return _unambiguous("passed on", markers, is_unchanged=is_unchanged)


def _imputes_objects(step: object, column: int | None) -> bool:
    """Whether a step imputes that column in an array of objects, which NaN and None are both in."""
    if isinstance(step, ColumnTransformer):
        return any(
            _imputes_objects(part, position)
            for part, columns in branches(step)
            for position, index in enumerate(columns)
            if column in (None, index)
        )
    if isinstance(step, Pipeline):
        return any(_imputes_objects(inner, None) for inner in pipeline_steps(step))
    # Without the attribute, in a file of an old version, it may have been anything.
    dtype = getattr(step, "_fit_dtype", np.dtype(object))
    return isinstance(step, SimpleImputer) and dtype.kind == "O"


def _lets_through(imputer: object, steps: Sequence[object], column: int | None) -> bool:
    """Whether an encoder behind an imputer knows missing values: None, which is not NaN to the
    imputer, was one in training.
    """
    categories = getattr(steps[0], "categories_", None) if steps else None
    width = len(getattr(imputer, "statistics_", ()))
    if column is not None and isinstance(categories, list) and len(categories) == width:
        return bool(known_markers(categories[column]))
    return any(
        known_markers(values)
        for step in steps
        for part in parts_of(step)
        for values in getattr(part, "categories_", None) or ()
    )


def _combined(handlings: Iterable[Handling]) -> Handling:
    """What parts do together that each take the column."""
    parts = list(handlings)
    kinds = {part.kind for part in parts}
    order: tuple[Kind, ...] = ("refused", "unknown", "passed on", "accepted", "ignored")
    kind: Kind = next((kind for kind in order if kind in kinds), "unused")
    return _unambiguous(
        kind,
        _distinct(marker for part in parts for marker in part.markers),
        is_unchanged=all(part.is_unchanged for part in parts if part.kind == "passed on"),
    )


def _unambiguous(
    kind: Kind, markers: tuple[Marker, ...], *, is_unchanged: bool = False
) -> Handling:
    """A handling of one marker; with several, it is not known which one null means."""
    return Handling("refused" if len(markers) > 1 else kind, markers, is_unchanged)


def _handling_by_inner(model: object, column: int | None) -> Handling:
    """What a meta-estimator does: what the estimators do to which it passes its rows."""
    if getattr(model, "passthrough", False):
        # Its final estimator also takes the rows themselves, and may do anything with them.
        return Handling("refused")
    handling = _combined(
        missing_value_handling(part, _index_in(columns, column))
        for part, columns in inner_estimators(model)
        if columns is None or column is None or column in columns
    )
    if handling.kind != "passed on":
        return handling
    final = _handling_by_tags(model)
    return _unambiguous(final.kind, _distinct((*handling.markers, *final.markers)))


def _index_in(columns: Sequence[int] | None, column: int | None) -> int | None:
    return column if columns is None or column is None else columns.index(column)


# -- one step


def _handling_by_categories(
    encoder: object, categories: Sequence[np.ndarray], column: int | None
) -> Handling:
    if column is None:
        return _combined(
            _handling_by_categories(encoder, categories, i) for i in range(len(categories))
        )
    markers = known_markers(categories[column])
    if markers:
        is_passed_on = _is_nan(getattr(encoder, "encoded_missing_value", None))
        return _unambiguous("passed on" if is_passed_on else "accepted", markers)
    if getattr(encoder, "handle_unknown", "ignore") == "error":
        return Handling("refused")
    is_passed_on = _is_nan(getattr(encoder, "unknown_value", None))
    return Handling("passed on" if is_passed_on else "ignored")


def _handling_by_imputer(imputer: object, column: int | None) -> Handling:
    markers = (getattr(imputer, "missing_values", math.nan),)
    if not isinstance(imputer, MissingIndicator) or imputer.features == "all":
        return Handling("accepted", markers)
    is_known = column is not None and column in imputer.features_
    # Gaps in other columns are either an error or not shown at all.
    return Handling("refused" if imputer.error_on_new and not is_known else "accepted", markers)


def _handling_by_tags(model: object) -> Handling:
    tags = get_tags(model).input_tags
    if not tags.allow_nan or tags.categorical:
        is_known = type(model).__module__.startswith("sklearn.")
        return Handling("refused" if is_known else "unknown")
    if not hasattr(model, "predict"):
        return Handling("passed on")
    # XGBoost's own marker, which may be a number.
    marker = getattr(model, "missing", math.nan)
    return Handling("accepted", () if _is_nan(marker) else (marker,))


def _is_iterative(part: object) -> bool:
    # Importing the class needs a switch for experimental features.
    return type(part).__name__ == "IterativeImputer"


# -- markers


def _is_nan(marker: Marker) -> bool:
    return isinstance(marker, float) and math.isnan(marker)


def _distinct(markers: Iterable[Marker]) -> tuple[Marker, ...]:
    return tuple(_each_once(markers))


def _each_once(markers: Iterable[Marker]) -> Iterator[Marker]:
    seen: set[Marker] = set()
    for marker in markers:
        key = "NaN" if _is_nan(marker) else (marker,)
        if key not in seen:
            seen.add(key)
            yield marker
