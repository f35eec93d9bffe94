"""The inputs of a scikit-learn model, as read from its file."""

from pathlib import Path

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from registry.runtimes.sklearn.runtime import load
from registry.runtimes.sklearn.tests.estimators import COLOURS, OPTIONS, ROWS, labels, reload
from registry.testing import trained_models


def test_each_named_column_is_an_input_with_the_datatype_in_the_file(tmp_path: Path) -> None:
    trained = trained_models.mixed_skops(tmp_path / "model.skops")

    inputs = load(trained.path, OPTIONS).signature.inputs

    assert [(tensor.name, tensor.datatype, tensor.nullable) for tensor in inputs] == [
        ("age", "FP64", True),
        ("city", "BYTES", False),
        ("review", "BYTES", False),
        ("seats", None, False),
    ]


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


def test_a_bare_text_pipeline_takes_one_text(tmp_path: Path) -> None:
    trained = trained_models.text_skops(tmp_path / "model.skops")
    runtime = load(trained.path, OPTIONS)

    outputs = runtime.predict({"text": trained.rows})

    assert [(tensor.name, tensor.datatype) for tensor in runtime.signature.inputs] == [
        ("text", "BYTES")
    ]
    assert labels(runtime, outputs) == trained.estimator.predict(trained.rows).tolist()


def test_feature_names_are_read_and_no_call_warns(tmp_path: Path) -> None:
    trained = trained_models.wine_skops(tmp_path / "model.skops")
    runtime = load(trained.path, OPTIONS)

    runtime.predict({"features": trained.rows})

    (features,) = runtime.signature.inputs
    assert features.shape == (-1, 13)
    assert features.features[:2] == ("alcohol", "malic_acid")


def test_missing_values_are_accepted_if_the_model_accepts_them(tmp_path: Path) -> None:
    boosted = HistGradientBoostingRegressor(max_iter=2).fit(ROWS, ROWS[:, 0])
    linear = make_pipeline(StandardScaler(), Ridge()).fit(ROWS, ROWS[:, 0])

    assert reload(boosted, tmp_path).signature.inputs[0].nullable is True
    assert reload(linear, tmp_path).signature.inputs[0].nullable is False
