"""Every objective of XGBoost, on every face: equal to the library, or refused with a reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from predictions.testing.faces import Refused
from predictions.tests.boosters.conftest import (
    Check,
    by_class,
    label_outputs,
    matrix,
    value_outputs,
)

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

ROWS = matrix()
BINARY = (ROWS[:, 0] > 0).astype(int)
THREE = np.digitize(ROWS[:, 0], [-0.5, 0.5])
POSITIVE = np.abs(ROWS[:, 0]) + 0.1
TWO_TARGETS = np.stack([POSITIVE, -POSITIVE], axis=1)
TWO_LABELS = np.stack([BINARY, ROWS[:, 2] > 0], axis=1).astype(int)
GROUPS = [20] * 10
HIST = {"tree_method": "hist", "multi_strategy": "multi_output_tree"}

# (parameters, target): the Booster's own prediction is the value.
VALUES: dict[str, tuple[dict[str, Any], Any]] = {
    **{
        name: ({"objective": name}, POSITIVE)
        for name in (
            "reg:squarederror",
            "reg:squaredlogerror",
            "reg:pseudohubererror",
            "reg:absoluteerror",
            "reg:gamma",
            "reg:tweedie",
            "count:poisson",
            "survival:cox",
        )
    },
    "reg:logistic": ({"objective": "reg:logistic"}, BINARY),
    "binary:logitraw": ({"objective": "binary:logitraw"}, BINARY),
    "reg:quantileerror": ({"objective": "reg:quantileerror", "quantile_alpha": 0.3}, POSITIVE),
    "three quantiles": (
        {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]},
        POSITIVE,
    ),
    "rank:pairwise": ({"objective": "rank:pairwise"}, THREE),
    "rank:ndcg": ({"objective": "rank:ndcg"}, THREE),
    "rank:map": ({"objective": "rank:map"}, BINARY),
    "two targets": ({"objective": "reg:squarederror"}, TWO_TARGETS),
    "two targets in one tree": ({"objective": "reg:squarederror", **HIST}, TWO_TARGETS),
    "dart": ({"booster": "dart", "rate_drop": 0.5}, POSITIVE),
    "gblinear": ({"booster": "gblinear"}, POSITIVE),
    "gblinear poisson": ({"booster": "gblinear", "objective": "count:poisson"}, POSITIVE),
    "random forest": ({"num_parallel_tree": 3, "subsample": 0.5}, POSITIVE),
    "base score": ({"base_score": 3.0}, POSITIVE),
}
LABELS: dict[str, tuple[dict[str, Any], Any]] = {
    "binary:logistic": ({"objective": "binary:logistic"}, BINARY),
    "dart": ({"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5}, BINARY),
    "gblinear": ({"objective": "binary:logistic", "booster": "gblinear"}, BINARY),
    "multi:softprob": ({"objective": "multi:softprob", "num_class": 3}, THREE),
    "multi:softprob, dart": (
        {"objective": "multi:softprob", "num_class": 3, "booster": "dart"},
        THREE,
    ),
    "multi:softprob in one tree": ({"objective": "multi:softprob", "num_class": 3, **HIST}, THREE),
}


def train(options: dict[str, Any], target: Any, **fields: Any) -> xgboost.Booster:
    rows = np.nan_to_num(ROWS) if options.get("booster") == "gblinear" else ROWS
    table = xgboost.DMatrix(rows, target, nthread=1, **fields)
    return xgboost.train({"nthread": 1, "verbosity": 0, **options}, table, 10)


def predict(booster: xgboost.Booster) -> np.ndarray:
    values: np.ndarray = booster.predict(xgboost.DMatrix(ROWS, nthread=1))
    assert np.ptp(values, axis=0).all()
    return values


def test_every_objective_of_the_library_is_in_the_matrix() -> None:
    with pytest.raises(xgboost.core.XGBoostError) as caught:
        train({"objective": "no:such"}, BINARY)

    lines = str(caught.value).split("Stack trace")[0].splitlines()
    known = {line.split(": ", 1)[1] for line in lines if line.startswith("Objective candidate")}
    aliases = {"reg:linear", "rank:pairwise"}
    tested = {options.get("objective") for options, _ in [*VALUES.values(), *LABELS.values()]}
    assert known - aliases <= tested | {"multi:softmax", "binary:hinge", "survival:aft"}
    assert (len(VALUES), len(LABELS)) == (22, 6)


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_the_boosters_own(name: str, check: Check, tmp_path: Path) -> None:
    options, target = VALUES[name]
    groups = {"group": GROUPS} if name.startswith("rank:") else {}
    booster = train(options, target, **groups)
    booster.save_model(tmp_path / "m.ubj")

    check(tmp_path / "m.ubj", ROWS, value_outputs(predict(booster)))


@pytest.mark.parametrize("name", LABELS)
def test_probabilities_are_the_boosters_own(name: str, check: Check, tmp_path: Path) -> None:
    booster = train(*LABELS[name])
    booster.save_model(tmp_path / "m.ubj")
    probabilities = by_class(predict(booster))

    check(tmp_path / "m.ubj", ROWS, label_outputs(probabilities, range(probabilities.shape[1])))


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_each_label_is_the_boosters_own(strategy: str, check: Check, tmp_path: Path) -> None:
    booster = train({"objective": "binary:logistic", "multi_strategy": strategy}, TWO_LABELS)
    booster.save_model(tmp_path / "m.ubj")
    scores = predict(booster)
    expected: dict[str, Any] = {}
    for i, positive in enumerate(scores.T):
        expected |= label_outputs(by_class(positive), (0, 1), f"y{i}")

    check(tmp_path / "m.ubj", ROWS, expected)


@pytest.mark.parametrize(
    ("options", "target", "names"),
    [
        ({"objective": "multi:softmax", "num_class": 3}, THREE, ["label"]),
        ({"objective": "binary:hinge"}, BINARY, ["label"]),
        ({"objective": "binary:hinge"}, TWO_LABELS, ["y0", "y1"]),
    ],
)
def test_labels_without_probabilities_are_the_boosters_own(
    options: dict[str, Any], target: Any, names: list[str], check: Check, tmp_path: Path
) -> None:
    booster = train(options, target)
    booster.save_model(tmp_path / "m.ubj")
    labels = predict(booster).reshape(len(ROWS), -1).astype(int)

    check(tmp_path / "m.ubj", ROWS, {name: labels[:, i] for i, name in enumerate(names)})


def test_survival_times_are_the_boosters_own(check: Check, tmp_path: Path) -> None:
    table = xgboost.DMatrix(ROWS, nthread=1)
    table.set_float_info("label_lower_bound", POSITIVE)
    table.set_float_info("label_upper_bound", POSITIVE * 2)
    booster = xgboost.train({"objective": "survival:aft", "nthread": 1}, table, 10)
    booster.save_model(tmp_path / "m.ubj")

    check(tmp_path / "m.ubj", ROWS, value_outputs(predict(booster)))


def test_a_margin_of_the_training_is_not_added(check: Check, tmp_path: Path) -> None:
    booster = train({"objective": "count:poisson"}, POSITIVE, base_margin=POSITIVE)
    booster.save_model(tmp_path / "m.ubj")

    check(tmp_path / "m.ubj", ROWS, value_outputs(predict(booster)))


def test_a_custom_objective_answers_margins(check: Check, tmp_path: Path) -> None:
    def squared_error(margins: Any, table: xgboost.DMatrix) -> tuple[Any, Any]:
        return margins - table.get_label(), np.ones_like(margins)

    table = xgboost.DMatrix(ROWS, BINARY, nthread=1)
    booster = xgboost.train({"nthread": 1}, table, 10, obj=squared_error)
    booster.save_model(tmp_path / "m.ubj")
    margins = booster.predict(table, output_margin=True)

    check(tmp_path / "m.ubj", ROWS, value_outputs(margins))


@pytest.mark.parametrize("model", [xgboost.XGBRegressor, xgboost.XGBRFRegressor])
def test_early_stopping_answers_as_the_wrapper(
    model: type[xgboost.XGBRegressor], check: Check, tmp_path: Path
) -> None:
    options = {} if model is xgboost.XGBRFRegressor else {"early_stopping_rounds": 3}
    estimator = model(n_estimators=50, learning_rate=0.9, n_jobs=1, **options)
    noise = np.random.default_rng(1).normal(size=100)
    estimator.fit(ROWS[:100], noise, eval_set=[(ROWS[100:], POSITIVE[100:])], verbose=False)
    estimator.save_model(tmp_path / "m.ubj")

    check(tmp_path / "m.ubj", ROWS, value_outputs(estimator.predict(ROWS)))


def test_an_unknown_objective_is_refused(check: Check, tmp_path: Path) -> None:
    train({"objective": "reg:squarederror"}, POSITIVE).save_model(tmp_path / "m.json")
    text = (tmp_path / "m.json").read_text()
    (tmp_path / "m.ubj").write_text(text.replace("reg:squarederror", "reg:squarederrox"))

    with pytest.raises(Refused, match="Unknown objective function"):
        check(tmp_path / "m.ubj", ROWS, {})
