"""What CatBoost models predict: labels, probabilities and every form of value."""

from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pytest
from sklearn.datasets import load_iris

from registry.runtimes.tests.catboost_models import classifier, regressor, reload
from registry.runtimes.tests.scoring import score

ROWS, SPECIES = load_iris(return_X_y=True)
SIZES = ROWS[:, 0]


# -- classifiers


@pytest.mark.parametrize(
    ("labels", "datatype"),
    [
        (SPECIES, "INT64"),
        (np.array(["setosa", "versicolor", "virginica"])[SPECIES], "BYTES"),
        (SPECIES * 0.5, "FP64"),
        (SPECIES == 1, "BOOL"),
        ((SPECIES == 1).astype(int) * 2 - 1, "INT64"),
    ],
)
def test_classifier_predicts_like_the_library(
    labels: np.ndarray, datatype: str, tmp_path: Path
) -> None:
    model = classifier().fit(ROWS, labels)
    runtime = reload(model, tmp_path)

    outputs = score(runtime, ROWS.tolist())

    classes = runtime.signature.outputs[0].classes
    assert runtime.signature.outputs[0].datatype == datatype
    assert list(classes) == model.classes_.tolist()
    assert [classes[i] for i in outputs["label"]] == model.predict(ROWS).ravel().tolist()
    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(ROWS), atol=1e-12)


@pytest.mark.parametrize("threshold", [0.1, 0.9])
def test_the_probability_threshold_of_the_file_decides_the_label(
    threshold: float, tmp_path: Path
) -> None:
    model = classifier().fit(ROWS, SPECIES == 1)
    usual = model.predict(ROWS).tolist()
    model.set_probability_threshold(threshold)

    outputs = score(reload(model, tmp_path), ROWS.tolist())

    assert model.predict(ROWS).tolist() != usual
    assert outputs["label"].astype(bool).tolist() == model.predict(ROWS).tolist()


def test_the_probability_threshold_decides_each_of_several_labels(tmp_path: Path) -> None:
    both = np.stack([SPECIES == 1, SPECIES == 2], axis=1).astype(int)
    model = classifier(loss_function="MultiLogloss").fit(ROWS, both)
    usual = model.predict(ROWS).tolist()
    model.set_probability_threshold(0.9)

    outputs = score(reload(model, tmp_path), ROWS.tolist())

    assert model.predict(ROWS).tolist() != usual
    labels = np.stack([outputs["y0"], outputs["y1"]], axis=1)
    assert labels.tolist() == model.predict(ROWS).tolist()


@pytest.mark.parametrize("loss", ["MultiLogloss", "MultiCrossEntropy"])
def test_each_label_of_a_multi_label_model_has_two_outputs(loss: str, tmp_path: Path) -> None:
    both = np.stack([SPECIES == 1, SPECIES == 2], axis=1).astype(int)
    model = classifier(loss_function=loss).fit(ROWS, both)

    outputs = score(reload(model, tmp_path), ROWS.tolist())

    assert list(outputs) == ["y0", "y0_probabilities", "y1", "y1_probabilities"]
    labels = np.stack([outputs["y0"], outputs["y1"]], axis=1)
    assert labels.tolist() == model.predict(ROWS).tolist()
    positive = np.stack([outputs["y0_probabilities"], outputs["y1_probabilities"]], axis=1)[..., 1]
    np.testing.assert_allclose(positive, model.predict_proba(ROWS), atol=1e-12)


def test_the_labels_of_a_multi_label_model_have_the_names_in_the_file(tmp_path: Path) -> None:
    both = np.stack([SPECIES == 1, SPECIES == 2], axis=1).astype(int)
    model = classifier(loss_function="MultiLogloss", class_names=["long", "wide"]).fit(ROWS, both)

    outputs = score(reload(model, tmp_path), ROWS.tolist())

    assert list(outputs) == ["long", "long_probabilities", "wide", "wide_probabilities"]
    assert outputs["wide"].tolist() == model.predict(ROWS)[:, 1].tolist()


