"""Every objective of LightGBM, on every face: equal to the library, or refused with a reason."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest

from predictions.testing.faces import Refused
from predictions.tests.boosters.conftest import (
    Check,
    by_class,
    label_outputs,
    matrix,
    value_outputs,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.any_database,
    # LightGBM's own advice about options that the matrix combines on purpose.
    pytest.mark.filterwarnings("ignore::UserWarning:lightgbm"),
]

ROWS = matrix().astype(np.float64)
BINARY = (ROWS[:, 0] > 0).astype(int)
THREE = np.digitize(ROWS[:, 0], [-0.5, 0.5])
POSITIVE = np.abs(ROWS[:, 0]) + 0.1
BAGGING = {"bagging_freq": 1, "bagging_fraction": 0.5}

# (parameters, target): the Booster's own prediction is the value.
VALUES: dict[str, tuple[dict[str, Any], Any]] = {
    **{
        name: ({"objective": name}, POSITIVE)
        for name in (
            "regression",
            "regression_l1",
            "huber",
            "fair",
            "poisson",
            "quantile",
            "mape",
            "gamma",
            "tweedie",
        )
    },
    "cross_entropy": ({"objective": "cross_entropy"}, BINARY),
    "cross_entropy_lambda": ({"objective": "cross_entropy_lambda"}, BINARY),
    "lambdarank": ({"objective": "lambdarank"}, THREE),
    "rank_xendcg": ({"objective": "rank_xendcg"}, THREE),
    "square roots": ({"objective": "regression", "reg_sqrt": True}, POSITIVE),
    "quantile 0.1": ({"objective": "quantile", "alpha": 0.1}, POSITIVE),
    "linear trees": ({"objective": "regression", "linear_tree": True}, POSITIVE),
    "dart": ({"objective": "regression", "boosting": "dart"}, POSITIVE),
    "rf": ({"objective": "regression", "boosting": "rf", **BAGGING}, POSITIVE),
    "goss": ({"objective": "regression", "data_sample_strategy": "goss"}, POSITIVE),
    "zero as missing": ({"objective": "regression", "zero_as_missing": True}, POSITIVE),
    "no missing": ({"objective": "regression", "use_missing": False}, POSITIVE),
}
LABELS: dict[str, tuple[dict[str, Any], Any]] = {
    "binary": ({"objective": "binary"}, BINARY),
    "binary, sigmoid 2": ({"objective": "binary", "sigmoid": 2.0}, BINARY),
    "binary, dart": ({"objective": "binary", "boosting": "dart"}, BINARY),
    "binary, rf": ({"objective": "binary", "boosting": "rf", **BAGGING}, BINARY),
    "binary, unbalanced": ({"objective": "binary", "is_unbalance": True}, BINARY),
    "multiclass": ({"objective": "multiclass", "num_class": 3}, THREE),
    "multiclass, rf": (
        {"objective": "multiclass", "num_class": 3, "boosting": "rf", **BAGGING},
        THREE,
    ),
    "multiclassova": ({"objective": "multiclassova", "num_class": 3}, THREE),
}


def train(options: dict[str, Any], target: Any, **fields: Any) -> lightgbm.Booster:
    options = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, **options}
    data = lightgbm.Dataset(ROWS, target, params={"verbose": -1}, **fields)
    return lightgbm.train(options, data, 10)


def predict(booster: lightgbm.Booster) -> np.ndarray:
    values = np.asarray(booster.predict(ROWS, num_threads=1))
    assert np.ptp(values, axis=0).all()
    return values


def test_the_matrix_is_complete() -> None:
    """LightGBM does not list its objectives; these are the counts of its documentation."""
    tested = {options["objective"] for options, _ in [*VALUES.values(), *LABELS.values()]}
    assert (len(tested), len(VALUES), len(LABELS)) == (16, 21, 8)


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_the_boosters_own(name: str, check: Check, tmp_path: Path) -> None:
    options, target = VALUES[name]
    groups = {"group": [20] * 10} if "rank" in name else {}
    booster = train(options, target, **groups)
    booster.save_model(tmp_path / "m.txt")

    check(tmp_path / "m.txt", ROWS, value_outputs(predict(booster)))


@pytest.mark.parametrize("name", LABELS)
def test_probabilities_are_the_boosters_own(name: str, check: Check, tmp_path: Path) -> None:
    booster = train(*LABELS[name])
    booster.save_model(tmp_path / "m.txt")
    probabilities = by_class(predict(booster))

    check(tmp_path / "m.txt", ROWS, label_outputs(probabilities, range(probabilities.shape[1])))


def test_a_score_of_the_training_is_not_added(check: Check, tmp_path: Path) -> None:
    booster = train({"objective": "poisson"}, POSITIVE, init_score=POSITIVE)
    booster.save_model(tmp_path / "m.txt")

    check(tmp_path / "m.txt", ROWS, value_outputs(predict(booster)))


@pytest.mark.parametrize("n_classes", [1, 3])
def test_a_custom_objective_answers_margins(n_classes: int, check: Check, tmp_path: Path) -> None:
    def squared_error(margins: Any, data: lightgbm.Dataset) -> tuple[Any, Any]:
        # One column of margins for each class.
        return (margins.T - np.asarray(data.get_label())).T, np.ones_like(margins)

    booster = train({"objective": squared_error, "num_class": n_classes}, THREE)
    booster.save_model(tmp_path / "m.txt")

    check(tmp_path / "m.txt", ROWS, value_outputs(booster.predict(ROWS)))


def test_early_stopping_keeps_the_best_iterations(check: Check, tmp_path: Path) -> None:
    model = lightgbm.LGBMRegressor(
        n_estimators=60, learning_rate=0.9, n_jobs=1, verbose=-1, min_child_samples=5
    )
    noise = np.random.default_rng(1).normal(size=100)
    model.fit(
        ROWS[:100],
        noise,
        eval_X=ROWS[100:],
        eval_y=POSITIVE[100:],
        callbacks=[lightgbm.early_stopping(3, verbose=False)],
    )
    model.booster_.save_model(tmp_path / "m.txt")

    check(tmp_path / "m.txt", ROWS, value_outputs(model.predict(ROWS)))


def test_an_unknown_objective_is_refused(check: Check, tmp_path: Path) -> None:
    text = train({"objective": "regression"}, POSITIVE).model_to_string()
    (tmp_path / "m.txt").write_text(text.replace("objective=regression", "objective=regressive"))

    with pytest.raises(Refused, match="LightGBM cannot read the file: Unknown objective type name"):
        check(tmp_path / "m.txt", ROWS, {})
