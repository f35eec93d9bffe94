"""Models of other frameworks are converted to ONNX and compared."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from registry.artifacts.errors import ArtifactRejected
from registry.conversion import convert as conversion
from registry.conversion.parity import TOLERANCE, compare
from registry.conversion.tests.matrix import as_json, convert_here, save, score
from registry.signatures.signature import Signature
from registry.testing import trained_models

N_TRAINING_ROWS = 1500
Data = tuple[np.ndarray, np.ndarray]

pytestmark = [pytest.mark.slow, pytest.mark.any_database]


def with_missing_values(rows: np.ndarray) -> np.ndarray:
    rows = rows.copy()
    rows[np.random.default_rng(0).random(rows.shape) < 0.05] = np.nan
    return rows


@pytest.fixture(scope="module")
def three_classes() -> Data:
    rows, labels = make_classification(
        2600, 8, n_informative=6, n_classes=3, class_sep=2, random_state=0
    )
    return rows * 5 + 3, labels


@pytest.fixture(scope="module")
def values() -> Data:
    rows, target = make_regression(2600, 8, noise=3, random_state=0)
    return rows, target


def assert_scores_alike(
    source: Path, result: Mapping[str, Any], rows: list[Any], declared: Any = None
) -> Signature:
    """Compare both forms on rows that the conversion has not seen; returns the ONNX signature."""
    signature, expected = score(source, rows, declared)
    onnx_signature, actual = score(source.parent / result["file"], rows, result["signature"])
    outputs = zip(signature.outputs, onnx_signature.outputs, strict=True)
    renamed = {output.name: actual[onnx_output.name] for output, onnx_output in outputs}
    parity = compare(signature, expected, renamed)
    assert parity.labels_differ == 0
    assert parity.max_difference <= TOLERANCE
    return onnx_signature


# -- scikit-learn


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        (LogisticRegression(max_iter=1000), "double"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "double"),
        (RandomForestClassifier(15, random_state=1), "double, then single"),
        (GradientBoostingClassifier(n_estimators=10, random_state=0), "double, then single"),
        (LinearSVC(), "single"),
    ],
)
def test_a_classifier_scores_alike(
    model: Any, precision: str, three_classes: Data, tmp_path: Path
) -> None:
    rows, labels = three_classes
    names = np.array(["low", "mid", "high"])[labels]
    source = save(model.fit(rows[:N_TRAINING_ROWS], names[:N_TRAINING_ROWS]), tmp_path / "m.skops")

    result = convert_here(source)

    onnx_signature = assert_scores_alike(source, result, as_json(rows[N_TRAINING_ROWS:]))
    assert result["precision"] == precision
    assert onnx_signature.inputs[0].datatype == ("FP32" if precision == "single" else "FP64")
    assert onnx_signature.outputs[0].classes == ("high", "low", "mid")


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        make_pipeline(StandardScaler(), Ridge()),
        make_pipeline(StandardScaler(), RandomForestRegressor(10, random_state=0)),
    ],
)
def test_a_regressor_scores_alike(model: Any, values: Data, tmp_path: Path) -> None:
    rows, target = values
    source = save(model.fit(rows[:N_TRAINING_ROWS], target[:N_TRAINING_ROWS]), tmp_path / "m.skops")

    result = convert_here(source, as_json(rows[:1000]))

    assert_scores_alike(source, result, as_json(rows[N_TRAINING_ROWS:]))
    assert result["parity"]["rows"] == 1000


def test_histogram_boosting_scores_missing_values_alike(
    three_classes: Data, values: Data, tmp_path: Path
) -> None:
    for kind, (rows, target) in (
        (HistGradientBoostingClassifier, three_classes),
        (HistGradientBoostingRegressor, values),
    ):
        rows = with_missing_values(rows)
        model = kind(max_iter=10).fit(rows[:N_TRAINING_ROWS], target[:N_TRAINING_ROWS])
        source = save(model, tmp_path / "m.skops")

        result = convert_here(source)

        onnx_signature = assert_scores_alike(source, result, as_json(rows[N_TRAINING_ROWS:]))
        assert onnx_signature.inputs[0].nullable
        assert not result["refuses_missing"]


def test_several_outputs_keep_their_names(values: Data, tmp_path: Path) -> None:
    rows, target = values
    both = np.stack([target, -target], axis=1)
    source = save(LinearRegression().fit(rows, both), tmp_path / "m.skops")

    result = convert_here(source)

    onnx_signature = assert_scores_alike(source, result, as_json(rows[N_TRAINING_ROWS:]))
    assert [output.name for output in onnx_signature.outputs] == ["y0", "y1"]


def test_an_outlier_detector_keeps_its_single_output(values: Data, tmp_path: Path) -> None:
    rows, _ = values
    source = save(
        IsolationForest(n_estimators=5, random_state=0).fit(rows[:300]), tmp_path / "m.skops"
    )

    result = convert_here(source, as_json(rows[:1000]))

    onnx_signature = assert_scores_alike(source, result, as_json(rows[N_TRAINING_ROWS:]))
    assert len(onnx_signature.outputs) == 1


def test_a_scaler_before_a_forest_scores_alike_or_is_refused_with_figures(
    three_classes: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In single precision, some scaled values end up on the other side of a threshold."""
    rows, labels = three_classes
    forest = RandomForestClassifier(25, random_state=1)
    model = make_pipeline(StandardScaler(), forest).fit(
        rows[:N_TRAINING_ROWS], labels[:N_TRAINING_ROWS]
    )
    source = save(model, tmp_path / "m.skops")
    assert_scores_alike(source, convert_here(source), as_json(rows[N_TRAINING_ROWS:]))

    converters = conversion._import_converters()
    single = _only_single(converters.sklearn_builds)
    monkeypatch.setattr(converters, "sklearn_builds", single)
    near = _near_thresholds(model, rows)

    with pytest.raises(
        ArtifactRejected, match=r"of 2,000 rows, .* a different label and"
    ) as caught:
        convert_here(source, as_json(near))

    assert "in single precision" in str(caught.value)


