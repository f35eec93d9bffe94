"""Rows with gaps, and pipelines of a text column beside numbers."""

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

# The columns of `cells`: a text, a number, a boolean and an integer, as a data frame with gaps
# gives them to scikit-learn.
TEXT, NUMBER, BOOLEAN, INTEGER = range(4)
N = 80


def cells(marker: object = np.nan) -> np.ndarray:
    """Rows of objects, with `marker` for a fifth of the texts and booleans, NaN for numbers."""
    random = np.random.default_rng(3)
    table = np.empty((N, 4), dtype=object)
    table[:, TEXT] = random.choice(["Bern", "Köln", "Wien"], N)
    table[:, NUMBER] = random.normal(size=N)
    table[:, BOOLEAN] = random.random(N) < 0.5
    table[:, INTEGER] = random.integers(0, 4, N).astype(float)
    gaps = random.random(table.shape) < 0.2
    for column, missing in ((TEXT, marker), (NUMBER, np.nan), (BOOLEAN, marker), (INTEGER, np.nan)):
        table[gaps[:, column], column] = missing
    return table


def target(table: np.ndarray, marker: object = np.nan) -> np.ndarray:
    """A target for which it matters whether text and boolean are missing."""
    random = np.random.default_rng(4)
    score = 2.0 * is_marker(table[:, TEXT], marker) - is_marker(table[:, BOOLEAN], marker)
    result: np.ndarray = (score + random.normal(size=N) > 0.3).astype(int)
    return result


def is_marker(column: np.ndarray, marker: object) -> np.ndarray:
    def matches(value: object) -> bool:
        return value == marker or (value != value and marker != marker)

    return np.array([matches(value) for value in column])


def numbers() -> Any:
    return make_pipeline(SimpleImputer(), StandardScaler())


def columns(*parts: tuple[Any, list[int]]) -> ColumnTransformer:
    return ColumnTransformer([(f"c{i}", part, at) for i, (part, at) in enumerate(parts)])


def encoded(encoder: Any = None, at: int = TEXT) -> Any:
    """A classifier of one encoded column beside two imputed numbers."""
    encoder = encoder or OneHotEncoder()
    return make_pipeline(
        columns((numbers(), [NUMBER, INTEGER]), (encoder, [at])), LogisticRegression()
    )


def constant_then_one_hot() -> Any:
    return make_pipeline(
        SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(handle_unknown="ignore")
    )


def most_frequent_then_one_hot() -> Any:
    return make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
