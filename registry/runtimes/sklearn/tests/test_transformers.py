"""Models that only transform rows, and steps that were set to give data frames."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from registry.runtimes.base import LoadError
from registry.runtimes.sklearn.tests.estimators import COLOURS, ROWS, labels, reload

TEXTS = np.array(["a good film", "a bad film", "dull"], dtype=object)


@pytest.mark.parametrize(
    "model", [StandardScaler(), make_pipeline(StandardScaler(), PCA(2)), PCA(1)]
)
def test_a_transformer_answers_its_values(model: Any, tmp_path: Path) -> None:
    model.fit(ROWS)
    runtime = reload(model, tmp_path)

    outputs = runtime.predict({"features": ROWS})

    expected = model.transform(ROWS)
    width = expected.shape[1]
    assert [tensor.shape for tensor in runtime.signature.outputs] == [
        (-1, width) if width > 1 else (-1,)
    ]
    np.testing.assert_array_equal(outputs["value"].reshape(40, -1), expected)


@pytest.mark.parametrize("model", [TfidfVectorizer(), make_pipeline(TfidfVectorizer())])
def test_a_sparse_transformer_answers_dense_values(model: Any, tmp_path: Path) -> None:
    model.fit(TEXTS)

    outputs = reload(model, tmp_path).predict({"text": TEXTS})

    np.testing.assert_array_equal(outputs["value"], model.transform(TEXTS).toarray())


def test_encoded_columns_are_values(tmp_path: Path) -> None:
    rows = np.array(list(zip(COLOURS, ROWS[:, 0], strict=True)), dtype=object)
    model = ColumnTransformer([("c", OneHotEncoder(), [0]), ("n", StandardScaler(), [1])])
    model.fit(rows)
    runtime = reload(model, tmp_path)

    outputs = runtime.predict({"x0": COLOURS.astype(object), "x1": ROWS[:, 0]})

    np.testing.assert_array_equal(outputs["value"], model.transform(rows))


def test_too_many_values_are_refused(tmp_path: Path) -> None:
    words = " ".join(f"word{i}" for i in range(10_001))

    with pytest.raises(LoadError, match=r"10001 values .* TruncatedSVD"):
        reload(CountVectorizer().fit([words]), tmp_path)


def test_transformed_texts_are_refused(tmp_path: Path) -> None:
    imputer = SimpleImputer(strategy="most_frequent").fit(COLOURS[:, None].astype(object))

    with pytest.raises(LoadError, match="not into numbers"):
        reload(imputer, tmp_path)


@pytest.mark.parametrize("model", [KMeans(2, n_init=1), IsolationForest(n_estimators=3)])
def test_clusters_and_outliers_are_values(model: Any, tmp_path: Path) -> None:
    model.fit(ROWS)

    outputs = reload(model, tmp_path).predict({"features": ROWS})

    np.testing.assert_array_equal(outputs["value"], model.predict(ROWS))


def test_a_classifier_with_only_a_decision_function_has_a_label(tmp_path: Path) -> None:
    model = RidgeClassifier().fit(ROWS, COLOURS)
    runtime = reload(model, tmp_path)

    outputs = runtime.predict({"features": ROWS})

    assert labels(runtime, outputs) == model.predict(ROWS).tolist()


# -- set_output


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_steps_that_give_data_frames_need_no_library_of_them(library: str, tmp_path: Path) -> None:
    rows = np.array(list(zip(COLOURS, ROWS[:, 0], strict=True)), dtype=object)
    columns = ColumnTransformer(
        [
            ("c", make_pipeline(OneHotEncoder(sparse_output=False)), [0]),
            ("n", make_pipeline(SimpleImputer(), StandardScaler()), [1]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(rows, COLOURS)
    expected = model.predict_proba(rows)
    model.set_output(transform=library)

    outputs = reload(model, tmp_path).predict({"x0": COLOURS.astype(object), "x1": ROWS[:, 0]})

    np.testing.assert_array_equal(outputs["probabilities"], expected)


def test_columns_behind_a_step_are_selected_without_their_names(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    table = pyarrow.table({name: ROWS[:, i] for i, name in enumerate(names)})
    imputer = SimpleImputer().fit(table)
    # As fitted to the data frame that the imputer gives after set_output.
    columns = ColumnTransformer([("one", StandardScaler(), ["c", "a"])]).fit(table)
    final = LogisticRegression().fit(columns.transform(table), COLOURS)
    model = Pipeline([("imputer", imputer), ("columns", columns), ("final", final)])
    model.set_output(transform="pandas")
    rows = ROWS.copy()
    rows[::4, 0] = np.nan

    outputs = reload(model, tmp_path).predict({"features": rows})

    filled = imputer.set_output(transform="default").transform(
        pyarrow.table({name: rows[:, i] for i, name in enumerate(names)})
    )
    scaled = (
        columns.named_transformers_["one"]
        .set_output(transform="default")
        .transform(pyarrow.table({"c": filled[:, 2], "a": filled[:, 0]}))
    )
    np.testing.assert_allclose(outputs["probabilities"], final.predict_proba(scaled))
