"""Models of other frameworks as ONNX: converted and compared."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import skops.io
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

from registry.artifacts.sniffing import ArtifactRejected, sniff
from registry.conversion import convert
from registry.conversion.parity import TOLERANCE, compare
from registry.runtimes import runtime_module
from registry.runtimes.base import LoadOptions, Outputs
from registry.signatures.arrangement import arrange
from registry.signatures.completion import complete
from registry.signatures.signature import Output, Signature
from registry.testing import trained_models

FITTED = 1500
Data = tuple[np.ndarray, np.ndarray]

pytestmark = pytest.mark.slow


def with_gaps(rows: np.ndarray) -> np.ndarray:
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


def as_json(rows: np.ndarray) -> list[dict[str, Any]]:
    return [{"features": [None if v != v else v for v in row]} for row in rows.tolist()]


def save(model: Any, path: Path) -> Path:
    if isinstance(model, xgboost.XGBModel):
        model.save_model(path)
    elif isinstance(model, lightgbm.LGBMModel):
        model.booster_.save_model(path)
    else:
        skops.io.dump(model, path)
    return path


def convert_here(path: Path, example: Any = (), declared: Any = None) -> dict[str, Any]:
    """What the subprocess does, in this one: a fresh interpreter imports for seconds."""
    return convert.examine(
        {
            "path": str(path),
            "folder": str(path.parent),
            "framework": sniff(path),
            "trusted_types": [],
            "declared": declared,
            "example": list(example),
        }
    )


def answers(path: Path, rows: list[Any], declared: Any = None) -> tuple[Signature, Outputs]:
    runtime = runtime_module(sniff(path)).load(path, LoadOptions())
    wanted = None if declared is None else Signature.from_json(declared)
    signature = complete(runtime.signature, wanted)
    return signature, runtime.predict(arrange(signature, rows))


def assert_alike(
    source: Path, answer: Mapping[str, Any], rows: list[Any], declared: Any = None
) -> Signature:
    """The ONNX file answers rows it was not compared on as its source does; its signature."""
    signature, theirs = answers(source, rows, declared)
    own, ours = answers(source.parent / answer["file"], rows, answer["signature"])
    pairs = zip(signature.outputs, own.outputs, strict=True)
    renamed = {told.name: ours[output.name] for told, output in pairs}
    parity = compare(signature, theirs, renamed)
    assert parity.labels_differ == 0
    assert parity.max_difference <= TOLERANCE
    return own


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
def test_a_classifier_answers_alike(
    model: Any, precision: str, three_classes: Data, tmp_path: Path
) -> None:
    rows, labels = three_classes
    names = np.array(["low", "mid", "high"])[labels]
    source = save(model.fit(rows[:FITTED], names[:FITTED]), tmp_path / "m.skops")

    answer = convert_here(source)

    own = assert_alike(source, answer, as_json(rows[FITTED:]))
    assert answer["precision"] == precision
    assert own.inputs[0].datatype == ("FP32" if precision == "single" else "FP64")
    assert own.outputs[0].classes == ("high", "low", "mid")


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        make_pipeline(StandardScaler(), Ridge()),
        make_pipeline(StandardScaler(), RandomForestRegressor(10, random_state=0)),
    ],
)
def test_a_regressor_answers_alike(model: Any, values: Data, tmp_path: Path) -> None:
    rows, target = values
    source = save(model.fit(rows[:FITTED], target[:FITTED]), tmp_path / "m.skops")

    answer = convert_here(source, as_json(rows[:1000]))

    assert_alike(source, answer, as_json(rows[FITTED:]))
    assert answer["parity"]["rows"] == 1000


def test_histogram_boosting_takes_missing_values_alike(
    three_classes: Data, values: Data, tmp_path: Path
) -> None:
    for kind, (rows, target) in (
        (HistGradientBoostingClassifier, three_classes),
        (HistGradientBoostingRegressor, values),
    ):
        rows = with_gaps(rows)
        model = kind(max_iter=10).fit(rows[:FITTED], target[:FITTED])
        source = save(model, tmp_path / "m.skops")

        answer = convert_here(source)

        own = assert_alike(source, answer, as_json(rows[FITTED:]))
        assert own.inputs[0].nullable
        assert not answer["refuses_missing"]


def test_several_values_keep_their_names(values: Data, tmp_path: Path) -> None:
    rows, target = values
    both = np.stack([target, -target], axis=1)
    source = save(LinearRegression().fit(rows, both), tmp_path / "m.skops")

    answer = convert_here(source)

    own = assert_alike(source, answer, as_json(rows[FITTED:]))
    assert [output.name for output in own.outputs] == ["y0", "y1"]


def test_an_outlier_detector_keeps_its_one_answer(values: Data, tmp_path: Path) -> None:
    rows, _ = values
    source = save(
        IsolationForest(n_estimators=5, random_state=0).fit(rows[:300]), tmp_path / "m.skops"
    )

    answer = convert_here(source, as_json(rows[:1000]))

    own = assert_alike(source, answer, as_json(rows[FITTED:]))
    assert len(own.outputs) == 1


def test_a_scaler_before_a_forest_answers_alike_or_is_refused_with_figures(
    three_classes: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In single precision, scaled values fall on the other side of a threshold."""
    rows, labels = three_classes
    forest = RandomForestClassifier(25, random_state=1)
    model = make_pipeline(StandardScaler(), forest).fit(rows[:FITTED], labels[:FITTED])
    source = save(model, tmp_path / "m.skops")
    assert_alike(source, convert_here(source), as_json(rows[FITTED:]))

    ways = convert._converters()
    monkeypatch.setattr(ways, "_sklearn_ways", _only_single(ways._sklearn_ways))
    near = _near_thresholds(model, rows)

    with pytest.raises(ArtifactRejected, match=r"of 2,000 rows, .* another label and") as caught:
        convert_here(source, as_json(near))

    assert "in single precision" in str(caught.value)


