"""Dependence between rows is found wherever it shows."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from registry.runtimes.base import Outputs
from registry.runtimes.independence import (
    SLOW_SECONDS,
    VERY_SLOW_SECONDS,
    Arrays,
    Dependence,
    find_dependence,
    has_differing_rows,
)

ROWS = {"x": np.random.default_rng(0).normal(size=(8, 2)) * 10}


def small_beside_large(rows: Arrays) -> np.ndarray:
    """A large number, and a small one that depends on the other rows."""
    first = rows["x"][:, 0]
    return np.stack([first * 1e9, first - first.mean() + rows["x"][:, 1]], axis=1)


def from_nine_rows_on(rows: Arrays) -> np.ndarray:
    return rows["x"] - (rows["x"].mean(axis=0) if len(rows["x"]) > 8 else 0)


def nothing(rows: Arrays) -> np.ndarray:
    return np.empty((len(rows["x"]), 0))


@pytest.mark.parametrize("answer", [small_beside_large, from_nine_rows_on])
def test_rows_are_not_taken_for_independent(answer: Callable[[Arrays], np.ndarray]) -> None:
    def predict(rows: Arrays) -> Outputs:
        return {"y": answer(rows)}

    assert find_dependence(predict, ROWS) is Dependence.ON_OTHER_ROWS


def test_empty_answers_show_nothing() -> None:
    assert find_dependence(lambda rows: {"y": nothing(rows)}, ROWS) is Dependence.UNKNOWN


def test_chance_that_changes_few_rows_is_found() -> None:
    random = np.random.default_rng(0)

    def predict(rows: Arrays) -> Outputs:
        numbers = rows["x"][:, 0]
        is_hit = random.random(len(numbers)) < 0.1 * (numbers != ROWS["x"][0, 0])
        return {"y": np.where(is_hit, 0, numbers)}

    assert find_dependence(predict, ROWS) is Dependence.ON_CHANCE


def test_rounding_that_differs_each_time_is_no_chance() -> None:
    random = np.random.default_rng(0)

    def predict(rows: Arrays) -> Outputs:
        return {"y": rows["x"] * (1 + random.normal(scale=1e-9, size=rows["x"].shape))}

    assert find_dependence(predict, ROWS) is Dependence.NONE


def test_rounding_is_no_dependence() -> None:
    def predict(rows: Arrays) -> Outputs:
        y = rows["x"].astype(np.float32)
        return {"y": np.nextafter(y, np.float32(np.inf)) if len(y) > 1 else y}

    assert find_dependence(predict, ROWS) is Dependence.NONE


def test_equal_rows_with_missing_values_do_not_differ() -> None:
    assert not has_differing_rows({"x": np.array([[1, np.nan], [1, np.nan]])})
    assert has_differing_rows({"x": np.array([[1, np.nan], [2, np.nan]])})


@pytest.mark.parametrize(
    ("seconds", "dependence", "n_rows"),
    [(SLOW_SECONDS, Dependence.NONE, 2), (VERY_SLOW_SECONDS, Dependence.UNKNOWN, 1)],
)
def test_a_slow_model_is_examined_with_fewer_rows(
    seconds: float, dependence: Dependence, n_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=seconds * 1.5)
    monkeypatch.setattr("registry.runtimes.independence.time.perf_counter", clock.__next__)
    scored: set[float] = set()

    def predict(rows: Arrays) -> Outputs:
        scored.update(rows["x"][:, 0].tolist())
        return {"y": rows["x"]}

    assert find_dependence(predict, ROWS) is dependence
    assert len(scored) == n_rows