def _only_single(builds: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: [build for build in builds(*args) if build[0] == "single"]


def _near_thresholds(model: Any, rows: np.ndarray) -> np.ndarray:
    """Rows that a scaler puts just above or below the thresholds of the trees behind it."""
    scaler, forest = (step for _, step in model.steps)
    rows = np.resize(rows, (2000, rows.shape[1]))
    trees = [tree.tree_ for tree in forest.estimators_]
    columns = np.concatenate([tree.feature[tree.feature >= 0] for tree in trees])
    levels = np.concatenate([tree.threshold[tree.feature >= 0] for tree in trees])
    random = np.random.default_rng(0)
    for column in range(rows.shape[1]):
        picked = random.choice(levels[columns == column], len(rows))
        rows[:, column] = picked * scaler.scale_[column] + scaler.mean_[column]
    return rows


def test_each_named_column_becomes_an_input(tmp_path: Path) -> None:
    trained = trained_models.mixed_skops(tmp_path / "m.skops")
    declared = {"inputs": [{"name": "seats", "datatype": "INT64"}]}

    table = trained_models.reviews_table(1200).to_pydict()
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    for row in rows:
        row["age"] = None if row["age"] != row["age"] else row["age"]

    result = convert_here(trained.path, rows[:1000], declared)

    rows = rows[1000:]
    onnx_signature = assert_scores_alike(trained.path, result, rows, declared)
    assert onnx_signature.feature_names == ("age", "city", "review", "seats")
    assert [tensor.datatype for tensor in onnx_signature.inputs] == [
        "FP32",
        "BYTES",
        "BYTES",
        "INT64",
    ]
    assert onnx_signature.outputs[0].classes == ("no", "yes")


def test_a_forest_trained_without_missing_values_refuses_them_as_onnx(tmp_path: Path) -> None:
    trained = trained_models.wine_skops(tmp_path / "m.skops")

    result = convert_here(trained.path)

    assert result["refuses_missing"]
    onnx_signature = assert_scores_alike(trained.path, result, as_json(trained.rows))
    assert not onnx_signature.inputs[0].nullable
    assert onnx_signature.inputs[0].features[0] == "alcohol"


# -- XGBoost, LightGBM


@pytest.mark.parametrize("suffix", ["ubj", "json", "txt"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_boosted_classifier_scores_missing_values_alike(
    suffix: str, n_classes: int, three_classes: Data, tmp_path: Path
) -> None:
    rows, labels = with_missing_values(three_classes[0]), three_classes[1] % n_classes
    kind = lightgbm.LGBMClassifier if suffix == "txt" else xgboost.XGBClassifier
    model = kind(n_estimators=10, n_jobs=1, verbosity=-1 if suffix == "txt" else 0)
    source = save(
        model.fit(rows[:N_TRAINING_ROWS], labels[:N_TRAINING_ROWS]), tmp_path / f"m.{suffix}"
    )
    declared = {"classes": ["a", "b", "c"][:n_classes]}

    result = convert_here(source, declared=declared)

    onnx_signature = assert_scores_alike(source, result, as_json(rows[N_TRAINING_ROWS:]), declared)
    assert onnx_signature.inputs[0].nullable
    assert onnx_signature.outputs[0].classes == tuple(declared["classes"])


@pytest.mark.parametrize("suffix", ["ubj", "txt"])
def test_a_boosted_regressor_scores_missing_values_alike(
    suffix: str, values: Data, tmp_path: Path
) -> None:
    rows, target = with_missing_values(values[0]), values[1]
    kind = lightgbm.LGBMRegressor if suffix == "txt" else xgboost.XGBRegressor
    model = kind(n_estimators=20, n_jobs=1, verbosity=-1 if suffix == "txt" else 0)
    source = save(
        model.fit(rows[:N_TRAINING_ROWS], target[:N_TRAINING_ROWS]), tmp_path / f"m.{suffix}"
    )

    result = convert_here(source, as_json(rows[:1000]))

    assert_scores_alike(source, result, as_json(rows[N_TRAINING_ROWS:]))


def test_an_early_stopped_booster_ends_at_its_best_tree(
    three_classes: Data, tmp_path: Path
) -> None:
    rows, labels = three_classes
    model = xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2, learning_rate=1)
    noise = np.random.default_rng(0).permutation(labels[N_TRAINING_ROWS:])
    model.fit(
        rows[:N_TRAINING_ROWS],
        labels[:N_TRAINING_ROWS],
        eval_set=[(rows[N_TRAINING_ROWS:], noise)],
        verbose=False,
    )
    source = save(model, tmp_path / "m.ubj")

    result = convert_here(source)

    assert_scores_alike(source, result, as_json(rows[N_TRAINING_ROWS:]))
