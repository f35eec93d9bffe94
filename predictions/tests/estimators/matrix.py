"""All estimators of scikit-learn as they are by default, with rows that they can be fitted to."""

import inspect
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.experimental import (  # noqa: F401 - without them, two more are not listed
    enable_halving_search_cv,
    enable_iterative_imputer,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder
from sklearn.utils import all_estimators

Estimator: TypeAlias = Any
"""An estimator of scikit-learn, which has no type information."""

N_ROWS = 60
N_SENT_ROWS = 6
_RANDOM = np.random.default_rng(0)
NUMBERS = _RANDOM.normal(size=(N_ROWS, 5))
CLASSES = (NUMBERS[:, 0] + NUMBERS[:, 1] > 0).astype(int)
POSITIVE = np.abs(NUMBERS) + 0.1
SQUARE = NUMBERS @ NUMBERS.T
TEXTS = np.array([" ".join(_RANDOM.choice(["good", "bad", "dull"], 4)) for _ in range(N_ROWS)])
TWO = np.stack([CLASSES, NUMBERS[:, 1] > 0], axis=1).astype(int)
# In the order in which they are tried: rows, and a target or None.
FITS: tuple[tuple[Any, Any], ...] = (
    (NUMBERS, CLASSES),
    (POSITIVE, CLASSES + 0.5),
    (POSITIVE, CLASSES),
    (NUMBERS, TWO),
    (NUMBERS, NUMBERS[:, :2]),
    (NUMBERS[:, 0], CLASSES),
    (TEXTS.astype(object), None),
    (NUMBERS, None),
    (SQUARE, None),
    (CLASSES, None),
    ([{"a": 1.0, "b": 2.0}] * N_ROWS, None),
    # -1 is a row without a label.
    (NUMBERS, np.where(np.arange(N_ROWS) % 5, CLASSES, -1)),
)


def estimator_names() -> list[str]:
    return [name for name, _ in all_estimators()]


def make(name: str) -> Estimator:
    """The estimator with its default parameters, and small ones where it requires some."""
    estimator_class = dict(all_estimators())[name]
    if name == "FrozenEstimator":
        return estimator_class(LogisticRegression().fit(NUMBERS, CLASSES))
    if name == "SelfTrainingClassifier":
        return estimator_class(LogisticRegression())
    if name == "SkewedChi2Sampler":
        # By default, it takes no negative numbers.
        return estimator_class(skewedness=10)
    if name.endswith("RandomProjection"):
        # By default, it takes more columns than the rows have.
        return estimator_class(n_components=2)
    inner: Any = Ridge() if name in _OVER_REGRESSORS else LogisticRegression()
    required = {
        "estimator": inner,
        "base_estimator": inner,
        "estimators": [("a", inner), ("b", make_pipeline(MinMaxScaler(), inner))],
        "steps": [("a", MinMaxScaler()), ("b", inner)],
        "transformer_list": [("a", MinMaxScaler()), ("b", PCA(2))],
        "transformers": [("a", MinMaxScaler(), [0, 1]), ("b", PCA(1), [2, 3])],
        "param_grid": {"tol": [1e-3, 1e-4]},
        "param_distributions": {"tol": [1e-3, 1e-4, 1e-5]},
        "dictionary": np.eye(3, NUMBERS.shape[1]),
    }
    parameters = inspect.signature(estimator_class).parameters.values()
    return estimator_class(
        **{
            p.name: required[p.name]
            for p in parameters
            if p.default is p.empty and p.name in required
        }
    )


_OVER_REGRESSORS = {
    "MultiOutputRegressor",
    "RegressorChain",
    "StackingRegressor",
    "VotingRegressor",
}


def fit(estimator: Estimator) -> Any:
    """Fit the estimator to the first of FITS that it takes, and return the rows, None for none."""
    return _fit_first(estimator, FITS)


def _fit_first(estimator: Estimator, choices: Iterable[tuple[Any, Any]]) -> Any:
    """Fit to the first (rows, target) that the estimator takes, and return the rows or None."""
    for rows, target in choices:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                estimator.fit(rows) if target is None else estimator.fit(rows, target)
            except Exception:  # noqa: S112 - of any kind; the next choice may suit it
                continue
        return rows
    return None


# -- a pipeline


def mixed_rows() -> np.ndarray:
    """A text, a number and a boolean with missing values, and a number without, as objects."""
    rows = np.empty((N_ROWS, 4), dtype=object)
    rows[:, 0] = _RANDOM.choice(["Bern", "Köln", "Wien"], N_ROWS)
    rows[:, 1] = NUMBERS[:, 1]
    rows[:, 2] = NUMBERS[:, 2] > 0
    rows[:, 3] = NUMBERS[:, 0]
    rows[::4, 0] = rows[1::4, 1] = rows[2::4, 2] = np.nan
    return rows


MIXED = mixed_rows()


def in_pipeline(estimator: Estimator) -> Pipeline | None:
    """A fitted pipeline of all kinds of columns that ends in the estimator; None if it cannot."""
    encoder = ColumnTransformer(
        [
            ("text", OneHotEncoder(sparse_output=False), [0]),
            ("numbers", make_pipeline(SimpleImputer(), MinMaxScaler()), [1, 3]),
            (
                "boolean",
                make_pipeline(
                    SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False)
                ),
                [2],
            ),
        ]
    )
    model = make_pipeline(encoder, estimator)
    targets = (CLASSES, CLASSES + 0.5, TWO, NUMBERS[:, :2], None)
    is_fitted = _fit_first(model, ((MIXED, target) for target in targets)) is not None
    return model if is_fitted else None


# -- what the library answers


def expected_outputs(model: Estimator, rows: Any, *, alone: bool = False) -> dict[str, Any]:
    """The outputs for the rows under mlapi's names; `alone` for one row a call, as for models
    whose answer for a row depends on the rows beside it.
    """
    if alone:
        each = [expected_outputs(model, rows[[i]]) for i in range(len(rows))]
        return {name: np.concatenate([outputs[name] for outputs in each]) for name in each[0]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not hasattr(model, "predict"):
            transformed = model.transform(rows)
            dense = np.asarray(getattr(transformed, "toarray", lambda: transformed)())
            return {"value": dense.ravel() if dense.shape[-1] == 1 else dense}
        predicted = np.asarray(model.predict(rows))
        if not is_classifier(model):
            return _named(predicted, "value")
        outputs = _named(predicted, "label")
        if hasattr(model, "predict_proba"):
            outputs |= dict(_probabilities(model.predict_proba(rows), list(outputs)))
        return outputs


def _named(predicted: np.ndarray, single: str) -> dict[str, Any]:
    columns = predicted.reshape(len(predicted), -1)
    if columns.shape[1] == 1:
        return {single: columns[:, 0]}
    return {f"y{i}": columns[:, i] for i in range(columns.shape[1])}


def _probabilities(result: Any, labels: list[str]) -> Iterator[tuple[str, Any]]:
    if labels == ["label"]:
        yield "probabilities", np.asarray(result)
        return
    for i, label in enumerate(labels):
        if isinstance(result, list):
            yield f"{label}_probabilities", result[i]
        else:
            present = np.asarray(result)[:, i]
            yield f"{label}_probabilities", np.stack([1 - present, present], axis=1)


def sent(rows: Any) -> list[list[Any]]:
    """The first rows as JSON holds them: null for NaN."""
    first = np.asarray(rows)[:N_SENT_ROWS]
    cells = first.reshape(len(first), -1).tolist()
    return [[None if value != value else value for value in row] for row in cells]
