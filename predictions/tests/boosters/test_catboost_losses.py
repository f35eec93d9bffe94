"""The losses of CatBoost, on every face: equal to the library."""

from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pytest

from predictions.tests.boosters.conftest import Check, label_outputs, matrix, value_outputs
from registry.testing.trained_models import CATBOOST_OPTIONS

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

ROWS = matrix()
BINARY = (ROWS[:, 0] > 0).astype(int)
THREE = np.digitize(ROWS[:, 0], [-0.5, 0.5])
NAMES = np.array(["low", "middle", "high"])[THREE]
POSITIVE = np.abs(ROWS[:, 0]) + 0.1
TWO_TARGETS = np.stack([POSITIVE, -POSITIVE], axis=1)
TWO_LABELS = np.stack([BINARY, ROWS[:, 2] > 0], axis=1).astype(int)
GROUPS = np.repeat(np.arange(10), 20)

REGRESSIONS = {
    **dict.fromkeys(
        (
            "RMSE",
            "MAE",
            "Quantile:alpha=0.1",
            "MultiQuantile:alpha=0.1,0.5,0.9",
            "LogLinQuantile",
            "MAPE",
            "Poisson",
            "Lq:q=2.5",
            "Huber:delta=1.0",
            "Expectile:alpha=0.3",
            "Tweedie:variance_power=1.5",
            "LogCosh",
            "RMSEWithUncertainty",
            "Cox",
        ),
        POSITIVE,
    ),
    **dict.fromkeys(("MultiRMSE", "MultiRMSEWithMissingValues"), TWO_TARGETS),
    "SurvivalAft": np.stack([POSITIVE, POSITIVE + 1], axis=1),
}
RANKINGS = (
    "YetiRank",
    "YetiRankPairwise",
    "PairLogit",
    "PairLogitPairwise",
    "QueryRMSE",
    "QuerySoftMax",
    "LambdaMart",
    "StochasticFilter",
    "StochasticRank:metric=NDCG",
    "GroupQuantile",
)
CLASSIFICATIONS: dict[str, Any] = {
    "Logloss": BINARY,
    "CrossEntropy": BINARY.astype(float),
    "Focal:focal_alpha=0.3;focal_gamma=2": BINARY,
    "MultiClass": NAMES,
    "MultiClassOneVsAll": THREE,
}


def test_the_matrix_is_complete() -> None:
    assert (len(REGRESSIONS), len(RANKINGS), len(CLASSIFICATIONS)) == (17, 10, 5)


@pytest.mark.parametrize("loss", REGRESSIONS)
def test_a_value_is_the_regressors_own(loss: str, check: Check, tmp_path: Path) -> None:
    model = catboost.CatBoostRegressor(**CATBOOST_OPTIONS, loss_function=loss)
    model.fit(ROWS, REGRESSIONS[loss]).save_model(tmp_path / "m.cbm")

    check(tmp_path / "m.cbm", ROWS, value_outputs(model.predict(ROWS)))


def test_a_baseline_of_the_training_is_not_added(check: Check, tmp_path: Path) -> None:
    model = catboost.CatBoostRegressor(**CATBOOST_OPTIONS, loss_function="Poisson")
    model.fit(catboost.Pool(ROWS, POSITIVE, baseline=POSITIVE)).save_model(tmp_path / "m.cbm")

    check(tmp_path / "m.cbm", ROWS, value_outputs(model.predict(ROWS)))


@pytest.mark.parametrize("loss", RANKINGS)
def test_a_rank_is_the_rankers_own(loss: str, check: Check, tmp_path: Path) -> None:
    model = catboost.CatBoost({**CATBOOST_OPTIONS, "loss_function": loss})
    model.fit(catboost.Pool(ROWS, THREE / 2, group_id=GROUPS)).save_model(tmp_path / "m.cbm")

    check(tmp_path / "m.cbm", ROWS, value_outputs(model.predict(ROWS)))


@pytest.mark.parametrize("loss", CLASSIFICATIONS)
def test_probabilities_are_the_classifiers_own(loss: str, check: Check, tmp_path: Path) -> None:
    model = catboost.CatBoostClassifier(**CATBOOST_OPTIONS, loss_function=loss)
    model.fit(ROWS, CLASSIFICATIONS[loss]).save_model(tmp_path / "m.cbm")
    expected = label_outputs(model.predict_proba(ROWS), model.classes_.tolist())
    assert expected["label"] == model.predict(ROWS).ravel().tolist()

    check(tmp_path / "m.cbm", ROWS, expected)


@pytest.mark.parametrize("loss", ["MultiLogloss", "MultiCrossEntropy"])
def test_each_label_is_the_classifiers_own(loss: str, check: Check, tmp_path: Path) -> None:
    model = catboost.CatBoostClassifier(**CATBOOST_OPTIONS, loss_function=loss)
    model.fit(ROWS, TWO_LABELS).save_model(tmp_path / "m.cbm")
    expected: dict[str, Any] = {}
    for i, positive in enumerate(model.predict_proba(ROWS).T):
        expected |= label_outputs(np.stack([1 - positive, positive], axis=1), (0, 1), f"y{i}")

    check(tmp_path / "m.cbm", ROWS, expected)
