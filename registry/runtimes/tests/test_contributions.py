"""What the libraries say of each feature adds up to their own answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    RidgeClassifier,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

from registry.runtimes import runtime_module
from registry.runtimes.additive import additive_link
from registry.runtimes.base import LoadOptions
from registry.runtimes.contributions import Link, apply_link, explains_of
from registry.signatures.signature import DTYPES

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(300, 5))
ROWS[RANDOM.random(ROWS.shape) < 0.05] = np.nan
SCORE = np.nan_to_num(ROWS) @ np.arange(5) + np.nan_to_num(ROWS[:, 0] * ROWS[:, 1])
NUMBERS = SCORE * 20 + 150
CLASSES = (SCORE > 0).astype(int)
THREE_CLASSES = np.digitize(SCORE, [-3, 3])
COUNTS = RANDOM.poisson(np.exp(np.clip(SCORE / 4, -3, 3)))
PAIRS = np.stack([NUMBERS, SCORE], axis=1)

Train = Callable[[Path], Path]


def of_xgboost(objective: str, target: Any, **parameters: Any) -> Train:
    def train(folder: Path) -> Path:
        options = {"objective": objective, "verbosity": 0, "nthread": 1, **parameters}
        booster = xgboost.train(options, xgboost.DMatrix(ROWS, target), 30)
        path = folder / "model.ubj"
        booster.save_model(path)
        return path

    return train


def of_lightgbm(objective: str, target: Any, **parameters: Any) -> Train:
    def train(folder: Path) -> Path:
        options = {"objective": objective, "verbosity": -1, "num_threads": 1, **parameters}
        booster = lightgbm.train(options, lightgbm.Dataset(ROWS, target), 30)
        path = folder / "model.txt"
        booster.save_model(path)
        return path

    return train


def of_catboost(loss: str, target: Any, rows: Any = ROWS, **parameters: Any) -> Train:
    def train(folder: Path) -> Path:
        options = {"iterations": 30, "thread_count": 1, "verbose": 0, "allow_writing_files": False}
        model = catboost.CatBoost({"loss_function": loss, **options, **parameters})
        model.fit(rows, target)
        path = folder / "model.cbm"
        model.save_model(str(path))
        return path

    return train


TREES: dict[str, tuple[str, Train, Link | None]] = {
    "xgb number": ("xgboost", of_xgboost("reg:squarederror", NUMBERS), "identity"),
    "xgb class": ("xgboost", of_xgboost("binary:logistic", CLASSES), "logit"),
    "xgb classes": (
        "xgboost",
        of_xgboost("multi:softprob", THREE_CLASSES, num_class=3),
        "softmax",
    ),
    "xgb count": ("xgboost", of_xgboost("count:poisson", COUNTS), "log"),
    "xgb pair": ("xgboost", of_xgboost("reg:squarederror", PAIRS), "identity"),
    "xgb dart": ("xgboost", of_xgboost("binary:logistic", CLASSES, booster="dart"), "logit"),
    "xgb linear": ("xgboost", of_xgboost("binary:logistic", CLASSES, booster="gblinear"), "logit"),
    "xgb labels": ("xgboost", of_xgboost("binary:logistic", np.stack([CLASSES] * 2, 1)), None),
    "lgb number": ("lightgbm", of_lightgbm("regression", NUMBERS), "identity"),
    "lgb class": ("lightgbm", of_lightgbm("binary", CLASSES), "logit"),
    "lgb steep class": ("lightgbm", of_lightgbm("binary", CLASSES, sigmoid=2.0), "logit"),
    "lgb classes": ("lightgbm", of_lightgbm("multiclass", THREE_CLASSES, num_class=3), "softmax"),
    "lgb one by one": (
        "lightgbm",
        of_lightgbm("multiclassova", THREE_CLASSES, num_class=3, sigmoid=1.5),
        "logit",
    ),
    "lgb count": ("lightgbm", of_lightgbm("poisson", COUNTS), "log"),
    "lgb square": ("lightgbm", of_lightgbm("regression", NUMBERS, reg_sqrt=True), None),
    "lgb linear trees": ("lightgbm", of_lightgbm("regression", NUMBERS, linear_tree=True), None),
    "lgb forest": (
        "lightgbm",
        of_lightgbm("binary", CLASSES, boosting="rf", bagging_freq=1, bagging_fraction=0.5),
        None,
    ),
    "cat number": ("catboost", of_catboost("RMSE", NUMBERS), "identity"),
    "cat class": ("catboost", of_catboost("Logloss", CLASSES), "logit"),
    "cat classes": ("catboost", of_catboost("MultiClass", THREE_CLASSES), "softmax"),
    "cat one by one": ("catboost", of_catboost("MultiClassOneVsAll", THREE_CLASSES), "logit"),
    "cat count": ("catboost", of_catboost("Poisson", COUNTS), "log"),
    "cat pair": ("catboost", of_catboost("MultiRMSE", PAIRS), "identity"),
    "cat spread": ("catboost", of_catboost("RMSEWithUncertainty", NUMBERS), None),
}


def arrays_of(signature: Any, rows: Any) -> dict[str, Any]:
    if len(signature.inputs) == 1:
        [tensor] = signature.inputs
        return {tensor.name: np.asarray(rows, DTYPES[tensor.datatype])}
    return {tensor.name: rows[:, place] for place, tensor in enumerate(signature.inputs)}


def answers_of(runtime: Any, inputs: Any, width: int) -> Any:
    """The numbers that the margins stand for."""
    outputs = runtime.predict(inputs)
    if "probabilities" in outputs:
        chances = outputs["probabilities"]
        return chances if width > 1 else chances[:, 1:]
    return np.stack([outputs[output.name] for output in runtime.signature.outputs], axis=1)


@pytest.mark.parametrize("name", TREES)
def test_contributions_add_up_to_the_margins_and_these_to_the_answers(
    name: str, tmp_path: Path
) -> None:
    framework, train, link = TREES[name]
    runtime: Any = runtime_module(framework).load(train(tmp_path), LoadOptions())
    explains = explains_of(runtime)
    assert (explains and explains.link) == link
    if link is None:
        return
    inputs = arrays_of(runtime.signature, ROWS[:20])

    found = runtime.explain(inputs)

    totals = found["base"] + found["contributions"].sum(axis=2)
    assert found["contributions"].shape == (20, totals.shape[1], 5)
    # XGBoost computes in single precision.
    sizes = np.maximum(1, np.abs(found["base"]) + np.abs(found["contributions"]).sum(axis=2))
    assert (np.abs(totals - found["margins"]) <= 1e-6 * sizes).all()
    answers = answers_of(runtime, inputs, totals.shape[1])
    errors = np.abs(apply_link(link, totals) - answers) / np.maximum(1, np.abs(answers))
    assert (errors <= 1e-6 * sizes).all()
    if framework != "xgboost" or link in ("logit", "softmax"):
        assert errors.max() <= 1e-6


def test_categories_of_catboost_are_features_as_they_are_sent(tmp_path: Path) -> None:
    rows = np.nan_to_num(ROWS).astype(object)
    rows[:, 4] = np.array(["a", "b", "c"])[RANDOM.integers(0, 3, len(rows))]
    path = of_catboost("Logloss", CLASSES, rows, cat_features=[4])(tmp_path)
    runtime: Any = runtime_module("catboost").load(path, LoadOptions())

    found = runtime.explain(arrays_of(runtime.signature, rows[:5]))

    totals = found["base"] + found["contributions"].sum(axis=2)
    np.testing.assert_allclose(totals, found["margins"], atol=1e-9)


NUMERIC = np.nan_to_num(ROWS)
LINEAR: list[tuple[Any, Any, Link | None]] = [
    (LinearRegression(), NUMBERS, "identity"),
    (make_pipeline(StandardScaler(), LogisticRegression()), CLASSES, "logit"),
    (make_pipeline(RobustScaler(), LogisticRegression()), THREE_CLASSES, "softmax"),
    (make_pipeline(SimpleImputer(), PoissonRegressor()), COUNTS, "log"),
    (RidgeClassifier(), CLASSES, "identity"),
    (make_pipeline(PolynomialFeatures(), LinearRegression()), NUMBERS, None),
    (RandomForestClassifier(n_estimators=2), CLASSES, None),
]


@pytest.mark.parametrize("case", range(len(LINEAR)))
def test_the_margins_of_linear_models_become_their_answers(case: int, tmp_path: Path) -> None:
    model, target, link = LINEAR[case]
    path = tmp_path / "model.skops"
    skops.io.dump(model.fit(NUMERIC, target), path)
    runtime: Any = runtime_module("sklearn").load(path, LoadOptions())
    assert (runtime.explains and runtime.explains.link) == link
    if link is None:
        return
    inputs = arrays_of(runtime.signature, NUMERIC[:20])

    margins = runtime.explain(inputs)["margins"]

    if isinstance(model, RidgeClassifier):
        assert ((margins[:, 0] > 0) == runtime.predict(inputs)["label"]).all()
    else:
        answers = answers_of(runtime, inputs, margins.shape[1])
        explained: Any = apply_link(link, margins)
        np.testing.assert_allclose(explained, answers, rtol=1e-9)


def test_columns_that_are_prepared_apart_stay_additive() -> None:
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
            ("city", OneHotEncoder(), ["city"]),
            ("rest", "drop", ["id"]),
        ]
    )
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"age": [1.0, 2.0, 3.0], "city": list("aab"), "id": [1, 2, 3]})

    model = Pipeline([("columns", columns), ("model", LogisticRegression())]).fit(table, [0, 1, 0])

    assert additive_link(model) == "logit"
