"""Columns in which null is refused by name, even if it was declared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from registry.artifacts import proof
from registry.runtimes.base import InferenceError, LoadOptions
from registry.runtimes.sklearn.tests.estimators import reload
from registry.runtimes.sklearn.tests.gaps import (
    NUMBER,
    TEXT,
    cells,
    columns,
    most_frequent_then_one_hot,
    numbers,
    target,
)
from registry.signatures.arrangement import arrange
from registry.signatures.completion import complete
from registry.signatures.signature import Signature
from registry.signatures.validation import InvalidInput

PAIR = [TEXT, NUMBER]


def beside_a_number(part: Any) -> Any:
    """A classifier of the PAIR, whose text that part takes."""
    return make_pipeline(columns((part, [0]), (numbers(), [1])), LogisticRegression())


def refused(model: Any, name: str, folder: Path) -> bool:
    """Whether a null in that column is refused by name, also if the caller declares it nullable."""
    runtime = reload(model, folder)
    inputs = [
        {"name": tensor.name, "datatype": tensor.datatype or "FP64", "nullable": True}
        if tensor.name == name
        else {"name": tensor.name, "datatype": tensor.datatype or "FP64"}
        for tensor in runtime.signature.inputs
    ]
    signature = complete(runtime.signature, Signature.from_json({"inputs": inputs}))
    signature = runtime.refine_signature(signature, {})
    row = {t.name: "Bern" if t.datatype == "BYTES" else 1.0 for t in signature.inputs}

    with pytest.raises(InvalidInput) as raised:
        arrange(signature, [{**row, name: None}])
    return list(raised.value.errors) == [name]


def test_a_declared_null_is_refused_of_a_regressor_too(
    in_process_sandbox: None, tmp_path: Path
) -> None:
    table = cells("Genf")
    model = make_pipeline(columns((OneHotEncoder(), [TEXT])), Ridge())
    skops.io.dump(model.fit(table[:, PAIR], target(table, "Genf")), tmp_path / "m.skops")

    proved = proof.prove(
        tmp_path / "m.skops",
        framework="sklearn",
        options=LoadOptions(),
        declared={"inputs": [{"name": "x0", "nullable": True}, {"name": "x1", "datatype": "FP64"}]},
        example=(),
        timeout_seconds=60,
        memory_bytes=2**30,
    )

    by_name = {tensor["name"]: tensor for tensor in proved.signature["inputs"]}
    assert "nullable" not in by_name["x0"]


def test_none_that_an_imputer_of_nan_let_through_is_refused(tmp_path: Path) -> None:
    table = cells(None)
    model = beside_a_number(most_frequent_then_one_hot())
    model.fit(table[:, PAIR], target(table, None))

    assert refused(model, "x0", tmp_path)


def test_a_column_with_two_markers_is_refused(tmp_path: Path) -> None:
    table = cells()
    table[0, TEXT] = None
    model = beside_a_number(OneHotEncoder()).fit(table[:, PAIR], target(table))

    assert refused(model, "x0", tmp_path)


def test_branches_with_different_markers_are_refused(tmp_path: Path) -> None:
    table = cells("?")
    question_mark = SimpleImputer(strategy="most_frequent", missing_values="?")
    nan = SimpleImputer(strategy="most_frequent")
    model = make_pipeline(
        columns(
            (make_pipeline(question_mark, OneHotEncoder()), [TEXT]),
            (make_pipeline(nan, OneHotEncoder()), [TEXT]),
        ),
        LogisticRegression(),
    )
    model.fit(table[:, PAIR], target(table, "?"))

    assert refused(model, "x0", tmp_path)


@pytest.mark.parametrize("part", [OneHotEncoder(), OrdinalEncoder()])
def test_an_encoder_that_saw_no_gap_refuses_null(part: Any, tmp_path: Path) -> None:
    table = cells("Genf")
    model = make_pipeline(columns((part, [TEXT])), RandomForestClassifier(3, random_state=0))
    model.fit(table[:, PAIR], target(table, "Genf"))

    assert refused(model, "x0", tmp_path)


def test_a_text_vectorizer_refuses_null(tmp_path: Path) -> None:
    table = cells("nothing")
    columns_ = ColumnTransformer([("text", TfidfVectorizer(), TEXT)])
    model = make_pipeline(columns_, LogisticRegression()).fit(
        table[:, PAIR], target(table, "nothing")
    )

    assert refused(model, "x0", tmp_path)


def test_an_older_version_does_not_guess_what_null_stands_for(tmp_path: Path) -> None:
    table = cells()
    table[0, TEXT] = None
    model = beside_a_number(OneHotEncoder()).fit(table[:, PAIR], target(table))
    runtime = reload(model, tmp_path)

    with pytest.raises(InferenceError, match="'x0' must not be null"):
        runtime.predict({"x0": np.array([None], dtype=object), "x1": np.array([1.0])})


def test_a_whole_text_refuses_null(tmp_path: Path) -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["a good", "bad"], [0, 1])

    assert refused(model, "text", tmp_path)
