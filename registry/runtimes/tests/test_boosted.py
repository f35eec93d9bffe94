"""The runtimes of XGBoost and LightGBM."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_iris

from registry.runtimes import lightgbm as lightgbm_runtime
from registry.runtimes import xgboost as xgboost_runtime
from registry.runtimes.base import InferenceError, LoadOptions, Runtime, RuntimeModule
from registry.testing import trained_models

OPTIONS = LoadOptions()
ROWS, SPECIES = load_iris(return_X_y=True)
Train = Callable[[Path], trained_models.Trained]

CLASSIFIERS: list[tuple[Train, str]] = [
    (trained_models.iris_xgboost, "m.ubj"),
    (trained_models.iris_xgboost, "m.json"),
    (trained_models.iris_lightgbm, "m.txt"),
]
REGRESSORS: list[tuple[Train, str]] = [
    (trained_models.diabetes_xgboost, "m.ubj"),
    (trained_models.diabetes_xgboost, "m.json"),
    (trained_models.diabetes_lightgbm, "m.txt"),
]


def load(path: Path) -> Runtime:
    module: RuntimeModule = lightgbm_runtime if path.suffix == ".txt" else xgboost_runtime
    return module.load(path, OPTIONS)


def reload(booster: Any, path: Path) -> Runtime:
    booster.save_model(path)
    return load(path)


@pytest.mark.parametrize("n_rows", [1, 150])
@pytest.mark.parametrize(("train", "name"), CLASSIFIERS)
def test_classifier_predicts_like_the_library(
    train: Train, name: str, n_rows: int, tmp_path: Path
) -> None:
    trained = train(tmp_path / name)
    rows = trained.rows[:n_rows]

    outputs = load(trained.path).predict({"features": rows})

    assert outputs["label"].tolist() == trained.estimator.predict(rows).tolist()
    np.testing.assert_array_equal(outputs["probabilities"], trained.estimator.predict_proba(rows))


@pytest.mark.parametrize(("train", "name"), REGRESSORS)
def test_regressor_predicts_like_the_library(train: Train, name: str, tmp_path: Path) -> None:
    trained = train(tmp_path / name)

    outputs = load(trained.path).predict({"features": np.asfortranarray(trained.rows)})

    assert outputs["value"].shape == (len(trained.rows),)
    np.testing.assert_array_equal(outputs["value"], trained.estimator.predict(trained.rows))


@pytest.mark.parametrize(
    "model",
    [
        xgboost.XGBClassifier(n_estimators=3),
        xgboost.XGBClassifier(n_estimators=3, booster="dart"),
        xgboost.XGBClassifier(n_estimators=3, booster="gblinear"),
    ],
)
def test_binary_classifier_of_each_booster_predicts_like_the_library(
    model: xgboost.XGBClassifier, tmp_path: Path
) -> None:
    model.fit(ROWS, SPECIES == 1)

    outputs = reload(model, tmp_path / "m.ubj").predict({"features": ROWS})

    assert outputs["label"].tolist() == model.predict(ROWS).tolist()
    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(ROWS), atol=1e-7)


def test_binary_classifier_of_lightgbm_predicts_like_the_library(tmp_path: Path) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(ROWS, SPECIES == 1)

    outputs = reload(model.booster_, tmp_path / "m.txt").predict({"features": ROWS})

    assert outputs["label"].tolist() == np.asarray(model.predict(ROWS)).astype(int).tolist()
    np.testing.assert_array_equal(outputs["probabilities"], model.predict_proba(ROWS))


def test_xgboost_uses_the_trees_up_to_the_best_iteration(tmp_path: Path) -> None:
    model = xgboost.XGBRegressor(n_estimators=60, learning_rate=0.9, early_stopping_rounds=5)
    model.fit(ROWS[::2, 1:], ROWS[::2, 0], eval_set=[(ROWS[1::2, 1:], ROWS[1::2, 0])], verbose=0)
    booster = model.get_booster()
    assert model.best_iteration + 1 < booster.num_boosted_rounds()

    outputs = reload(model, tmp_path / "m.ubj").predict({"features": ROWS[:, 1:]})

    np.testing.assert_array_equal(outputs["value"], model.predict(ROWS[:, 1:]))


def test_xgboost_softmax_has_only_a_label(tmp_path: Path) -> None:
    table = xgboost.DMatrix(ROWS, label=SPECIES)
    booster = xgboost.train({"objective": "multi:softmax", "num_class": 3}, table, 3)
    runtime = reload(booster, tmp_path / "m.json")

    outputs = runtime.predict({"features": ROWS})

    assert list(outputs) == ["label"]
    assert outputs["label"].tolist() == booster.predict(table).astype(int).tolist()


def test_each_target_of_xgboost_has_an_output(tmp_path: Path) -> None:
    model = xgboost.XGBRegressor(n_estimators=3).fit(ROWS[:, 2:], ROWS[:, :2])

    outputs = reload(model, tmp_path / "m.ubj").predict({"features": ROWS[:, 2:]})

    assert list(outputs) == ["y0", "y1"]
    np.testing.assert_array_equal(outputs["y1"], model.predict(ROWS[:, 2:])[:, 1])


def test_each_label_of_xgboost_has_two_outputs(tmp_path: Path) -> None:
    both = np.stack([SPECIES == 1, SPECIES == 2], axis=1).astype(int)
    model = xgboost.XGBClassifier(n_estimators=3).fit(ROWS, both)

    outputs = reload(model, tmp_path / "m.ubj").predict({"features": ROWS})

    assert list(outputs) == ["y0", "y0_probabilities", "y1", "y1_probabilities"]
    assert outputs["y1"].tolist() == model.predict(ROWS)[:, 1].tolist()


@pytest.mark.parametrize(("train", "name"), CLASSIFIERS)
def test_missing_values_are_accepted(train: Train, name: str, tmp_path: Path) -> None:
    trained = train(tmp_path / name)
    runtime = load(trained.path)
    rows = np.full((2, 4), np.nan)

    outputs = runtime.predict({"features": rows})

    assert runtime.signature.inputs[0].nullable
    np.testing.assert_array_equal(outputs["probabilities"], trained.estimator.predict_proba(rows))


@pytest.mark.parametrize("name", ["m.ubj", "m.txt"])
def test_feature_names_are_read(name: str, tmp_path: Path) -> None:
    names = ["sl", "sw", "pl", "pw"]
    if name == "m.ubj":
        table = xgboost.DMatrix(ROWS, label=SPECIES, feature_names=names)
        runtime = reload(xgboost.train({}, table, 2), tmp_path / name)
    else:
        data = lightgbm.Dataset(ROWS, SPECIES, feature_name=names)
        runtime = reload(lightgbm.train({"verbose": -1}, data, 2), tmp_path / name)

    assert runtime.signature.inputs[0].features == tuple(names)
    assert runtime.predict({"features": ROWS})["value"].shape == (150,)


def test_default_names_of_lightgbm_are_ignored(tmp_path: Path) -> None:
    trained = trained_models.iris_lightgbm(tmp_path / "m.txt")

    assert load(trained.path).signature.inputs[0].features == ()


@pytest.mark.parametrize(("train", "name"), CLASSIFIERS)
def test_a_row_with_too_few_features_is_an_inference_error(
    train: Train, name: str, tmp_path: Path
) -> None:
    runtime = load(train(tmp_path / name).path)

    with pytest.raises(InferenceError):
        runtime.predict({"features": np.ones((1, 3))})


def test_a_lightgbm_file_with_the_wrong_number_of_classes_is_an_inference_error(
    tmp_path: Path,
) -> None:
    trained = trained_models.diabetes_lightgbm(tmp_path / "m.txt")
    trained.path.write_text(trained.path.read_text().replace("num_class=1", "num_class=3", 1))
    runtime = load(trained.path)

    with pytest.raises(InferenceError, match="reshape"):
        runtime.predict({"features": trained.rows})


@pytest.mark.parametrize("name", ["m.ubj", "m.json"])
def test_the_version_that_wrote_the_file_is_read(name: str, tmp_path: Path) -> None:
    runtime = load(trained_models.iris_xgboost(tmp_path / name).path)

    assert runtime.libraries == {"xgboost": xgboost.__version__}
    assert xgboost_runtime._written_by(b'{},"version":[1,7,12]}') == "1.7.12"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"booster": "dart"},
        {"multi_strategy": "multi_output_tree"},
        {"num_parallel_tree": 2},
        {"booster": "gblinear"},
    ],
)
def test_profiles_of_a_long_model_hold_the_ranges_of_its_features(
    options: dict[str, Any], tmp_path: Path
) -> None:
    model = xgboost.XGBRegressor(n_estimators=60, n_jobs=1, max_depth=2, **options)
    runtime = reload(model.fit(ROWS[:, :2], ROWS[:, 2:]), tmp_path / "m.ubj")
    assert isinstance(runtime, xgboost_runtime.XGBoostRuntime)

    profiles = runtime.profiles()

    # A linear model has no thresholds.
    assert set(profiles) == (set() if options.get("booster") == "gblinear" else {0, 1})
    for i, profile in profiles.items():
        low, high = ROWS[:, i].min(), ROWS[:, i].max()
        # Thresholds are in single precision.
        assert low - 1e-6 <= profile.low < profile.high <= high + 1e-6
