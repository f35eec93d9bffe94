"""Estimators of XGBoost and LightGBM in a `.skops` file, alone and at the end of a pipeline."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from registry.runtimes.base import LoadError
from registry.runtimes.sklearn.runtime import load
from registry.runtimes.sklearn.tests.estimators import COLOURS, OPTIONS, ROWS, labels, reload
from registry.testing.processes import python

TARGETS: dict[str, np.ndarray] = {
    "number": ROWS[:, 0] + ROWS[:, 1],
    "pair": ROWS[:, :2],
    "class": (ROWS[:, 0] > 0).astype(int),
    "three": np.digitize(ROWS[:, 0], [-0.5, 0.5]),
    "text": COLOURS,
}
LGB: dict[str, Any] = {"n_estimators": 4, "min_child_samples": 2, "verbose": -1, "n_jobs": 2}
XGB: dict[str, Any] = {"n_estimators": 4, "n_jobs": 2}
MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "XGBRegressor": (lambda: xgboost.XGBRegressor(**XGB), "number"),
    "XGBRegressor of two": (lambda: xgboost.XGBRegressor(**XGB), "pair"),
    "XGBRFRegressor": (lambda: xgboost.XGBRFRegressor(**XGB), "number"),
    "linear": (lambda: xgboost.XGBRegressor(**XGB, booster="gblinear"), "number"),
    "dart": (lambda: xgboost.XGBRegressor(**XGB, booster="dart", rate_drop=0.5), "number"),
    "XGBClassifier": (lambda: xgboost.XGBClassifier(**XGB), "class"),
    "XGBClassifier of three": (lambda: xgboost.XGBClassifier(**XGB), "three"),
    "XGBRFClassifier": (lambda: xgboost.XGBRFClassifier(**XGB), "three"),
    "LGBMRegressor": (lambda: lightgbm.LGBMRegressor(**LGB), "number"),
    "LGBMClassifier": (lambda: lightgbm.LGBMClassifier(**LGB), "text"),
    "LGBMClassifier of three": (lambda: lightgbm.LGBMClassifier(**LGB), "three"),
}


@pytest.mark.parametrize("in_pipeline", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_booster_predicts_like_the_library(name: str, in_pipeline: bool, tmp_path: Path) -> None:
    make, target = MODELS[name]
    model = make_pipeline(StandardScaler(), make()) if in_pipeline else make()
    model.fit(ROWS, TARGETS[target])
    runtime = reload(model, tmp_path)

    outputs = runtime.predict({"features": ROWS})

    predicted = model.predict(ROWS)
    if "label" in outputs:
        assert labels(runtime, outputs) == predicted.tolist()
        expected = model.predict_proba(ROWS)
        np.testing.assert_array_equal(outputs["probabilities"], expected)
    else:
        values = np.stack(list(outputs.values()), axis=1)
        np.testing.assert_array_equal(values, predicted.reshape(len(ROWS), -1))


@pytest.mark.parametrize(
    "model",
    [
        xgboost.XGBRanker(**XGB).fit(ROWS, TARGETS["class"], qid=np.arange(40) // 10),
        lightgbm.LGBMRanker(**LGB).fit(ROWS, TARGETS["class"], group=[10] * 4),
    ],
)
def test_a_ranker_predicts_like_the_library(model: Any, tmp_path: Path) -> None:
    outputs = reload(model, tmp_path).predict({"features": ROWS})

    np.testing.assert_array_equal(outputs["value"], model.predict(ROWS))


def test_early_stopping_keeps_the_best_iteration(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random(40) > 0.5
    model = xgboost.XGBClassifier(n_estimators=40, early_stopping_rounds=2, n_jobs=1)
    model.fit(ROWS, noise, eval_set=[(ROWS[::-1], noise)], verbose=False)
    assert model.best_iteration < 39

    outputs = reload(model, tmp_path).predict({"features": ROWS})

    np.testing.assert_array_equal(outputs["probabilities"], model.predict_proba(ROWS))


@pytest.mark.parametrize("make", [xgboost.XGBClassifier, lightgbm.LGBMClassifier])
def test_missing_values_reach_a_booster_behind_an_encoder(make: Any, tmp_path: Path) -> None:
    table = np.empty((40, 2), dtype=object)
    table[:, 0], table[:, 1] = COLOURS, ROWS[:, 1]
    table[::4, 0], table[::3, 1] = np.nan, np.nan
    options = {"n_estimators": 4, "n_jobs": 1} | ({"verbose": -1} if "LGBM" in str(make) else {})
    encoder = ColumnTransformer(
        [("c", OneHotEncoder(sparse_output=False), [0])], remainder="passthrough"
    )
    model = make_pipeline(encoder, make(**options)).fit(table, TARGETS["class"])
    runtime = reload(model, tmp_path)
    texts = np.array([None if text != text else text for text in table[:, 0]], dtype=object)

    outputs = runtime.predict({"x0": texts, "x1": table[:, 1].astype(float)})

    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(table))


@pytest.mark.parametrize("name", ["XGBClassifier", "LGBMClassifier"])
def test_a_booster_inside_a_meta_estimator_predicts_like_the_library(
    name: str, tmp_path: Path
) -> None:
    make, target = MODELS[name]
    members = [("a", make_pipeline(StandardScaler(), make())), ("b", LogisticRegression())]
    model = CalibratedClassifierCV(VotingClassifier(members, voting="soft"), cv=2)
    model.fit(ROWS, TARGETS[target])

    outputs = reload(model, tmp_path).predict({"features": ROWS})

    np.testing.assert_array_equal(outputs["probabilities"], model.predict_proba(ROWS))


def test_the_number_that_a_booster_takes_for_missing_stands_for_null(tmp_path: Path) -> None:
    rows = np.round(ROWS)
    model = xgboost.XGBRegressor(**XGB, missing=1.0).fit(rows, TARGETS["number"])
    with_gaps = np.where(rows == 1.0, np.nan, rows)

    outputs = reload(model, tmp_path).predict({"features": with_gaps})

    np.testing.assert_array_equal(outputs["value"], model.predict(rows))


@pytest.mark.parametrize("name", ["XGBClassifier", "LGBMClassifier", "linear"])
def test_threads_share_a_booster(name: str, tmp_path: Path) -> None:
    make, target = MODELS[name]
    model = make().fit(ROWS, TARGETS[target])
    runtime = reload(model, tmp_path)
    expected = runtime.predict({"features": ROWS})
    output = next(iter(reversed(expected)))

    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda i: runtime.predict({"features": ROWS[i : i + 1]}), range(40)))

    np.testing.assert_array_equal(np.concatenate([row[output] for row in rows]), expected[output])


def test_the_libraries_of_a_booster_are_recorded(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), xgboost.XGBRegressor(**XGB))

    runtime = reload(model.fit(ROWS, TARGETS["number"]), tmp_path)

    assert runtime.libraries["xgboost"] == xgboost.__version__
    assert "lightgbm" not in runtime.libraries


def test_a_booster_without_trees_is_damaged(tmp_path: Path) -> None:
    model = lightgbm.LGBMRegressor(**LGB).fit(ROWS, TARGETS["number"])
    skops.io.dump(model, tmp_path / "model.skops")
    model._Booster = lightgbm.Booster.__new__(lightgbm.Booster)
    vars(model._Booster)["_handle"] = None

    with pytest.raises(LoadError, match="damaged"):
        reload(model, tmp_path)


def test_categories_of_a_data_frame_are_refused_with_the_export(tmp_path: Path) -> None:
    rows = np.column_stack([ROWS[:, 0], np.arange(40) % 4])
    model = xgboost.XGBRegressor(**XGB, feature_types=["q", "c"], enable_categorical=True)
    model.fit(rows, TARGETS["number"])
    outputs = reload(model, tmp_path).predict({"features": rows})
    np.testing.assert_array_equal(outputs["value"], model.predict(rows))

    # As after training on a data frame, whose types the booster keeps.
    model.feature_types = None

    with pytest.raises(LoadError, match=r"model\.save_model\('model\.ubj'\)"):
        reload(model, tmp_path)


def test_the_booster_libraries_are_imported_only_for_a_file_that_holds_them(
    tmp_path: Path,
) -> None:
    skops.io.dump(StandardScaler().fit(ROWS), tmp_path / "scaler.skops")
    code = f"""
import sys
from pathlib import Path
from registry.runtimes.base import LoadOptions
from registry.runtimes.sklearn.runtime import load
load(Path({str(tmp_path / "scaler.skops")!r}), LoadOptions())
print(sorted({{"xgboost", "lightgbm"}} & set(sys.modules)))
"""

    assert python(code).stdout.strip() == "[]"


def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = xgboost.XGBRegressor(**XGB).fit(ROWS, TARGETS["number"])
    skops.io.dump(model, tmp_path / "model.skops")
    monkeypatch.setitem(sys.modules, "registry.runtimes.xgboost", None)

    with pytest.raises(LoadError, match=r"pip install 'mlapi\[xgboost\]'"):
        load(tmp_path / "model.skops", OPTIONS)


def test_a_catboost_model_is_refused_with_its_export(tmp_path: Path) -> None:
    model = catboost.CatBoostRegressor(iterations=2, verbose=0, allow_writing_files=False)

    with pytest.raises(LoadError, match=r"model\.save_model\('model\.cbm'\)"):
        reload(model.fit(ROWS, TARGETS["number"]), tmp_path)
