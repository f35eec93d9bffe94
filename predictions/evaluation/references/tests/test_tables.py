"""Which variables rows have, and with which values."""

from typing import Any

import numpy as np

from predictions.evaluation.drift.tables import Categories, Column, Numbers
from predictions.evaluation.quality.tasks import Task
from predictions.evaluation.references.features import features_of, is_text, left_out
from predictions.evaluation.references.tables import Rows, TableReader
from registry.signatures.signature import Signature

SIGNATURE = Signature.from_json(
    {
        "inputs": [
            {"name": "age", "datatype": "INT64", "shape": [-1], "nullable": True},
            {"name": "plan", "datatype": "BYTES", "shape": [-1]},
            {"name": "review", "datatype": "BYTES", "shape": [-1]},
            {"name": "member", "datatype": "BOOL", "shape": [-1]},
            {"name": "place", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "table", "datatype": "FP64", "shape": [-1, 2], "features": ["a", "b"]},
            {"name": "photo", "datatype": "UINT8", "shape": [-1, 8, 8]},
            {"name": "vector", "datatype": "FP32", "shape": [-1, 512]},
            {"name": "postcode", "datatype": "BYTES", "shape": [-1], "sensitive": "hash"},
        ]
    }
)
ROW = {
    "age": 41,
    "plan": "gold",
    "review": "quite good",
    "member": 1,
    "place": [1.5, 2.5],
    "a": 3,
    "b": None,
    "photo": [],
    "vector": [],
    "postcode": "hmac-sha256:0",
}
ODD = ROW | {"age": "old", "plan": None, "review": None, "member": "maybe", "place": [True]}


def rows(*inputs: object, **fields: Any) -> Rows:
    nothing = [None] * len(inputs)
    defaults: dict[str, Any] = {
        "inputs": inputs,
        "predictions": nothing,
        "confidences": nothing,
        "outputs": None,
        "failed": [False] * len(inputs),
    }
    return Rows(**defaults | fields)


def numbers(column: Column) -> list[float]:
    assert isinstance(column, Numbers)
    return [float(value) for value in column.values]


def test_a_feature_of_one_value_a_row_is_a_variable() -> None:
    reader = TableReader(SIGNATURE, features_of(SIGNATURE, {"review"}), None)
    columns = reader.table(rows(ROW)).columns

    assert {
        key: column.values.tolist() if isinstance(column, Numbers) else list(column.values)
        for key, column in columns.items()
        if key != "input:b"
    } == {
        "input:age": [41.0],
        "input:plan": ["gold"],
        "input:review#characters": [10.0],
        "input:review#words": [2.0],
        "input:member": ["true"],
        "input:place[0]": [1.5],
        "input:place[1]": [2.5],
        "input:a": [3.0],
    }
    assert np.isnan(numbers(columns["input:b"])).all()


def test_odd_values_are_missing_or_unparsable() -> None:
    reader = TableReader(SIGNATURE, features_of(SIGNATURE, {"review"}), None)
    columns = reader.table(rows(ODD)).columns

    age, words = columns["input:age"], columns["input:review#words"]
    assert isinstance(age, Numbers)
    assert age.unparsable is not None
    assert age.unparsable.tolist() == [True]
    assert isinstance(words, Numbers)
    assert np.isnan(words.values).all()
    assert list(columns["input:plan"].values) == [None]
    assert list(columns["input:member"].values) == ["maybe"]
    place = columns["input:place[0]"]
    assert isinstance(place, Numbers)
    assert place.unparsable is not None
    assert place.unparsable.tolist() == [True]
    assert np.isnan(numbers(columns["input:place[1]"])).all()


def test_rows_by_position_and_rows_that_do_not_fit() -> None:
    signature = Signature.from_json(
        {
            "inputs": [
                {"name": "x", "datatype": "FP64", "shape": [-1, 2], "features": ["a", "b"]},
            ]
        }
    )
    reader = TableReader(signature, features_of(signature), None)
    inputs = [{"features": [1, 2]}, {"a": 3, "b": 4}, {"a": 5}, None, [6]]
    columns = reader.table(rows(*inputs)).columns

    np.testing.assert_array_equal(columns["input:a"].values, [1, 3, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(columns["input:b"].values, [2, 4, np.nan, np.nan, np.nan])


def test_what_is_left_out_is_named_with_the_reason() -> None:
    assert left_out(SIGNATURE) == {
        "photo": "not one value a row",
        "vector": "not one value a row",
        "postcode": "sensitive",
    }


def test_the_answers_of_a_classifier() -> None:
    task = Task(("no", "yes"), has_probabilities=True)
    reader = TableReader(SIGNATURE, [], task)
    output = {"label": "yes", "probabilities": {"no": 0.25, "yes": 0.75}}
    table = reader.table(
        rows(
            ROW,
            ROW,
            predictions=[1.0, None],
            confidences=[0.75, None],
            outputs=[output, None],
            failed=[False, True],
            latencies=[1.5, 2.5],
        )
    )

    assert table.columns["prediction"] == Categories(["yes", None])
    np.testing.assert_array_equal(table.columns["confidence"].values, [0.75, np.nan])
    np.testing.assert_array_equal(table.columns["latency"].values, [1.5, 2.5])
    assert table.probabilities is not None
    np.testing.assert_array_equal(table.probabilities, [[0.25, 0.75], [np.nan, np.nan]])
    assert table.predicted is not None
    assert table.predicted.tolist() == [1, -1]


def test_the_answers_of_a_regressor() -> None:
    reader = TableReader(SIGNATURE, [], Task())
    table = reader.table(rows(ROW, ROW, predictions=[3.5, None]))

    assert set(table.columns) == {"prediction"}
    np.testing.assert_array_equal(table.columns["prediction"].values, [3.5, np.nan])


def test_violated_constraints_are_counted_by_name() -> None:
    reader = TableReader(SIGNATURE, [], None)
    table = reader.table(rows(ROW, ROW, ROW, flags=[["age:max"], None, ["age:max", "plan:values"]]))

    assert {name: violated.tolist() for name, violated in table.violations.items()} == {
        "age:max": [True, False, True],
        "plan:values": [False, False, True],
    }


def test_text_of_many_values_is_free_text() -> None:
    assert is_text([f"word {number}" for number in range(200)], 50)
    assert not is_text([None, *["gold", "silver"] * 100], 50)
    assert not is_text([], 50)
