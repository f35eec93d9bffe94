"""Synthetic rows that fit a signature and resemble a model's training data. No Django here.

What the training data looked like is read from the model's attributes. No framework is imported.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from registry.signatures.signature import Input, Signature

SourceModel: TypeAlias = Any
"""A fitted estimator or a Booster; the frameworks have no type information."""

SEED = 0
MISSING_SHARE = 0.1
UNSEEN_WORDS = ("unseen", "Straße", "N7")
# Scales of the normally distributed values of a column about which the model says nothing.
MAGNITUDES = (0.1, 1.0, 10.0, 100.0)
# How far values may lie outside of the known range, as a share of its width.
MARGIN_SHARE = 0.25
MAX_WORDS_PER_TEXT = 8
MAX_THRESHOLD = 1e30
_NESTED_ESTIMATORS = ("best_estimator_", "estimator_")


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """A column's values: `choices` or else numbers from `low` to `high`, or texts of `words`."""

    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()
    words: tuple[str, ...] = ()


Profiles: TypeAlias = dict[int, ColumnProfile]
"""By the index of a column. Columns about which the model says nothing are left out."""


def synthesize_rows(
    model: SourceModel, signature: Signature, n_rows: int
) -> list[dict[str, list[object]]]:
    """n rows of `input_data` for the model with this signature; the same ones on every call."""
    random = np.random.default_rng(SEED)
    profiles = _profile(model)
    indexes = {str(name): i for i, name in enumerate(getattr(model, "feature_names_in_", ()))}
    columns: list[Sequence[object]] = []
    for tensor in signature.inputs:
        # A scalar input is one column of a table, of which the model may use only some columns.
        first = indexes.get(tensor.name, len(columns)) if tensor.is_scalar else 0
        for i in range(max(1, abs(int(np.prod(tensor.row_shape))))):
            columns.append(_column(random, tensor, profiles.get(first + i), n_rows))
    return [{"features": list(row)} for row in zip(*columns, strict=True)]


def with_missing_values(
    signature: Signature, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray] | None:
    """The arranged rows with some values missing in every nullable input, the same on every call.

    None if no input is nullable.
    """
    random = np.random.default_rng(SEED)
    result = dict(inputs)
    for tensor in signature.inputs:
        if tensor.nullable:
            values = inputs[tensor.name]
            is_missing = random.random(values.size).reshape(values.shape) < MISSING_SHARE
            result[tensor.name] = values.copy()
            result[tensor.name][is_missing] = None if values.dtype == object else np.nan
    return result if any(tensor.nullable for tensor in signature.inputs) else None


# -- values of a column


def _column(
    random: np.random.Generator, tensor: Input, profile: ColumnProfile | None, n_rows: int
) -> Sequence[object]:
    if tensor.datatype == "BYTES":
        return _texts(random, profile or ColumnProfile(), n_rows)
    if tensor.datatype == "BOOL":
        booleans: list[bool] = (random.random(n_rows) < 0.5).tolist()
        return booleans
    numbers = _numbers(random, profile, n_rows)
    if tensor.datatype in ("FP32", "FP64"):
        return numbers
    return [round(number) for number in numbers]


def _texts(random: np.random.Generator, profile: ColumnProfile, n_rows: int) -> list[str]:
    if profile.choices:
        return [str(profile.choices[i]) for i in random.integers(len(profile.choices), size=n_rows)]
    words = np.array([*profile.words, *(word.upper() for word in profile.words), *UNSEEN_WORDS])
    return [
        " ".join(random.choice(words, size=random.integers(1, MAX_WORDS_PER_TEXT + 1)).tolist())
        for _ in range(n_rows)
    ]


def _numbers(
    random: np.random.Generator, profile: ColumnProfile | None, n_rows: int
) -> list[float]:
    numbers: list[float]
    if profile is None:
        numbers = (random.standard_normal(n_rows) * random.choice(MAGNITUDES, n_rows)).tolist()
    elif profile.choices:
        numbers = [profile.choices[i] for i in random.integers(len(profile.choices), size=n_rows)]
    else:
        margin = MARGIN_SHARE * (profile.high - profile.low) or max(1.0, abs(profile.low))
        numbers = random.uniform(profile.low - margin, profile.high + margin, n_rows).tolist()
    return numbers


# -- what a model reveals about its training data


def _profile(model: SourceModel) -> Profiles:
    if hasattr(model, "get_dump"):
        return _profile_xgboost(model)
    if hasattr(model, "dump_model"):
        return _profile_lightgbm(model)
    if hasattr(model, "steps"):
        return _profile_pipeline([step for _, step in model.steps])
    if hasattr(model, "transformers_"):
        return _profile_column_transformer(model)
    profiles = _profile_attributes(model) or _ranges_of_thresholds(_tree_thresholds(model))
    nested = [getattr(model, name, None) for name in _NESTED_ESTIMATORS]
    nested += list(getattr(model, "estimators_", ()))[:1]
    for estimator in nested:
        if not profiles and hasattr(estimator, "fit"):
            profiles = _profile(estimator)
    return profiles


def _profile_pipeline(steps: Sequence[SourceModel]) -> Profiles:
    """The profiles of the first step, and of the following one if the first only imputes."""
    profiles: Profiles = {}
    for step in steps:
        profiles = _profile(step) | profiles
        if not hasattr(step, "statistics_"):
            break
    return profiles


def _profile_column_transformer(transformer: SourceModel) -> Profiles:
    indexes: Mapping[str, Sequence[int]] = transformer._transformer_to_input_indices
    return {
        list(indexes[name])[i]: profile
        for name, part, _ in transformer.transformers_
        if not isinstance(part, str)
        for i, profile in _profile(part).items()
    }


def _profile_attributes(part: SourceModel) -> Profiles:
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


def _profile_xgboost(booster: SourceModel) -> Profiles:
    names = booster.feature_names or [f"f{i}" for i in range(booster.num_features())]
    indexes = {name: i for i, name in enumerate(names)}
    thresholds = []
    nodes = [json.loads(tree) for tree in booster.get_dump(dump_format="json")]
    while nodes:
        node = nodes.pop()
        nodes.extend(node.get("children", ()))
        if isinstance(node.get("split_condition"), int | float):
            thresholds.append((indexes[node["split"]], float(node["split_condition"])))
    return _ranges_of_thresholds(thresholds)


def _profile_lightgbm(booster: SourceModel) -> Profiles:
    infos = booster.dump_model(num_iteration=1)["feature_infos"]
    return {
        i: ColumnProfile(info["min_value"], info["max_value"], tuple(info.get("values", ())))
        for i, name in enumerate(booster.feature_name())
        if (info := infos.get(name))
    }


def _tree_thresholds(model: SourceModel) -> Iterator[tuple[int, float]]:
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


def _ranges(lows: np.ndarray, highs: np.ndarray) -> Profiles:
    pairs = zip(lows.tolist(), highs.tolist(), strict=True)
    return {i: ColumnProfile(low, high) for i, (low, high) in enumerate(pairs)}


def _ranges_of_thresholds(thresholds: Iterable[tuple[int, float]]) -> Profiles:
    profiles: Profiles = {}
    for column, value in thresholds:
        # A split between present and missing values has no finite threshold.
        if not abs(value) <= MAX_THRESHOLD:
            continue
        known = profiles.get(column, ColumnProfile(value, value))
        profiles[column] = ColumnProfile(min(known.low, value), max(known.high, value))
    return profiles
