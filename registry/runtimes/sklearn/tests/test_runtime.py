"""Predictions of scikit-learn models."""

import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression
from sklearn.svm import SVC

from registry.runtimes.base import InferenceError
from registry.runtimes.sklearn.runtime import load
from registry.runtimes.sklearn.tests.estimators import (
    BOTH,
    COLOURS,
    OPTIONS,
    ROWS,
    arrays_of,
    labels,
    reload,
)
from registry.testing import trained_models


@pytest.mark.parametrize("n_rows", [1, 150])
@pytest.mark.parametrize(
    "train", [trained_models.iris_skops, trained_models.wine_skops, trained_models.histogram_skops]
)
def test_classifier_predicts_like_the_library(
    train: Callable[[Path], trained_models.Trained], n_rows: int, tmp_path: Path
) -> None:
    trained = train(tmp_path / "model.skops")
    rows = trained.rows[:n_rows]
    runtime = load(trained.path, OPTIONS)

    outputs = runtime.predict({"features": rows})

    estimator = trained.estimator
    # With names, it would warn about an array.
    if hasattr(estimator, "feature_names_in_") and not hasattr(estimator, "steps"):
        del estimator.feature_names_in_
    assert labels(runtime, outputs) == estimator.predict(rows).tolist()
    np.testing.assert_array_equal(outputs["probabilities"], estimator.predict_proba(rows))


def test_regressor_predicts_like_the_library(tmp_path: Path) -> None:
    trained = trained_models.diabetes_skops(tmp_path / "model.skops")

    outputs = load(trained.path, OPTIONS).predict({"features": trained.rows})

    np.testing.assert_array_equal(outputs["value"], trained.estimator.predict(trained.rows))


def test_text_and_number_columns_predict_like_the_library(tmp_path: Path) -> None:
    trained = trained_models.mixed_skops(tmp_path / "model.skops")
    runtime = load(trained.path, OPTIONS)

    outputs = runtime.predict(arrays_of(trained.rows))

    assert labels(runtime, outputs) == trained.estimator.predict(trained.rows).tolist()
    expected = trained.estimator.predict_proba(trained.rows)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-12)


def test_each_target_of_a_classifier_has_two_outputs(tmp_path: Path) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(ROWS, BOTH)
    runtime = reload(model, tmp_path)

    outputs = runtime.predict({"features": ROWS})

    assert list(outputs) == ["y0", "y0_probabilities", "y1", "y1_probabilities"]
    assert labels(runtime, outputs, "y1") == model.predict(ROWS)[:, 1].tolist()
    np.testing.assert_array_equal(outputs["y1_probabilities"], model.predict_proba(ROWS)[1])


@pytest.mark.parametrize("model", [LinearRegression(), RandomForestRegressor(5)])
def test_each_target_of_a_regressor_has_an_output(model: BaseEstimator, tmp_path: Path) -> None:
    model.fit(ROWS, ROWS[:, :2])

    outputs = reload(model, tmp_path).predict({"features": ROWS})

    assert list(outputs) == ["y0", "y1"]
    np.testing.assert_array_equal(outputs["y1"], model.predict(ROWS)[:, 1])


def test_histogram_boosting_with_a_category_loads(tmp_path: Path) -> None:
    rows = np.concatenate([ROWS, np.arange(len(ROWS))[:, None] % 4], axis=1)
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=[3]).fit(rows, COLOURS)
    runtime = reload(model, tmp_path)

    outputs = runtime.predict({"features": rows})

    np.testing.assert_array_equal(outputs["probabilities"], model.predict_proba(rows))


def test_a_classifier_without_probabilities_has_only_a_label(tmp_path: Path) -> None:
    model = SVC(kernel="linear").fit(ROWS, COLOURS)
    runtime = reload(model, tmp_path)

    assert [output.name for output in runtime.signature.outputs] == ["label"]
    assert labels(runtime, runtime.predict({"features": ROWS})) == model.predict(ROWS).tolist()


def test_an_exception_of_the_library_is_an_inference_error(tmp_path: Path) -> None:
    trained = trained_models.iris_skops(tmp_path / "model.skops")
    runtime = load(trained.path, OPTIONS)

    with pytest.raises(InferenceError, match="NaN"):
        runtime.predict({"features": np.full((1, 4), np.nan)})


def test_threads_share_a_runtime(tmp_path: Path) -> None:
    trained = trained_models.histogram_skops(tmp_path / "model.skops")
    runtime = load(trained.path, OPTIONS)
    expected = trained.estimator.predict_proba(trained.rows)
    wrong: list[int] = []

    def score(start: int) -> None:
        for row in range(start, 150, 8):
            outputs = runtime.predict({"features": trained.rows[row : row + 1]})
            if not np.array_equal(outputs["probabilities"], expected[row : row + 1]):
                wrong.append(row)

    threads = [threading.Thread(target=score, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_a_prediction_leaves_the_warning_filters_of_the_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = trained_models.wine_skops(tmp_path / "model.skops")
    runtime = load(trained.path, OPTIONS)
    resets: list[None] = []
    monkeypatch.setattr(warnings, "resetwarnings", lambda: resets.append(None))

    runtime.predict({"features": trained.rows})

    # Threads that replace them at the same time lose them for good.
    assert resets == []
