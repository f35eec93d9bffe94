"""Every objective of XGBoost and LightGBM is converted and equal, or refused with a reason."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import make_classification, make_regression

from registry.conversion.tests.matrix import Matrix, as_json

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

N = 700
ROWS, CLASSES = make_classification(1200, 6, n_informative=4, n_classes=3, random_state=0)
VALUES = np.abs(make_regression(1200, 6, noise=3, random_state=0)[1]) / 50 + 0.1
GAPS = np.where(np.random.default_rng(0).random(ROWS.shape) < 0.1, np.nan, ROWS)
BINARY = (CLASSES > 0).astype(float)
XGBOOST_OBJECTIVES = (
    *(f"reg:{name}" for name in ("squarederror", "squaredlogerror", "logistic")),
    *(f"reg:{name}" for name in ("pseudohubererror", "absoluteerror", "quantileerror")),
    *("binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson"),
    *("survival:cox", "survival:aft", "multi:softmax", "multi:softprob"),
    *("rank:ndcg", "rank:map", "rank:pairwise", "reg:gamma", "reg:tweedie"),
)
LIGHTGBM_OBJECTIVES = (
    *("regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape"),
    *("gamma", "tweedie", "binary", "multiclass", "multiclassova"),
    *("cross_entropy", "cross_entropy_lambda", "lambdarank", "rank_xendcg"),
)


def target(objective: str) -> Any:
    if objective.startswith(("multi", "rank:n", "rank:p", "rank_", "lambdarank")):
        return CLASSES
    if objective.startswith(("binary", "cross", "reg:logistic", "rank:map")):
        return BINARY
    return VALUES


def xgboost_models() -> Iterator[tuple[str, Any]]:
    for objective in XGBOOST_OBJECTIVES:
        for booster in ("gbtree", "dart", "gblinear"):
            parameters: dict[str, Any] = {
                "objective": objective,
                "booster": booster,
                "max_depth": 3,
                "verbosity": 0,
                "nthread": 1,
            }
            if booster == "dart":
                parameters["rate_drop"] = 0.5
            if objective.startswith("multi"):
                parameters["num_class"] = 3
            if objective == "reg:quantileerror":
                parameters["quantile_alpha"] = [0.1, 0.9]
            labels = target(objective)[:N]
            rows = xgboost.DMatrix(GAPS[:N] if booster != "gblinear" else ROWS[:N], labels)
            if objective.startswith("rank"):
                rows.set_group([70] * 10)
            if objective == "survival:aft":
                rows.set_float_info("label_lower_bound", labels)
                rows.set_float_info("label_upper_bound", labels)
            yield f"{objective} {booster}", xgboost.train(parameters, rows, 8)


def lightgbm_models() -> Iterator[tuple[str, Any]]:
    for objective in LIGHTGBM_OBJECTIVES:
        for boosting in ("gbdt", "dart", "rf", "linear"):
            if boosting == "linear" and objective in ("regression_l1", "quantile", "mape"):
                continue
            parameters: dict[str, Any] = {
                "objective": objective,
                "boosting": "gbdt" if boosting == "linear" else boosting,
                "linear_tree": boosting == "linear",
                "num_leaves": 7,
                "verbosity": -1,
                "num_threads": 1,
            }
            if boosting == "rf":
                parameters |= {"bagging_freq": 1, "bagging_fraction": 0.6}
            if objective.startswith("multi"):
                parameters["num_class"] = 3
            group = [70] * 10 if "rank" in objective else None
            rows = lightgbm.Dataset(GAPS[:N], target(objective)[:N], group=group)
            yield f"{objective} {boosting}", lightgbm.train(parameters, rows, 8)


def test_every_objective_of_xgboost(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path)

    for name, model in xgboost_models():
        matrix.add(name, model, as_json(GAPS[N:] if "linear" not in name else ROWS[N:]))

    assert (len(matrix.converted), len(matrix.refused)) == (32, 25)
    assert {"rank:ndcg dart", "survival:cox gbtree", "binary:logitraw dart"} <= set(
        matrix.converted
    )
    assert "has no trees" in matrix.refused["rank:map gblinear"]
    assert "one target only" in matrix.refused["reg:quantileerror gbtree"]


def test_every_objective_of_lightgbm(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in lightgbm_models():
            matrix.add(name, model, as_json(GAPS[N:]))

    assert (len(matrix.converted), len(matrix.refused)) == (26, 35)
    assert {"fair gbdt", "lambdarank dart", "mape gbdt"} <= set(matrix.converted)
    assert "averages its trees" in matrix.refused["binary rf"]
    assert "linear models in their leaves" in matrix.refused["regression linear"]


def test_boosters_of_other_kinds(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path)
    rows, both = ROWS[:N], np.stack([VALUES, -VALUES], axis=1)[:N]
    quiet: dict[str, Any] = {"n_estimators": 5, "n_jobs": 1, "verbosity": 0}
    integers = np.round(ROWS)
    zeros = lightgbm.Dataset(integers[:N], BINARY[:N])
    by_category = np.column_stack([np.abs(np.round(3 * ROWS[:, 0])), ROWS[:, 1]])

    for name, model in {
        "several targets": xgboost.XGBRegressor(**quiet).fit(rows, both),
        "trees of several outputs": xgboost.XGBRegressor(
            multi_strategy="multi_output_tree", **quiet
        ).fit(rows, both),
        "multi-label": xgboost.XGBClassifier(**quiet).fit(rows, (both > 1).astype(int)),
        "random forest": xgboost.XGBRFClassifier(**quiet).fit(rows, CLASSES[:N]),
        "base score": xgboost.XGBRegressor(base_score=7.5, **quiet).fit(rows, VALUES[:N]),
    }.items():
        matrix.add(name, model, as_json(ROWS[N:]))
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    with_zeros = lightgbm.train({**parameters, "zero_as_missing": True}, zeros, 8)
    matrix.add("zero as missing", with_zeros, as_json(integers[N:]))
    categories = lightgbm.Dataset(by_category[:N], BINARY[:N], categorical_feature=[0])
    matrix.add("categories", lightgbm.train(parameters, categories, 8), as_json(by_category[N:]))

    assert matrix.converted == ["base score", "categories"]
    assert "zero_as_missing" in matrix.refused["zero as missing"]