def test_the_sum_of_two_classifiers_predicts_like_the_library(tmp_path: Path) -> None:
    models = [classifier(random_seed=seed).fit(ROWS, SPECIES) for seed in (0, 1)]
    both = catboost.sum_models(models, weights=[0.5, 0.5])
    runtime = reload(both, tmp_path)

    outputs = score(runtime, ROWS.tolist())

    expected = both.predict(ROWS, prediction_type="Probability")
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-12)
    # The file no longer says how missing values were treated.
    assert not runtime.signature.inputs[0].nullable


@pytest.mark.parametrize("policy", ["SymmetricTree", "Depthwise", "Lossguide"])
def test_statistics_of_categories_predict_like_the_library(policy: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = np.empty((150, 3), object)
    rows[:, 0], rows[:, 1] = random.choice(list("abcdefgh"), (2, 150))
    rows[:, 2] = SIZES
    options = {"cat_features": [0, 1], "max_ctr_complexity": 2, "one_hot_max_size": 2}
    model = classifier(grow_policy=policy, **options).fit(rows, SPECIES)
    unseen = np.array([["a", "zz", 5.0], ["", "Straße", 5.0]], dtype=object)
    rows = np.concatenate([rows, unseen])

    outputs = score(reload(model, tmp_path), rows.tolist())

    expected = model.predict_proba(rows)
    assert len(np.unique(expected, axis=0)) > 10
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-12)


# -- values


@pytest.mark.parametrize(
    "loss",
    [
        "RMSE",
        "MultiQuantile:alpha=0.1,0.5,0.9",
        "Poisson",
        "Tweedie:variance_power=1.5",
        "RMSEWithUncertainty",
        # Their sums of leaves are logarithms, and stay so.
        "LogLinQuantile",
        "Cox",
    ],
)
def test_each_form_of_value_is_the_librarys_own(loss: str, tmp_path: Path) -> None:
    model = regressor(loss_function=loss).fit(ROWS[:, 1:], SIZES)
    runtime = reload(model, tmp_path)

    outputs = score(runtime, ROWS[:, 1:].tolist())

    expected = model.predict(ROWS[:, 1:]).reshape(len(ROWS), -1)
    assert np.ptp(expected, axis=0).all()
    names = ["value"] if expected.shape[1] == 1 else [f"y{i}" for i in range(expected.shape[1])]
    assert list(outputs) == names
    answered = np.stack([outputs[name] for name in names], axis=1)
    np.testing.assert_allclose(answered, expected, atol=1e-12)


def test_several_targets_predict_like_the_library(tmp_path: Path) -> None:
    targets = np.stack([SIZES, SIZES + 1], axis=1)
    model = regressor(loss_function="MultiRMSE").fit(ROWS[:, 1:], targets)

    outputs = score(reload(model, tmp_path), ROWS[:, 1:].tolist())

    answered = np.stack(list(outputs.values()), axis=1)
    expected = model.predict(ROWS[:, 1:]).reshape(len(ROWS), -1)
    np.testing.assert_allclose(answered, expected, atol=1e-12)


class _SquaredError:
    """A loss of the user's own."""

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> list[Any]:
        return [(target - approx, -1.0) for approx, target in zip(approxes, targets, strict=True)]


@pytest.mark.filterwarnings("ignore:Failed to import numba")
def test_a_custom_loss_answers_the_sums_of_the_leaves(tmp_path: Path) -> None:
    model = regressor(loss_function=_SquaredError(), eval_metric="RMSE").fit(ROWS[:, 1:], SIZES)

    outputs = score(reload(model, tmp_path), ROWS[:, 1:].tolist())

    expected = model.predict(ROWS[:, 1:], prediction_type="RawFormulaVal")
    np.testing.assert_allclose(outputs["value"], expected, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Failed to import numba")
def test_a_custom_loss_of_a_classifier_answers_labels_as_the_library(tmp_path: Path) -> None:
    model = classifier(loss_function=_SquaredError(), eval_metric="Logloss")
    model.fit(ROWS, (SPECIES == 1).astype(int))

    outputs = score(reload(model, tmp_path), ROWS.tolist())

    assert outputs["label"].tolist() == model.predict(ROWS).tolist()
    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(ROWS), atol=1e-12)
