"""What a fitted scikit-learn model reveals about its training data. No Django here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from registry.runtimes.sklearn.composites import (
    branches,
    inner_estimators,
    is_composite,
    pipeline_steps,
    union_parts,
)
from registry.signatures.synthetic_rows import UNSEEN_WORDS, ColumnProfile, ranges_of_thresholds

FittedPart: TypeAlias = Any
"""A fitted estimator, of which only attributes are read; scikit-learn has no type information."""

Category: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class KnownColumn:
    """What a model knows about a column; with `is_closed`, it refuses all but the choices."""

    profile: ColumnProfile
    is_closed: bool = False


def read_profiles(model: FittedPart) -> dict[int, ColumnProfile]:
    """Profiles by the index of a column in the rows that the model was trained on."""
    return {i: known.profile for i, known in _known_columns(model).items()}


def closed_columns(model: FittedPart) -> dict[int, tuple[Category, ...]]:
    """By the index of a column: the only categories that the model takes in it."""
    return {i: k.profile.choices for i, k in _known_columns(model).items() if k.is_closed}


def _known_columns(model: FittedPart) -> dict[int, KnownColumn]:
    if isinstance(model, Pipeline):
        return _known_by_steps(pipeline_steps(model))
    if isinstance(model, ColumnTransformer):
        return _merged(
            {columns[i]: known for i, known in _known_columns(part).items()}
            for part, columns in branches(model)
            if not isinstance(part, str)
        )
    if isinstance(model, FeatureUnion):
        return _merged(_known_columns(p) for p in union_parts(model) if not isinstance(p, str))
    inner = inner_estimators(model)
    if any(is_composite(part) for part, _ in inner):
        # Each fold of a cross-validation may know other categories.
        return _merged(
            {i if at is None else at[i]: known for i, known in _known_columns(part).items()}
            for part, at in inner
        )
    known = _known_by_attributes(model)
    if not known:
        profiles = ranges_of_thresholds(_tree_thresholds(model))
        known = {i: KnownColumn(profile) for i, profile in profiles.items()}
    return known or next((_known_columns(part) for part, at in inner if at is None), {})


def _known_by_steps(steps: Sequence[FittedPart]) -> dict[int, KnownColumn]:
    """What the first step knows, and the following one if the first only imputes."""
    known: dict[int, KnownColumn] = {}
    for step in steps:
        known = _known_columns(step) | known
        if not hasattr(step, "statistics_"):
            break
    return known


def _merged(parts: Iterable[Mapping[int, KnownColumn]]) -> dict[int, KnownColumn]:
    """What several parts know that each take the columns: values that suit all of them."""
    merged: dict[int, KnownColumn] = {}
    for part in parts:
        for i, known in part.items():
            merged[i] = _common(merged[i], known) if i in merged else known
    return merged


def _common(one: KnownColumn, other: KnownColumn) -> KnownColumn:
    if not (one.profile.choices and other.profile.choices):
        return one if one.profile.choices or not other.profile.choices else other
    choices = tuple(value for value in one.profile.choices if value in other.profile.choices)
    is_closed = one.is_closed or other.is_closed
    if not choices:
        return one if one.is_closed else other
    return KnownColumn(ColumnProfile(choices=choices), is_closed)


def _known_by_attributes(part: FittedPart) -> dict[int, KnownColumn]:
    def has_arrays(*names: str) -> bool:
        return all(isinstance(getattr(part, name, None), np.ndarray) for name in names)

    if hasattr(part, "categories_"):
        is_closed = getattr(part, "handle_unknown", "ignore") == "error"
        return {
            i: KnownColumn(_profile_categories(values, not is_closed), is_closed)
            for i, values in enumerate(part.categories_)
        }
    if hasattr(part, "vocabulary_"):
        return {0: KnownColumn(ColumnProfile(words=tuple(part.vocabulary_)))}
    if has_arrays("data_min_", "data_max_"):
        return _ranges(part.data_min_, part.data_max_)
    for centre in ("mean_", "center_"):
        if has_arrays(centre, "scale_"):
            width = 3 * part.scale_
            return _ranges(getattr(part, centre) - width, getattr(part, centre) + width)
    for name in ("quantiles_", "_fit_X", "support_vectors_"):
        if has_arrays(name) and getattr(part, name).ndim == 2 and len(getattr(part, name)):
            # The training rows of an imputer have gaps.
            rows = np.nan_to_num(getattr(part, name), nan=0.0)
            return _ranges(rows.min(axis=0), rows.max(axis=0))
    return {}


def _profile_categories(values: Sequence[object], accepts_unknown: bool) -> ColumnProfile:
    known = [v for v in np.asarray(values).tolist() if v is not None and v == v]
    if accepts_unknown and known and not isinstance(known[0], bool):
        known.append(UNSEEN_WORDS[0] if isinstance(known[0], str) else max(known) + 1)
    return ColumnProfile(choices=tuple(known))


def _tree_thresholds(model: FittedPart) -> Iterator[tuple[int, float]]:
    """The column and threshold of every split in scikit-learn's trees."""
    trees = getattr(model, "estimators_", (model,))
    # Gradient boosting has an array of trees with one column per class.
    for tree in trees.ravel() if isinstance(trees, np.ndarray) else trees:
        if hasattr(tree, "tree_"):
            is_split = tree.tree_.feature >= 0
            columns, values = tree.tree_.feature[is_split], tree.tree_.threshold[is_split]
            yield from zip(columns.tolist(), values.tolist(), strict=True)
    for stage in getattr(model, "_predictors", ()):
        for predictor in stage:
            nodes = predictor.nodes[~predictor.nodes["is_leaf"].astype(bool)]
            columns, values = nodes["feature_idx"], nodes["num_threshold"]
            yield from zip(columns.tolist(), values.tolist(), strict=True)


def _ranges(lows: np.ndarray, highs: np.ndarray) -> dict[int, KnownColumn]:
    pairs = zip(lows.tolist(), highs.tolist(), strict=True)
    return {i: KnownColumn(ColumnProfile(low, high)) for i, (low, high) in enumerate(pairs)}
