"""Pipelines and meta-estimators are converted and equal, or refused with a reason."""

import warnings
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier

from registry.conversion.tests.matrix import Matrix, as_json

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

N = 700
ROWS, CLASSES = make_classification(1200, 6, n_informative=4, n_classes=3, random_state=0)
RANDOM = np.random.default_rng(0)
GAPS = np.where(RANDOM.random(ROWS.shape) < 0.1, np.nan, ROWS)


def logistic() -> Any:
    return LogisticRegression(max_iter=500)


def lgbm() -> Any:
    return lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1)


def xgb() -> Any:
    return xgboost.XGBClassifier(n_estimators=5, n_jobs=1, verbosity=0)


@pytest.fixture
def matrix(tmp_path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Matrix(tmp_path)


def test_boosters_inside_pipelines(matrix: Matrix) -> None:
    for name, model in {
        "xgboost": make_pipeline(StandardScaler(), xgb()),
        "lightgbm": make_pipeline(StandardScaler(), lgbm()),
        "xgboost alone": make_pipeline(xgb()),
        "lightgbm alone": make_pipeline(lgbm()),
        "stacked": StackingClassifier([("a", xgb()), ("b", lgbm())]),
    }.items():
        matrix.add(name, model.fit(ROWS[:N], CLASSES[:N]), as_json(ROWS[N:]))
    regressor = make_pipeline(StandardScaler(), lightgbm.LGBMRegressor(n_estimators=5, verbose=-1))
    matrix.add("values", regressor.fit(ROWS[:N], ROWS[:N, 0]), as_json(ROWS[N:]))
    ranker = make_pipeline(StandardScaler(), xgboost.XGBRegressor(n_estimators=5, booster="dart"))
    matrix.add("dart", ranker.fit(ROWS[:N], ROWS[:N, 0]), as_json(ROWS[N:]))

    assert list(matrix.refused) == ["dart"]
    assert "Register the model as it is" in matrix.refused["dart"]


def test_meta_estimators_and_transformers(matrix: Matrix) -> None:
    parts = [("a", logistic()), ("b", DecisionTreeClassifier(max_depth=3))]
    for name, model in {
        "stacking": StackingClassifier(parts),
        "stacking with the rows": StackingClassifier(parts, passthrough=True),
        "voting": VotingClassifier(parts),
        "bins": make_pipeline(KBinsDiscretizer(strategy="uniform"), logistic()),
        "quantiles": make_pipeline(QuantileTransformer(n_quantiles=50), logistic()),
        "splines": make_pipeline(SplineTransformer(), logistic()),
        "histogram": make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=5)),
    }.items():
        matrix.add(name, model.fit(ROWS[:N], CLASSES[:N]), as_json(ROWS[N:]))

    assert list(matrix.refused) == ["splines"]
    assert matrix.refused["splines"] == (
        "It cannot be converted to ONNX. There is no converter to ONNX for SplineTransformer."
        " Register the model as it is, without --to onnx."
    )


def test_imputers_of_numbers(matrix: Matrix) -> None:
    for name, imputer in {
        "mean": SimpleImputer(),
        "constant": SimpleImputer(strategy="constant", fill_value=-1.0),
        "neighbours": KNNImputer(),
    }.items():
        model = make_pipeline(imputer, StandardScaler(), logistic())
        matrix.add(name, model.fit(GAPS[:N], CLASSES[:N]), as_json(GAPS[N:]))

    assert not matrix.refused


def test_several_labels_are_refused_in_one_sentence(matrix: Matrix) -> None:
    both = np.stack([CLASSES > 0, CLASSES > 1], axis=1).astype(int)
    for name, model in {
        "one by one": MultiOutputClassifier(logistic()),
        "forest": RandomForestClassifier(3),
        "chain": ClassifierChain(logistic()),
        "tree in a pipeline": make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=3)),
    }.items():
        matrix.add(name, model.fit(ROWS[:N], both[:N]), as_json(ROWS[N:]))

    assert not matrix.converted
    for reason in matrix.refused.values():
        assert "The model answers 2 labels at once (multi-label)" in reason


# -- tables of several types


def table() -> tuple[np.ndarray, np.ndarray]:
    """Rows of a city, an age, a flag and a count, with missing cities and ages."""
    n = len(ROWS)
    rows = np.empty((n, 4), dtype=object)
    city = RANDOM.choice(np.array(["Oslo", "Rome", "Köln"], dtype=object), n)
    rows[:, 0] = np.where(RANDOM.random(n) < 0.1, np.nan, city)
    rows[:, 1] = np.where(RANDOM.random(n) < 0.1, np.nan, RANDOM.normal(40, 10, n))
    rows[:, 2] = RANDOM.random(n) < 0.5
    rows[:, 3] = RANDOM.integers(0, 9, n)
    return rows, (city == "Oslo") | (rows[:, 3] > 6)


DECLARED = {
    "inputs": [
        {"name": "x1", "datatype": "FP64", "nullable": True},
        {"name": "x2", "datatype": "BOOL"},
        {"name": "x3", "datatype": "INT64"},
    ]
}


def test_texts_booleans_and_missing_values_in_columns(matrix: Matrix) -> None:
    rows, target = table()
    encode = OneHotEncoder(handle_unknown="ignore")
    # The ONNX form has no missing text: its signature refuses it.
    fresh = [
        {"x0": a, "x1": None if b != b else b, "x2": bool(c), "x3": int(d)}
        for a, b, c, d in rows[N:]
        if a == a
    ]
    for name, city in {
        "constant": make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), encode),
        "most frequent": make_pipeline(SimpleImputer(strategy="most_frequent"), encode),
        "missing as a category": encode,
        "default encoder": OneHotEncoder(),
        "ordinal": OrdinalEncoder(encoded_missing_value=-1),
        "target": TargetEncoder(),
    }.items():
        for last in (logistic(), lgbm()):
            columns = ColumnTransformer(
                [
                    ("city", city, [0]),
                    ("age", make_pipeline(SimpleImputer(), StandardScaler()), [1]),
                    ("rest", "passthrough", [2, 3]),
                ]
            )
            model = make_pipeline(columns, last).fit(rows[:N], target[:N])
            matrix.add(f"{name}, {type(last).__name__}", model, fresh, declared=DECLARED)

    assert not matrix.refused
    assert len(matrix.converted) == 12


def test_example_rows_with_missing_texts_prove_the_others(matrix: Matrix) -> None:
    rows, target = table()
    encode = OneHotEncoder(handle_unknown="ignore")
    impute = SimpleImputer(strategy="constant", fill_value="none")
    columns = ColumnTransformer([("city", make_pipeline(impute, encode), [0])])
    model = make_pipeline(columns, logistic()).fit(rows[:, :1], target)
    example = [{"x0": None if city != city else city} for city in rows[:, 0]]
    whole = [row for row in example if row["x0"] is not None]

    matrix.add("enough", model, whole, example=example)
    matrix.add("too few", model, whole, example=[*whole[:500], *[{"x0": None}] * 500])

    assert matrix.converted == ["enough"]
    assert "only 500 of the example rows have none" in matrix.refused["too few"]
