"""Shapley values against their definition, and against the shap library."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from predictions.evaluation.explanations.shapley import (
    Evaluate,
    Floats,
    additive_values,
    shapley_values,
)

ROW = np.array([1.0, -2.0, 0.5, 3.0])
BACKGROUND = np.array([[0.0, 0.0, 1.0, 1.0], [0.5, 1.0, -1.0, 2.0], [2.0, -1.0, 0.0, 0.0]])


def mixed(function: Any, row: Floats, background: Floats) -> Evaluate:
    return lambda masks, places: function(np.where(masks, row, background[places]))


def interacting(rows: Floats) -> Floats:
    return np.stack([rows[:, 0] * rows[:, 1] + np.tanh(rows[:, 2] * rows[:, 3]), rows[:, 0]], 1)


def by_definition(function: Any, row: Floats, background: Floats) -> Floats:
    """The mean over all orders of what each feature changes."""
    width = len(row)
    total = np.zeros((width, function(row[None]).shape[1]))
    orders = list(permutations(range(width)))
    for order in orders:
        rows = background.copy()
        for feature in order:
            before = function(rows).mean(axis=0)
            rows[:, feature] = row[feature]
            total[feature] += function(rows).mean(axis=0) - before
    return total.T / len(orders)


def test_few_features_are_explained_by_the_definition() -> None:
    found = shapley_values(mixed(interacting, ROW, BACKGROUND), 4, 3, 0)

    np.testing.assert_allclose(
        found.contributions, by_definition(interacting, ROW, BACKGROUND), atol=1e-12
    )
    np.testing.assert_allclose(found.base, interacting(BACKGROUND).mean(axis=0))
    assert found.standard_errors is None


def test_many_features_are_sampled_and_still_add_up() -> None:
    random = np.random.default_rng(1)
    weights = random.normal(size=12)
    row, background = random.normal(size=12), random.normal(size=(5, 12))

    def function(rows: Floats) -> Floats:
        return np.stack([np.tanh(rows @ weights), (rows[:, :3] ** 2).sum(axis=1)], axis=1)

    found = shapley_values(mixed(function, row, background), 12, 5, 20_000)
    again = shapley_values(mixed(function, row, background), 12, 5, 20_000)
    more = shapley_values(mixed(function, row, background), 12, 5, 400_000)

    total = found.base + found.contributions.sum(axis=1)
    np.testing.assert_allclose(total, function(row[None])[0], atol=1e-12)
    assert np.array_equal(found.contributions, again.contributions)
    assert found.standard_errors is not None
    # The second function is a sum, which any order explains exactly.
    assert found.standard_errors[1].max() < 1e-12
    distance = np.abs(found.contributions - more.contributions)[0]
    assert (distance <= 5 * found.standard_errors[0] + 1e-12).all()


def test_a_sum_of_functions_of_one_feature_is_explained_exactly() -> None:
    def function(rows: Floats) -> Floats:
        return np.stack([(rows**3).sum(axis=1), np.sin(rows[:, 1]) - rows[:, 0]], axis=1)

    found = additive_values(mixed(function, ROW, BACKGROUND), 4, 3)

    np.testing.assert_allclose(
        found.contributions, by_definition(function, ROW, BACKGROUND), atol=1e-12
    )
    total = found.base + found.contributions.sum(axis=1)
    np.testing.assert_allclose(total, function(ROW[None])[0], atol=1e-12)


def test_the_values_are_those_of_the_shap_library() -> None:
    # shap 0.51: explainers.Exact(interacting, maskers.Independent(BACKGROUND))(ROW[None])
    expected = [
        [0.08333333333333354, -1.583333333333333, 0.6902649163784044, 0.28236114530647954],
        [0.16666666666666674, 0.0, 0.0, 0.0],
    ]

    found = shapley_values(mixed(interacting, ROW, BACKGROUND), 4, 3, 0)

    np.testing.assert_allclose(found.contributions, expected, atol=1e-9)


@pytest.mark.parametrize("n_features", [1, 2])
def test_the_smallest_models_are_explained(n_features: int) -> None:
    row, background = np.ones(n_features), np.zeros((1, n_features))

    found = shapley_values(
        mixed(lambda rows: rows.prod(axis=1, keepdims=True), row, background), n_features, 1, 0
    )

    np.testing.assert_allclose(found.contributions, np.full((1, n_features), 1 / n_features))
