"""Missing values reach a model as it was trained on them, or are refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes it importable
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from registry.runtimes.sklearn.runtime import SklearnRuntime
from registry.runtimes.sklearn.tests.estimators import reload
from registry.runtimes.sklearn.tests.gaps import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    TEXT,
    N,
    cells,
    columns,
    constant_then_one_hot,
    encoded,
    most_frequent_then_one_hot,
    numbers,
    target,
)
from registry.signatures.arrangement import arrange
from registry.signatures.completion import complete
from registry.signatures.signature import Signature

PIPELINES: dict[str, Callable[[], Any]] = {
    "imputer of a constant": lambda: encoded(constant_then_one_hot()),
    "imputer of the most frequent": lambda: encoded(most_frequent_then_one_hot()),
    "boolean imputer": lambda: encoded(most_frequent_then_one_hot(), BOOLEAN),
    "one-hot": lambda: encoded(),
    "one-hot that ignores": lambda: encoded(OneHotEncoder(handle_unknown="ignore")),
    "one-hot of booleans": lambda: encoded(OneHotEncoder(), BOOLEAN),
    "one-hot of integers": lambda: encoded(OneHotEncoder(), INTEGER),
    "ordinal with a number": lambda: encoded(OrdinalEncoder(encoded_missing_value=-1)),
    "ordinal for boosting": lambda: make_pipeline(
        columns((OrdinalEncoder(), [TEXT, BOOLEAN]), ("passthrough", [NUMBER])),
        HistGradientBoostingClassifier(max_iter=10, min_samples_leaf=3),
    ),
    "target encoder": lambda: encoded(TargetEncoder()),
    "one-hot of all columns": lambda: make_pipeline(
        OneHotEncoder(handle_unknown="ignore"), LogisticRegression()
    ),
    "imputer of all columns": lambda: make_pipeline(
        SimpleImputer(strategy="most_frequent"),
        OneHotEncoder(handle_unknown="ignore"),
        LogisticRegression(),
    ),
    "one column in two branches": lambda: make_pipeline(
        columns((OneHotEncoder(), [TEXT]), (most_frequent_then_one_hot(), [TEXT])),
        LogisticRegression(),
    ),
    "union": lambda: make_pipeline(
        FeatureUnion(
            [
                ("text", columns((OneHotEncoder(), [TEXT]))),
                ("number", columns((numbers(), [NUMBER]), (MissingIndicator(), [NUMBER]))),
            ]
        ),
        LogisticRegression(),
    ),
    "indicator": lambda: make_pipeline(
        columns((SimpleImputer(add_indicator=True), [NUMBER, INTEGER]), (OneHotEncoder(), [TEXT])),
        LogisticRegression(),
    ),
    "neighbours": lambda: make_pipeline(
        columns((KNNImputer(), [NUMBER, INTEGER]), (OneHotEncoder(), [TEXT])), LogisticRegression()
    ),
    "iterative": lambda: make_pipeline(
        columns((IterativeImputer(), [NUMBER, INTEGER]), (OneHotEncoder(), [TEXT])),
        LogisticRegression(),
    ),
    "search": lambda: GridSearchCV(encoded(), {"logisticregression__C": [0.1, 1.0]}, cv=2),
    "calibration": lambda: CalibratedClassifierCV(
        encoded(OneHotEncoder(handle_unknown="ignore")), cv=2
    ),
    "voting": lambda: VotingClassifier(
        [("a", encoded()), ("b", encoded(OrdinalEncoder(encoded_missing_value=-1)))], voting="soft"
    ),
    "stacking": lambda: StackingClassifier(
        [("a", encoded()), ("b", encoded(most_frequent_then_one_hot()))], cv=2
    ),
    "bagging": lambda: BaggingClassifier(
        encoded(OneHotEncoder(handle_unknown="ignore")), n_estimators=3, random_state=0
    ),
    "boosting of categories": lambda: HistGradientBoostingClassifier(
        max_iter=10, min_samples_leaf=3, categorical_features=[TEXT, BOOLEAN]
    ),
}


def signature_of(runtime: SklearnRuntime) -> Signature:
    types = {f"x{TEXT}": "BYTES", f"x{BOOLEAN}": "BOOL"}
    unknown = [tensor.name for tensor in runtime.signature.inputs if tensor.datatype is None]
    declared = {"inputs": [{"name": n, "datatype": types.get(n, "FP64")} for n in unknown]}
    return complete(runtime.signature, Signature.from_json(declared))


def body(row: np.ndarray, marker: object = np.nan) -> dict[str, object]:
    """The row as JSON, with null for missing values."""

    def as_json(value: object) -> object:
        return None if value != value or value == marker else value

    features = [as_json(value) for value in row]
    parsed: dict[str, object] = json.loads(json.dumps({"features": features}))
    return parsed


def nullable_columns(signature: Signature) -> list[bool]:
    return [tensor.nullable for tensor in signature.inputs]


@pytest.mark.parametrize("name", PIPELINES)
def test_null_is_answered_as_the_pipeline_answers_nan(name: str, tmp_path: Path) -> None:
    table = cells()
    model = PIPELINES[name]().fit(table, target(table))
    runtime = reload(model, tmp_path)
    signature = signature_of(runtime)
    accepted = [
        i
        for i, row in enumerate(table)
        if all(
            value == value or nullable
            for value, nullable in zip(row, nullable_columns(signature), strict=True)
        )
    ]

    outputs = runtime.predict(arrange(signature, [body(table[i]) for i in accepted]))

    # One by one: an IterativeImputer estimates rows without any number beside others.
    expected = np.concatenate([model.predict_proba(table[[i]]) for i in accepted])
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-9)
    assert any(value != value for value in table[accepted].flat)


@pytest.mark.parametrize(
    ("encoder", "at", "expected"),
    [
        (OneHotEncoder(), TEXT, True),
        (OneHotEncoder(), BOOLEAN, True),
        (constant_then_one_hot(), TEXT, True),
        (TargetEncoder(), TEXT, True),
    ],
)
def test_a_column_with_gaps_in_training_is_nullable_by_itself(
    encoder: Any, at: int, expected: bool, tmp_path: Path
) -> None:
    table = cells()
    model = encoded(encoder, at).fit(table, target(table))

    inputs = {tensor.name: tensor for tensor in reload(model, tmp_path).signature.inputs}

    assert inputs[f"x{at}"].nullable is expected
    assert inputs[f"x{NUMBER}"].nullable is True


@pytest.mark.parametrize("marker", [None, "?"])
def test_null_is_the_marker_that_the_encoder_knows(marker: object, tmp_path: Path) -> None:
    table = cells(marker)
    part: Any = OneHotEncoder()
    if marker is not None:
        part = make_pipeline(
            SimpleImputer(strategy="most_frequent", missing_values=marker), OneHotEncoder()
        )
    texts = table[:, [TEXT]]
    model = make_pipeline(part, LogisticRegression()).fit(texts, target(table, marker))
    runtime = reload(model, tmp_path)

    rows = arrange(runtime.signature, [body(row, marker) for row in texts])

    expected = model.predict_proba(texts)
    np.testing.assert_allclose(runtime.predict(rows)["probabilities"], expected, atol=1e-9)


def test_null_is_the_number_that_an_imputer_takes_for_missing(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 9, (N, 2)).astype(float)
    model = make_pipeline(SimpleImputer(missing_values=7), LogisticRegression())
    model.fit(rows, rows[:, 0] > 4)
    runtime = reload(model, tmp_path)

    outputs = runtime.predict(arrange(runtime.signature, [{"features": [None, 3.0]}]))

    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba([[7.0, 3.0]]))


def test_a_number_in_several_types_of_object_is_found_among_categories(tmp_path: Path) -> None:
    table = np.array([[1, None], [2, 1], [None, 2], [1, 1]], dtype=object)
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(table, [0, 1, 1, 0])
    runtime = reload(model, tmp_path)

    outputs = runtime.predict(
        arrange(runtime.signature, [{"features": row} for row in table.tolist()])
    )

    assert [(t.datatype, t.nullable) for t in runtime.signature.inputs] == [("FP64", True)] * 2
    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(table))


def test_a_function_before_an_imputer_passes_a_missing_number_on(tmp_path: Path) -> None:
    rows = np.abs(np.random.default_rng(0).normal(size=(N, 2)))
    rows[::5, 0] = np.nan
    model = make_pipeline(FunctionTransformer(np.log1p), SimpleImputer(), LogisticRegression())
    model.fit(rows, rows[:, 1] > 0.5)
    runtime = reload(model, tmp_path)

    outputs = runtime.predict(arrange(runtime.signature, [{"features": [None, 3.0]}]))

    expected = model.predict_proba([[np.nan, 3.0]])
    np.testing.assert_allclose(outputs["probabilities"], expected)


def test_an_encoder_that_ignores_unknown_categories_takes_null_if_it_is_declared(
    tmp_path: Path,
) -> None:
    table = cells("Genf")
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    model.fit(table[:, [TEXT]], target(table, "Genf"))
    runtime = reload(model, tmp_path)
    declared = Signature.from_json({"inputs": [{"name": "x0", "nullable": True}]})
    signature = runtime.refine_signature(complete(runtime.signature, declared), {})

    outputs = runtime.predict(arrange(signature, [{"x0": None}]))

    expected = model.predict_proba(np.array([[np.nan]], dtype=object))
    np.testing.assert_allclose(outputs["probabilities"], expected)
    assert not runtime.signature.inputs[0].nullable


def test_only_the_imputed_columns_of_named_numbers_are_nullable(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(N, 2))
    model = make_pipeline(columns((numbers(), [0]), (StandardScaler(), [1])), LogisticRegression())
    model.fit(table, table[:, 0] > 0)
    # As of a data frame.
    model[0].feature_names_in_ = np.array(["age", "income"], dtype=object)
    runtime = reload(model, tmp_path)

    outputs = runtime.predict(arrange(runtime.signature, [{"age": None, "income": 1.0}]))

    assert [(t.name, t.nullable) for t in runtime.signature.inputs] == [
        ("age", True),
        ("income", False),
    ]
    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba([[np.nan, 1.0]]))


def test_a_version_keeps_the_signature_of_its_registration(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(N, 2))
    model = make_pipeline(columns((numbers(), [0]), (StandardScaler(), [1])), LogisticRegression())
    model.fit(table, table[:, 0] > 0)
    model[0].feature_names_in_ = np.array(["age", "income"], dtype=object)

    # Registered when all numbers were one matrix.
    outputs = reload(model, tmp_path).predict({"features": table})

    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(table))
