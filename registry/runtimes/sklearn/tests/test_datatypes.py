"""The datatypes of columns: booleans, dates, and categories that an encoder refuses."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from registry.runtimes.base import InferenceError, LoadError, LoadOptions
from registry.runtimes.sklearn.runtime import SklearnRuntime, load
from registry.runtimes.sklearn.tests.estimators import COLOURS, ROWS, reload
from registry.signatures.arrangement import arrange
from registry.signatures.completion import complete
from registry.signatures.signature import Signature

LABELS = (ROWS[:, 0] > 0).astype(int)
FLAGS = (ROWS > 0).astype(bool)


def reload_declared(
    model: object, declared: dict[str, Any], folder: Path
) -> tuple[SklearnRuntime, Signature]:
    """The model and its signature, as registered with that declaration."""
    skops.io.dump(model, folder / "model.skops")
    signature = Signature.from_json(declared)
    runtime = load(folder / "model.skops", LoadOptions(declared=signature))
    return runtime, complete(runtime.signature, signature)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (np.array(["2026-01-01", "2026-01-02"], "M8[D]"), "dates"),
        (np.array([1, 2], "m8[D]"), "durations"),
        (np.array([b"a", b"b"], dtype=object), "the type bytes"),
        (np.array([b"a", b"b"]), "bytes"),
    ],
)
def test_categories_that_json_does_not_have_are_refused(
    values: np.ndarray, named: str, tmp_path: Path
) -> None:
    rows = np.resize(values, 40)[:, None]
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(rows, LABELS)

    with pytest.raises(LoadError, match=f"{named} in the column 'x0'"):
        reload(model, tmp_path)


def test_dates_declared_as_text_are_refused_too(tmp_path: Path) -> None:
    rows = np.resize(np.array(["2026-01-01", "2026-01-02"], "M8[D]"), 40)[:, None]
    columns = ColumnTransformer([("day", OneHotEncoder(handle_unknown="ignore"), [0])])
    model = make_pipeline(columns, LogisticRegression()).fit(rows, LABELS)
    declared = {"columns": [{"name": "day", "datatype": "BYTES"}]}

    with pytest.raises(LoadError, match="trained on dates"):
        reload_declared(model, declared, tmp_path)


def test_objects_of_dates_are_refused(tmp_path: Path) -> None:
    encoder = OneHotEncoder().fit(np.array([["a"], ["b"]], dtype=object))
    encoder.categories_ = [np.array([b"a", datetime.date(2026, 1, 1).isoformat().encode()], "O")]

    with pytest.raises(LoadError, match="the type bytes"):
        reload(make_pipeline(encoder, LogisticRegression().fit(FLAGS[:, :2], LABELS)), tmp_path)


# -- booleans


def test_encoded_booleans_are_true_and_false(tmp_path: Path) -> None:
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(FLAGS, LABELS)
    runtime = reload(model, tmp_path)

    rows = [{"features": row} for row in FLAGS.tolist()]
    outputs = runtime.predict(arrange(runtime.signature, rows))

    assert [tensor.datatype for tensor in runtime.signature.inputs] == ["BOOL"] * 3
    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(FLAGS))


def test_a_named_number_may_be_declared_as_a_boolean(tmp_path: Path) -> None:
    rows = np.column_stack([ROWS[:, 0], FLAGS[:, 1]]).astype(float)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, LABELS)
    expected = model.predict_proba([[1.5, 1.0]])
    model[0].feature_names_in_ = np.array(["age", "member"], dtype=object)
    declared = {
        "columns": [{"name": "age", "datatype": "FP64"}, {"name": "member", "datatype": "BOOL"}]
    }
    runtime, signature = reload_declared(model, declared, tmp_path)

    arrays = arrange(signature, [{"age": 1.5, "member": True}])

    np.testing.assert_allclose(runtime.predict(arrays)["probabilities"], expected)
    # The process that serves it knows only the signature that was stored.
    served = load(tmp_path / "model.skops", LoadOptions(proven=signature))
    np.testing.assert_allclose(served.predict(arrays)["probabilities"], expected)


def test_declared_columns_name_the_booleans_of_a_model_without_names(tmp_path: Path) -> None:
    model = LogisticRegression().fit(ROWS, LABELS)
    types = {"age": "FP64", "member": "BOOL", "height": "FP64"}
    declared = {"columns": [{"name": name, "datatype": types[name]} for name in types]}
    runtime, signature = reload_declared(model, declared, tmp_path)
    arrays = arrange(signature, [{"age": 1.5, "member": False, "height": 2.0}])

    expected = model.predict_proba([[1.5, 0.0, 2.0]])

    np.testing.assert_allclose(runtime.predict(arrays)["probabilities"], expected)
    served = load(tmp_path / "model.skops", LoadOptions(proven=signature))
    np.testing.assert_allclose(served.predict(arrays)["probabilities"], expected)


def test_the_names_of_a_caller_say_nothing_about_the_positions(tmp_path: Path) -> None:
    model = LogisticRegression().fit(ROWS, LABELS)
    names = ["x1", "x2", "x0"]
    declared = {"columns": [{"name": name, "datatype": "FP64"} for name in names]}
    declared["columns"][2]["datatype"] = "BOOL"
    runtime, signature = reload_declared(model, declared, tmp_path)

    outputs = runtime.predict(arrange(signature, [{"features": [0.5, 2.0, True]}]))

    expected = model.predict_proba([[0.5, 2.0, 1.0]])
    np.testing.assert_allclose(outputs["probabilities"], expected)


def test_an_optional_column_without_gaps_is_registered_and_refuses_null(tmp_path: Path) -> None:
    rows = np.resize(np.arange(3), (40, 1))
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(rows, LABELS)
    # As from an MLflow signature.
    declared = {"columns": [{"name": "x0", "datatype": "FP64", "nullable": True}]}

    _, signature = reload_declared(model, declared, tmp_path)

    assert (signature.inputs[0].datatype, signature.inputs[0].nullable) == ("INT64", False)


# -- categories


def test_a_default_encoder_is_probed_with_its_own_categories(tmp_path: Path) -> None:
    rows = np.array(list(zip(COLOURS, ROWS[:, 0], strict=True)), dtype=object)
    columns = ColumnTransformer(
        [("colour", OneHotEncoder(), [0]), ("number", StandardScaler(), [1])]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(rows, LABELS)

    assert reload(model, tmp_path).profiles()[0].choices == ("green", "red")


def test_a_probe_of_two_encoders_suits_both(tmp_path: Path) -> None:
    rows = COLOURS[:, None].astype(object)
    columns = ColumnTransformer(
        [("a", OneHotEncoder(), [0]), ("b", OneHotEncoder(handle_unknown="ignore"), [0])]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(rows, LABELS)

    assert reload(model, tmp_path).profiles()[0].choices == ("green", "red")


def test_an_unknown_category_is_named_with_its_column(tmp_path: Path) -> None:
    rows = np.array(list(zip(ROWS[:, 0], COLOURS, strict=True)), dtype=object)
    columns = ColumnTransformer(
        [("number", StandardScaler(), [0]), ("colour", OneHotEncoder(), [1])]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(rows, LABELS)
    columns.feature_names_in_ = np.array(["age", "colour"], dtype=object)
    runtime = reload(model, tmp_path)
    arrays = arrange(runtime.signature, [{"age": 1.0, "colour": "blue"}])

    with pytest.raises(InferenceError) as raised:
        runtime.predict(arrays)

    message = "the model does not know 'blue' in 'colour': it knows 'green', 'red'"
    assert str(raised.value) == message
