import logging
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from registry.runtimes.base import InferenceError, LoadError, LoadOptions, Outputs
from registry.runtimes.sklearn.runtime import SklearnRuntime, load
from registry.signatures.signature import ClassLabel
from registry.testing import trained_models

OPTIONS = LoadOptions()
ROWS = np.random.default_rng(1).normal(size=(40, 3))
COLOURS = np.array(["red", "green"])[(ROWS[:, 0] > 0).astype(int)]
BOTH = np.stack([ROWS[:, 0] > 0, ROWS[:, 1] > 0], axis=1).astype(int)


def reload(estimator: BaseEstimator, folder: Path) -> SklearnRuntime:
    path = folder / "model.skops"
    skops.io.dump(estimator, path)
    return load(path, OPTIONS)


def labels(runtime: SklearnRuntime, outputs: Outputs, name: str = "label") -> list[ClassLabel]:
    output = next(output for output in runtime.signature.outputs if output.name == name)
    return [output.classes[index] for index in outputs[name]]


def arrays_of(table: Any) -> dict[str, np.ndarray]:
    return {
        name: np.array(values, dtype=object if isinstance(values[0], str) else None)
        for name, values in table.to_pydict().items()
    }


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


def test_each_named_column_is_an_input_with_the_datatype_in_the_file(tmp_path: Path) -> None:
    trained = trained_models.mixed_skops(tmp_path / "model.skops")

    inputs = load(trained.path, OPTIONS).signature.inputs

    assert [(tensor.name, tensor.datatype, tensor.nullable) for tensor in inputs] == [
        ("age", "FP64", True),
        ("city", "BYTES", False),
        ("review", "BYTES", False),
        ("seats", None, False),
    ]


def test_a_bare_text_pipeline_takes_one_text(tmp_path: Path) -> None:
    trained = trained_models.text_skops(tmp_path / "model.skops")
    runtime = load(trained.path, OPTIONS)

    outputs = runtime.predict({"text": trained.rows})

    assert [(tensor.name, tensor.datatype) for tensor in runtime.signature.inputs] == [
        ("text", "BYTES")
    ]
    assert labels(runtime, outputs) == trained.estimator.predict(trained.rows).tolist()


def test_columns_without_names_are_numbered(tmp_path: Path) -> None:
    cells = np.array([[number, text] for number, text in zip(ROWS[:, 0], COLOURS, strict=True)])
    cells = cells.astype(object)
    cells[:, 0] = ROWS[:, 0]
    columns = ColumnTransformer([("n", StandardScaler(), [0]), ("c", OneHotEncoder(), [1])])
    model = make_pipeline(columns, LogisticRegression()).fit(cells, COLOURS)
    runtime = reload(model, tmp_path)

    outputs = runtime.predict({"x0": ROWS[:, 0], "x1": COLOURS.astype(object)})

    assert [(t.name, t.datatype) for t in runtime.signature.inputs] == [
        ("x0", "FP64"),
        ("x1", "BYTES"),
    ]
    assert labels(runtime, outputs) == model.predict(cells).tolist()


def test_feature_names_are_read_and_no_call_warns(tmp_path: Path) -> None:
    trained = trained_models.wine_skops(tmp_path / "model.skops")
    runtime = load(trained.path, OPTIONS)

    runtime.predict({"features": trained.rows})

    (features,) = runtime.signature.inputs
    assert features.shape == (-1, 13)
    assert features.features[:2] == ("alcohol", "malic_acid")


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


def test_missing_values_are_accepted_if_the_model_accepts_them(tmp_path: Path) -> None:
    boosted = HistGradientBoostingRegressor(max_iter=2).fit(ROWS, ROWS[:, 0])
    linear = make_pipeline(StandardScaler(), Ridge()).fit(ROWS, ROWS[:, 0])

    assert reload(boosted, tmp_path).signature.inputs[0].nullable is True
    assert reload(linear, tmp_path).signature.inputs[0].nullable is False


def test_histogram_boosting_with_a_category_loads(tmp_path: Path) -> None:
    rows = np.concatenate([ROWS, np.arange(len(ROWS))[:, None] % 4], axis=1)
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=[3]).fit(rows, COLOURS)
    runtime = reload(model, tmp_path)

    outputs = runtime.predict({"features": rows})

    np.testing.assert_array_equal(outputs["probabilities"], model.predict_proba(rows))


def test_untrusted_types_are_named(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(np.save), Ridge())
    model.steps[0][1].fit(ROWS)
    model.steps[1][1].fit(ROWS, ROWS[:, 0])

    with pytest.raises(LoadError, match=r"'numpy\.save'.*SKLEARN_TRUSTED_TYPES"):
        reload(model, tmp_path)


def test_a_type_in_the_setting_is_trusted(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(np.nan_to_num), Ridge()).fit(ROWS, ROWS[:, 0])
    skops.io.dump(model, tmp_path / "model.skops")
    options = LoadOptions(frozenset(["numpy.nan_to_num"]))

    outputs = load(tmp_path / "model.skops", options).predict({"features": ROWS})

    np.testing.assert_array_equal(outputs["value"], model.predict(ROWS))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LogisticRegression(), "not fitted"),
        (StandardScaler().fit(ROWS), "does not predict"),
        ({"weights": ROWS}, "not an estimator"),
    ],
)
def test_an_object_that_cannot_predict_is_refused(
    model: object, message: str, tmp_path: Path
) -> None:
    with pytest.raises(LoadError, match=message):
        reload(model, tmp_path)


def test_a_vectorizer_that_opens_files_is_refused(tmp_path: Path) -> None:
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["yes", "no"], [1, 0])
    model.steps[0][1].input = "filename"

    with pytest.raises(LoadError, match="reads files"):
        reload(model, tmp_path)


@pytest.mark.parametrize("field", ["left_child", "feature"])
def test_a_tree_with_an_index_out_of_bounds_is_refused(field: str, tmp_path: Path) -> None:
    model = RandomForestClassifier(2, random_state=0).fit(ROWS, COLOURS)
    path = tmp_path / "model.skops"
    skops.io.dump(model, path)
    _corrupt_nodes(path, field)

    with pytest.raises(LoadError, match="damaged"):
        load(path, OPTIONS)


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
def test_a_neighbour_tree_loads(algorithm: str, tmp_path: Path) -> None:
    model = KNeighborsClassifier(algorithm=algorithm).fit(ROWS, COLOURS)
    runtime = reload(model, tmp_path)

    assert labels(runtime, runtime.predict({"features": ROWS})) == model.predict(ROWS).tolist()


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


def test_a_file_of_another_library_version_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = trained_models.diabetes_skops(tmp_path / "model.skops")
    _rewrite(trained.path, "schema.json", lambda schema: schema.replace(b"1.9", b"1.8"))

    with caplog.at_level(logging.WARNING):
        runtime = load(trained.path, OPTIONS)

    assert runtime.libraries["scikit-learn"].startswith("1.8")
    assert len([record for record in caplog.records if "was written by" in record.message]) == 1


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


def _rewrite(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members[name] = change(members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def _corrupt_nodes(path: Path, field: str) -> None:
    def corrupt(content: bytes) -> bytes:
        header, _, body = content.partition(b"\n")
        nodes = np.frombuffer(body, dtype=dtypes[0]).copy()
        nodes[field][0] = 10_000
        return header + b"\n" + nodes.tobytes()

    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as file:
                    array = np.lib.format.read_array(file)
                if array.dtype.names and "left_child" in array.dtype.names:
                    dtypes = [array.dtype]
                    break
    _rewrite(path, name, corrupt)
