"""Shapley values of one row over a background, for any function of its features. No Django here.

The value of a set of features is the function's mean over the background rows, with these features
as in the explained row (the interventional expectation; Lundberg and Lee 2017). Of few features all
sets are evaluated. Of more, orders of the features are drawn, each followed forwards and backwards
(antithetic permutation sampling; Mitchell et al. 2022). Either way the contributions add up to the
function's value less its mean over the background, up to rounding.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Evaluate: TypeAlias = Callable[[npt.NDArray[np.bool_], npt.NDArray[np.intp]], Floats]
"""The function's values (m, k) for m mixed rows: which of the f features are those of the explained
row, (m, f), and which background row the others are from, (m,).
"""

# With more features, their sets are more than can be evaluated.
MAX_EXACT_FEATURES = 8
SEED = 20260101


@dataclass(frozen=True, slots=True)
class ShapleyValues:
    """The means over the background (k,), the contributions (k, f), and their standard errors of
    the same shape, None if they are exact.
    """

    base: Floats
    contributions: Floats
    standard_errors: Floats | None = None


def shapley_values(
    evaluate: Evaluate, n_features: int, n_background: int, max_rows: int
) -> ShapleyValues:
    """Explain a row by evaluating about `max_rows` mixed rows, always the same ones.

    More rows are evaluated only if a single order for each background row needs them.
    """
    if n_features <= MAX_EXACT_FEATURES:
        return _exact(evaluate, n_features, n_background)
    n_orders = max(2, max_rows // (2 * n_features * n_background))
    return _sampled(evaluate, n_features, n_background, n_orders)


def additive_values(evaluate: Evaluate, n_features: int, n_background: int) -> ShapleyValues:
    """The same for a function that is a sum of functions of one feature each: exactly, by
    replacing one feature at a time.
    """
    places = np.arange(n_background)
    none = np.zeros((n_background, n_features), np.bool_)
    base_rows = evaluate(none, places)
    contributions = []
    for feature in range(n_features):
        mask = none.copy()
        mask[:, feature] = True
        contributions.append((evaluate(mask, places) - base_rows).mean(axis=0))
    return ShapleyValues(base_rows.mean(axis=0), np.stack(contributions, axis=1))


def _exact(evaluate: Evaluate, n_features: int, n_background: int) -> ShapleyValues:
    sets = np.arange(2**n_features)
    masks = (sets[:, None] >> np.arange(n_features)) & 1 == 1
    rows = np.repeat(masks, n_background, axis=0)
    values = evaluate(rows, np.tile(np.arange(n_background), len(sets)))
    means = values.reshape(len(sets), n_background, -1).mean(axis=1)
    sizes = masks.sum(axis=1)
    contributions = []
    for feature in range(n_features):
        without = sets[~masks[:, feature]]
        # How probable it is that exactly these features come before this one.
        weights = [_weight(int(size), n_features) for size in sizes[without]]
        gained = means[without | (1 << feature)] - means[without]
        contributions.append(np.asarray(weights) @ gained)
    return ShapleyValues(means[0], np.stack(contributions, axis=1))


def _weight(size: int, n_features: int) -> float:
    return 1.0 / (n_features * math.comb(n_features - 1, size))


def _sampled(
    evaluate: Evaluate, n_features: int, n_background: int, n_orders: int
) -> ShapleyValues:
    rng = np.random.default_rng(SEED)
    base = np.zeros(0)
    draws = []
    for _ in range(n_orders):
        order = np.argsort(rng.random((n_background, n_features)), axis=1)
        forwards, starts = _along(evaluate, order)
        backwards, _ = _along(evaluate, order[:, ::-1])
        draws.append(((forwards + backwards) / 2).mean(axis=0))
        base = starts.mean(axis=0)
    values = np.stack(draws)
    errors = values.std(axis=0, ddof=1) / math.sqrt(n_orders)
    return ShapleyValues(base, values.mean(axis=0).T, errors.T)


def _along(evaluate: Evaluate, order: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
    """What each feature changes (b, f, k) as the features of b background rows are replaced one
    after the other, in an order for each row; and the values of the background rows (b, k).
    """
    n_background, n_features = order.shape
    # When each feature is replaced: after step s, those whose rank is below s.
    ranks = np.argsort(order, axis=1)
    masks = ranks[:, None, :] < np.arange(n_features + 1)[None, :, None]
    places = np.repeat(np.arange(n_background), n_features + 1)
    values = evaluate(masks.reshape(-1, n_features), places)
    steps = values.reshape(n_background, n_features + 1, -1)
    gained = np.diff(steps, axis=1)
    return np.take_along_axis(gained, ranks[:, :, None], axis=1), steps[:, 0]
