"""What a fitted scikit-learn model reveals about its training data. No Django here."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from registry.runtimes.sklearn.composites import branches
from registry.signatures.synthetic_rows import UNSEEN_WORDS, ColumnProfile, ranges_of_thresholds

FittedPart: TypeAlias = Any
"""A fitted estimator, of which only attributes are read; scikit-learn has no type information."""

_NESTED_ESTIMATORS = ("best_estimator_", "estimator_")


def read_profiles(model: FittedPart) -> dict[int, ColumnProfile]:
    """Profiles by the index of a column in the rows that the model was trained on."""
    if isinstance(model, Pipeline):
        return _profile_pipeline([step for _, step in model.steps])
    if isinstance(model, ColumnTransformer):
        return {
            columns[i]: profile
            for part, columns in branches(model)
            if not isinstance(part, str)
            for i, profile in read_profiles(part).items()
        }
    profiles = _profile_attributes(model) or ranges_of_thresholds(_tree_thresholds(model))
    nested = [getattr(model, name, None) for name in _NESTED_ESTIMATORS]
    # Gradient boosting has an array of plain trees, whose thresholds are read above.
    estimators = getattr(model, "estimators_", ())
    nested += estimators[:1] if isinstance(estimators, list) else ()
    for estimator in nested:
        if not profiles and hasattr(estimator, "fit"):
            profiles = read_profiles(estimator)
    return profiles


def _profile_pipeline(steps: Sequence[FittedPart]) -> dict[int, ColumnProfile]:
    """The profiles of the first step, and of the following one if the first only imputes."""
    profiles: dict[int, ColumnProfile] = {}
    for step in steps:
        profiles = read_profiles(step) | profiles
        if not hasattr(step, "statistics_"):
            break
    return profiles


def _profile_attributes(part: FittedPart) -> dict[int, ColumnProfile]:
    def has_arrays(*names: str) -> bool:
        return all(isinstance(getattr(part, name, None), np.ndarray) for name in names)

    if hasattr(part, "categories_"):
        accepts_unknown = getattr(part, "handle_unknown", "ignore") != "error"
        return {
            i: _profile_categories(values, accepts_unknown)
            for i, values in enumerate(part.categories_)
        }
    if hasattr(part, "vocabulary_"):
        return {0: ColumnProfile(words=tuple(part.vocabulary_))}
    if has_arrays("data_min_", "data_max_"):
        return _ranges(part.data_min_, part.data_max_)
    for centre in ("mean_", "center_"):
        if has_arrays(centre, "scale_"):
            width = 3 * part.scale_
            return _ranges(getattr(part, centre) - width, getattr(part, centre) + width)
    for name in ("quantiles_", "_fit_X", "support_vectors_"):
        if has_arrays(name) and getattr(part, name).ndim == 2 and len(getattr(part, name)):
            return _ranges(getattr(part, name).min(axis=0), getattr(part, name).max(axis=0))
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


def _ranges(lows: np.ndarray, highs: np.ndarray) -> dict[int, ColumnProfile]:
    pairs = zip(lows.tolist(), highs.tolist(), strict=True)
    return {i: ColumnProfile(low, high) for i, (low, high) in enumerate(pairs)}
