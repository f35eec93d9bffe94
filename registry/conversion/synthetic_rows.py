"""Made-up rows that fit a signature, spread over what a model tells of its training rows. No Django
here.

Nothing is imported of the frameworks: their models are asked for attributes they may have.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from registry.signatures.signature import Input, Signature

SEED = 0
MISSING_SHARE = 0.1
UNSEEN_WORDS = ("unseen", "Straße", "N7")
MAGNITUDES = (0.1, 1.0, 10.0, 100.0)
# How far past the known range rows go, as a share of its width.
MARGIN = 0.25
WORDS_A_TEXT = 8
MAX_POINT = 1e30
_INNER_ATTRIBUTES = ("best_estimator_", "estimator_")


@dataclass(frozen=True, slots=True)
class Spread:
    """The values one column takes: numbers between two, some of a list, or texts of some words."""

    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()
    words: tuple[str, ...] = ()


Spreads: TypeAlias = dict[int, Spread]


def make_rows(model: Any, signature: Signature, n_rows: int) -> list[dict[str, list[Any]]]:
    """`input_data` rows for the signature of this model: a fitted estimator, or a Booster.

    Numeric columns of which the model tells nothing are standard normal, by several magnitudes.
    """
    random = np.random.default_rng(SEED)
    spreads = _spreads(model)
    places = {str(name): i for i, name in enumerate(getattr(model, "feature_names_in_", ()))}
    columns: list[list[Any]] = []
    for tensor in signature.inputs:
        # Scalars are named as the columns of a table that may have more than the model uses.
        first = places.get(tensor.name, len(columns)) if tensor.is_scalar else 0
        for i in range(max(1, abs(int(np.prod(tensor.row_shape))))):
            columns.append(_column(random, tensor, spreads.get(first + i), n_rows))
    return [{"features": list(row)} for row in zip(*columns, strict=True)]


def _column(
    random: np.random.Generator, tensor: Input, spread: Spread | None, n_rows: int
) -> list[Any]:
    if tensor.datatype == "BYTES":
        values = _texts(random, spread or Spread(), n_rows)
    elif tensor.datatype == "BOOL":
        values = (random.random(n_rows) < 0.5).tolist()
    else:
        values = _numbers(random, spread, n_rows)
        if tensor.datatype not in ("FP32", "FP64"):
            values = [round(value) for value in values]
    return values


def _texts(random: np.random.Generator, spread: Spread, n_rows: int) -> list[Any]:
    if spread.choices:
        return [str(spread.choices[i]) for i in random.integers(len(spread.choices), size=n_rows)]
    words = np.array([*spread.words, *(word.upper() for word in spread.words), *UNSEEN_WORDS])
    return [
        " ".join(random.choice(words, size=random.integers(1, WORDS_A_TEXT + 1)).tolist())
        for _ in range(n_rows)
    ]


def _numbers(random: np.random.Generator, spread: Spread | None, n_rows: int) -> list[Any]:
    if spread is None:
        return (random.standard_normal(n_rows) * random.choice(MAGNITUDES, n_rows)).tolist()
    if spread.choices:
        return [spread.choices[i] for i in random.integers(len(spread.choices), size=n_rows)]
    margin = MARGIN * (spread.high - spread.low) or max(1.0, abs(spread.low))
    return random.uniform(spread.low - margin, spread.high + margin, n_rows).tolist()


def with_gaps(
    signature: Signature, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray] | None:
    """The arranged rows with some values missing in every input that takes such, always the same
    ones; None where no input does.
    """
    random = np.random.default_rng(SEED)
    gapped = dict(inputs)
    for tensor in signature.inputs:
        if tensor.nullable:
            values = inputs[tensor.name]
            is_gap = random.random(values.size).reshape(values.shape) < MISSING_SHARE
            gapped[tensor.name] = values.copy()
            gapped[tensor.name][is_gap] = None if values.dtype == object else np.nan
    return gapped if any(tensor.nullable for tensor in signature.inputs) else None


# -- what a model tells


def _spreads(model: Any) -> Spreads:
    """By the place of a column, for those that the model tells something of."""
    if hasattr(model, "get_dump"):
        return _of_xgboost(model)
    if hasattr(model, "dump_model"):
        return _of_lightgbm(model)
    if hasattr(model, "steps"):
        return _of_steps([step for _, step in model.steps])
    if hasattr(model, "transformers_"):
        return _of_columns(model)
    own = _of_attributes(model) or _between(_tree_points(model))
    inside = [getattr(model, name, None) for name in _INNER_ATTRIBUTES]
    inside += list(getattr(model, "estimators_", ()))[:1]
    for part in inside:
        if not own and hasattr(part, "fit"):
            own = _spreads(part)
    return own


def _of_steps(steps: Sequence[Any]) -> Spreads:
    """Of the first step; of the second too where the first only fills gaps."""
    told: Spreads = {}
    for step in steps:
        told = _spreads(step) | told
        if not hasattr(step, "statistics_"):
            break
    return told


def _of_columns(transformer: Any) -> Spreads:
    places: Mapping[str, Sequence[int]] = transformer._transformer_to_input_indices
    return {
        list(places[name])[place]: spread
        for name, part, _ in transformer.transformers_
        if not isinstance(part, str)
        for place, spread in _spreads(part).items()
    }


def _of_attributes(part: Any) -> Spreads:
    def told(*names: str) -> bool:
        return all(isinstance(getattr(part, name, None), np.ndarray) for name in names)

    if hasattr(part, "categories_"):
        is_open = getattr(part, "handle_unknown", "ignore") != "error"
        return {i: _of_categories(v, is_open) for i, v in enumerate(part.categories_)}
    if hasattr(part, "vocabulary_"):
        return {0: Spread(words=tuple(part.vocabulary_))}
    if told("data_min_", "data_max_"):
        return _ranges(part.data_min_, part.data_max_)
    for centre in ("mean_", "center_"):
        if told(centre, "scale_"):
            width = 3 * part.scale_
            return _ranges(getattr(part, centre) - width, getattr(part, centre) + width)
    for name in ("quantiles_", "_fit_X", "support_vectors_"):
        if told(name) and getattr(part, name).ndim == 2 and len(getattr(part, name)):
            return _ranges(getattr(part, name).min(axis=0), getattr(part, name).max(axis=0))
    return {}


def _of_categories(values: Any, is_open: bool) -> Spread:
    known = [v for v in np.asarray(values).tolist() if v is not None and v == v]
    if is_open and known and not isinstance(known[0], bool):
        known.append(UNSEEN_WORDS[0] if isinstance(known[0], str) else max(known) + 1)
    return Spread(choices=tuple(known))


def _ranges(lows: np.ndarray, highs: np.ndarray) -> Spreads:
    pairs = zip(lows.tolist(), highs.tolist(), strict=True)
    return {i: Spread(low, high) for i, (low, high) in enumerate(pairs)}


def _between(points: Iterable[tuple[int, float]]) -> Spreads:
    spreads: Spreads = {}
    for column, value in points:
        # A split between present and missing values has no finite threshold.
        if not abs(value) <= MAX_POINT:
            continue
        seen = spreads.get(column, Spread(value, value))
        spreads[column] = Spread(min(seen.low, value), max(seen.high, value))
    return spreads


def _tree_points(model: Any) -> Iterator[tuple[int, float]]:
    """The thresholds of scikit-learn's trees, each with its column."""
    parts = getattr(model, "estimators_", (model,))
    # Gradient boosting keeps an array of them, one column a class.
    for tree in parts.ravel() if isinstance(parts, np.ndarray) else parts:
        if hasattr(tree, "tree_"):
            is_split = tree.tree_.feature >= 0
            columns, values = tree.tree_.feature[is_split], tree.tree_.threshold[is_split]
            yield from zip(columns.tolist(), values.tolist(), strict=True)
    for stage in getattr(model, "_predictors", ()):
        for predictor in stage:
            nodes = predictor.nodes[~predictor.nodes["is_leaf"].astype(bool)]
            columns, values = nodes["feature_idx"], nodes["num_threshold"]
            yield from zip(columns.tolist(), values.tolist(), strict=True)


def _of_xgboost(booster: Any) -> Spreads:
    names = booster.feature_names or [f"f{i}" for i in range(booster.num_features())]
    places = {name: i for i, name in enumerate(names)}
    points = []
    nodes = [json.loads(tree) for tree in booster.get_dump(dump_format="json")]
    while nodes:
        node = nodes.pop()
        nodes.extend(node.get("children", ()))
        if isinstance(node.get("split_condition"), int | float):
            points.append((places[node["split"]], float(node["split_condition"])))
    return _between(points)


def _of_lightgbm(booster: Any) -> Spreads:
    infos = booster.dump_model(num_iteration=1)["feature_infos"]
    return {
        place: Spread(info["min_value"], info["max_value"], tuple(info.get("values", ())))
        for place, name in enumerate(booster.feature_name())
        if (info := infos.get(name))
    }