def _only_single(ways: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: [way for way in ways(*given) if way[0] == "single"]


def _near_thresholds(model: Any, rows: np.ndarray) -> np.ndarray:
    """Rows that a scaler puts a hair above or below the thresholds of the trees behind it."""
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


def test_named_columns_of_text_and_numbers_become_an_input_each(tmp_path: Path) -> None:
    trained = trained_models.mixed_skops(tmp_path / "m.skops")
    declared = {"inputs": [{"name": "seats", "datatype": "INT64"}]}

    answer = convert_here(trained.path, declared=declared)

    table = trained_models.reviews_table(200).to_pydict()
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    for row in rows:
        row["age"] = None if row["age"] != row["age"] else row["age"]
    own = assert_alike(trained.path, answer, rows, declared)
    assert own.feature_names == ("age", "city", "review", "seats")
    assert [tensor.datatype for tensor in own.inputs] == ["FP32", "BYTES", "BYTES", "INT64"]
    assert own.outputs[0].classes == ("no", "yes")


def test_labels_that_are_true_or_false_stay_so(tmp_path: Path) -> None:
    trained = trained_models.text_skops(tmp_path / "m.skops")

    answer = convert_here(trained.path)

    rows = [{"text": text} for text in ("good FILM", "Dull", "dull, bad", "naïve") * 10]
    own = assert_alike(trained.path, answer, rows)
    assert own.outputs[0].classes == (False, True)
    assert own.outputs[0].datatype == "BOOL"


def test_a_forest_that_was_shown_no_gaps_refuses_them_as_onnx(tmp_path: Path) -> None:
    trained = trained_models.wine_skops(tmp_path / "m.skops")

    answer = convert_here(trained.path)

    assert answer["refuses_missing"]
    own = assert_alike(trained.path, answer, as_json(trained.rows))
    assert not own.inputs[0].nullable
    assert own.inputs[0].features[0] == "alcohol"


# -- XGBoost, LightGBM


@pytest.mark.parametrize("suffix", ["ubj", "json", "txt"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_boosted_classifier_takes_missing_values_alike(
    suffix: str, n_classes: int, three_classes: Data, tmp_path: Path
) -> None:
    rows, labels = with_gaps(three_classes[0]), three_classes[1] % n_classes
    kind = lightgbm.LGBMClassifier if suffix == "txt" else xgboost.XGBClassifier
    model = kind(n_estimators=10, n_jobs=1, verbosity=-1 if suffix == "txt" else 0)
    source = save(model.fit(rows[:FITTED], labels[:FITTED]), tmp_path / f"m.{suffix}")
    declared = {"classes": ["a", "b", "c"][:n_classes]}

    answer = convert_here(source, declared=declared)

    own = assert_alike(source, answer, as_json(rows[FITTED:]), declared)
    assert own.inputs[0].nullable
    assert own.outputs[0].classes == tuple(declared["classes"])


@pytest.mark.parametrize("suffix", ["ubj", "txt"])
def test_a_boosted_regressor_takes_missing_values_alike(
    suffix: str, values: Data, tmp_path: Path
) -> None:
    rows, target = with_gaps(values[0]), values[1]
    kind = lightgbm.LGBMRegressor if suffix == "txt" else xgboost.XGBRegressor
    model = kind(n_estimators=20, n_jobs=1, verbosity=-1 if suffix == "txt" else 0)
    source = save(model.fit(rows[:FITTED], target[:FITTED]), tmp_path / f"m.{suffix}")

    answer = convert_here(source, as_json(rows[:1000]))

    assert_alike(source, answer, as_json(rows[FITTED:]))


def test_an_early_stopped_booster_is_cut_at_its_best_tree(
    three_classes: Data, tmp_path: Path
) -> None:
    rows, labels = three_classes
    model = xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2, learning_rate=1)
    noise = np.random.default_rng(0).permutation(labels[FITTED:])
    model.fit(rows[:FITTED], labels[:FITTED], eval_set=[(rows[FITTED:], noise)], verbose=False)
    source = save(model, tmp_path / "m.ubj")

    answer = convert_here(source)

    assert_alike(source, answer, as_json(rows[FITTED:]))


# -- figures


def test_differences_are_counted_by_row() -> None:
    signature = Signature(
        (),
        (
            Output("label", "INT64", (-1,), "label", (0, 1)),
            Output("probabilities", "FP64", (-1, 2), "probabilities", (0, 1)),
            Output("value", "FP64", (-1,)),
        ),
    )
    theirs = {
        "label": np.array([0, 1, 1]),
        "probabilities": np.array([[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]),
        "value": np.array([1000.0, 1.0, 0.0]),
    }
    ours = {
        "label": np.array([0, 0, 1]),
        "probabilities": np.array([[0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]),
        "value": np.array([1000.001, 1.0, np.nan]),
    }

    parity = compare(signature, theirs, ours)

    assert (parity.rows, parity.labels_differ, parity.rows_differ) == (3, 1, 2)
    assert not parity.is_proved
    assert compare(signature, theirs, theirs).is_proved
