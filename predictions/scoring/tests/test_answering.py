"""A table gets the answers that requests with the same rows get, to the bit."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from predictions.input_files.columns import Columns
from predictions.scoring.answering import Scorer
from predictions.scoring.batches import RowBatch, TableBatch
from predictions.scoring.models import TableModel
from predictions.scoring.outputs import OutputReader
from predictions.scoring.tests.fakes import (
    CLASSES,
    VALUE,
    FakeRuntime,
    classification,
    fake_model,
    regression,
    total,
)
from predictions.scoring.work import ScoringInterrupted
from predictions.serving.answers import Answer
from predictions.serving.inference import answer_rows
from registry.runtimes.base import Outputs, RuntimeUnavailable
from registry.signatures.validation import InvalidInput

N_ROWS = 400
FEATURES = {"name": "x", "datatype": "FP32", "shape": [-1, 3], "features": ["a", "b", "c"]}
MIXED: list[dict[str, Any]] = [
    {"name": "age", "datatype": "FP64", "shape": [-1], "nullable": True},
    {"name": "visits", "datatype": "INT16", "shape": [-1]},
    {"name": "code", "datatype": "INT64", "shape": [-1], "nullable": True},
    {"name": "member", "datatype": "BOOL", "shape": [-1]},
    {"name": "plan", "datatype": "BYTES", "shape": [-1], "nullable": True},
    {"name": "place", "datatype": "FP32", "shape": [-1, 2]},
]


def table(model: TableModel, columns: Mapping[str, Any]) -> TableBatch:
    found = {name: pa.array(values) for name, values in columns.items()}
    described = Columns(model.signature, list(found))
    cells = [found[name] for name in described.names]
    return TableBatch(described, cells, np.arange(1, len(cells[0]) + 1))


def status_of(answer: Answer) -> str:
    if answer.error is None:
        return "succeeded"
    return "invalid" if isinstance(answer.error, InvalidInput) else "failed"


def require_same_answers(model: TableModel, batch: TableBatch) -> dict[str, list[Any]]:
    """Compare with the rows of JSON, one call a row; returns the columns."""
    rows = [row.input_data for row in batch.rows()]
    answers = [answer_rows(model, [row])[0] for row in rows]
    expected = OutputReader(model.signature).of_answers(answers)
    expected["flags"] = [answer.flags for answer in answers]
    expected["status"] = [status_of(answer) for answer in answers]
    expected["error"] = [None if a.error is None else str(a.error) for a in answers]

    piece = Scorer(model).answer(batch)

    found = {name: array.to_pylist() for name, array in piece.arrays.items()}
    assert found == expected
    assert piece.errors == {i: e for i, e in enumerate(found["error"]) if e is not None}
    return found


def awkward_numbers(random: np.random.Generator, count: int) -> list[Any]:
    """Floats of which some are missing, infinite, too large, or let the model fail."""
    values: list[Any] = random.normal(size=count).tolist()
    odd = [None, math.nan, math.inf, 1e39, 3.4028234663852886e38, 1e-46, 2000.0, 999.0, -0.0]
    for place in random.choice(count, 40, replace=False):
        values[place] = odd[place % len(odd)]
    return values


def test_numbers_that_fit_are_scored_in_one_call() -> None:
    random = np.random.default_rng(1)
    model = fake_model([FEATURES], CLASSES, classification)
    batch = table(model, {name: random.normal(size=N_ROWS) for name in "abc"})

    piece = Scorer(model).answer(batch)

    assert isinstance(model.runtime, FakeRuntime)
    assert model.runtime.calls == [N_ROWS]
    assert not piece.errors
    require_same_answers(model, batch)


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_rows_that_do_not_fit_get_their_error(datatype: str, nullable: bool) -> None:
    random = np.random.default_rng(2)
    inputs = [{**FEATURES, "datatype": datatype, "nullable": nullable}]
    model = fake_model(inputs, [VALUE], regression)
    whole = random.integers(-5, 100, N_ROWS)
    whole[::20] = random.integers(2**52, 2**60, N_ROWS // 20)
    batch = table(
        model,
        {
            "a": awkward_numbers(random, N_ROWS),
            "b": pa.array(whole, pa.int64()),
            "c": pa.array(random.normal(size=N_ROWS).astype(np.float32)),
        },
    )

    found = require_same_answers(model, batch)

    assert any(found["error"])
    assert not all(found["error"])


def test_every_type_of_column_is_read_as_rows_are() -> None:
    random = np.random.default_rng(3)
    model = fake_model(MIXED, [VALUE], regression)
    words = np.array(["gold", "", "Straße", None], object)
    columns: dict[str, Any] = {
        "age": awkward_numbers(random, N_ROWS),
        "visits": [None, 70_000, 3, 4][:3] + random.integers(0, 9, N_ROWS - 3).tolist(),
        "code": pa.array(random.integers(0, 9, N_ROWS), pa.int8()),
        "member": pa.array(random.integers(0, 2, N_ROWS).astype(float)),
        "plan": pa.array(random.choice(words, N_ROWS), pa.string()).dictionary_encode(),
        "place": random.normal(size=(N_ROWS, 2)).tolist(),
    }

    require_same_answers(model, table(model, columns))

    columns["visits"] = random.normal(size=N_ROWS).round(1)
    columns["member"] = pa.array(random.integers(0, 3, N_ROWS))
    columns["place"] = [[1.0], [1.0, 2.0, 3.0], None, *columns["place"][3:]]
    require_same_answers(model, table(model, columns))


def test_a_list_can_be_a_column_for_each_value() -> None:
    model = fake_model([{"name": "v", "datatype": "FP64", "shape": [-1, 2]}], [VALUE], regression)
    by_value = table(model, {"v[0]": [1.0, 2.0], "input.v": [[0.0], [0.0]], "v[1]": [3.0, None]})

    require_same_answers(model, table(model, {"v[0]": [1.0, 2.0], "v[1]": [3.0, None]}))
    assert by_value.columns.names == ["input.v"]


def test_constraints_reject_and_flag_rows() -> None:
    constraints = [
        {"feature": "a", "max": 1, "on_violation": "reject"},
        {"feature": "b", "min": 0, "on_violation": "flag"},
    ]
    model = fake_model([{**FEATURES, "constraints": constraints}], [VALUE], regression)
    random = np.random.default_rng(4)
    columns: dict[str, Any] = {name: random.normal(size=N_ROWS) for name in "abc"}
    columns["c"] = awkward_numbers(random, N_ROWS)

    found = require_same_answers(model, table(model, columns))

    assert ["b:min"] in found["flags"]
    assert any("Must be at most 1" in (error or "") for error in found["error"])


def test_a_model_whose_rows_may_not_share_a_call_gets_one_at_a_time() -> None:
    random = np.random.default_rng(5)
    model = fake_model([FEATURES], [VALUE], regression, batching="single")
    batch = table(model, {name: random.normal(size=20) for name in "abc"})

    Scorer(model).answer(batch)

    assert isinstance(model.runtime, FakeRuntime)
    assert model.runtime.calls == [1] * 20
    require_same_answers(model, batch)


def several_outputs(inputs: Mapping[str, np.ndarray]) -> Outputs:
    sums = total(inputs)
    return {
        "risk": (sums > 0).astype(np.int64),
        "risk_chances": np.stack([1 - sums, sums], axis=1),
        "count": (sums * 2**40).astype(np.int64) + 2**53,
        "text": np.array([f"{value:.2f}" for value in sums], object),
        "boxes": np.stack([sums, sums + 1], axis=1).reshape(-1, 1, 2).astype(np.float32),
    }


def test_several_outputs_are_columns_by_their_names() -> None:
    classes = {"classes": [1, 2]}
    outputs: list[dict[str, Any]] = [
        {"name": "risk", "datatype": "INT64", "shape": [-1], "kind": "label", **classes},
        {"name": "risk_chances", "datatype": "FP64", "shape": [-1, 2], **classes}
        | {"kind": "probabilities"},
        {"name": "count", "datatype": "INT64", "shape": [-1]},
        {"name": "text", "datatype": "BYTES", "shape": [-1]},
        {"name": "boxes", "datatype": "FP32", "shape": [-1, 1, 2]},
    ]
    model = fake_model([FEATURES], outputs, several_outputs)
    random = np.random.default_rng(6)

    found = require_same_answers(
        model, table(model, {name: random.normal(size=50) for name in "abc"})
    )

    assert set(found) == {
        *("status", "prediction", "confidence", "flags", "error"),
        *("output.risk.label", "output.risk.probabilities.1", "output.risk.probabilities.2"),
        *("output.count", "output.text", "output.boxes"),
    }
    assert found["prediction"] == [None] * 50


@pytest.mark.parametrize("n_classes", [3, 150])
def test_probabilities_without_a_label_and_of_many_classes(n_classes: int) -> None:
    labels = [f"c{number}" for number in range(n_classes)]
    output = {"name": "p", "datatype": "FP64", "shape": [-1, n_classes]}
    outputs = [{**output, "kind": "probabilities", "classes": labels}]
    shares = np.random.default_rng(7).dirichlet(np.ones(n_classes), 50)
    by_total = {1.0 + row: shares[row] for row in range(50)}
    model = fake_model(
        [{"name": "v", "datatype": "FP64", "shape": [-1]}],
        outputs,
        lambda inputs: {"p": np.array([by_total[float(value)] for value in inputs["v"]])},
    )

    found = require_same_answers(model, table(model, {"v": np.arange(1.0, 51.0)}))

    assert ("output.probabilities" in found) == (n_classes > 100)
    assert found["output.label"][0] == labels[int(shares[0].argmax())]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_text_that_no_request_can_have_is_invalid(kind: pa.DataType) -> None:
    inputs = [{"name": "plan", "datatype": "BYTES", "shape": [-1], "nullable": True}]
    model = fake_model(inputs, [VALUE], regression)
    column = pa.array(["gold", "a\0b", None], kind)

    piece = Scorer(model).answer(table(model, {"plan": column}))

    assert piece.arrays["status"].to_pylist() == ["succeeded", "invalid", "succeeded"]
    assert piece.errors == {1: "column 'plan': must not contain the character U+0000"}
    assert isinstance(model.runtime, FakeRuntime)
    assert model.runtime.calls == [2]


def test_lists_of_texts_are_read_from_a_dictionary_and_without_nul() -> None:
    model = fake_model([{"name": "w", "datatype": "BYTES", "shape": [-1, 2]}], [VALUE], regression)
    kind = pa.list_(pa.dictionary(pa.int32(), pa.string()))
    column = pa.array([["a", "b"], ["a", "\0"]], kind)

    piece = Scorer(model).answer(table(model, {"w": column}))

    assert piece.arrays["status"].to_pylist() == ["succeeded", "invalid"]


def test_lists_of_decimal_fractions_are_read_as_numbers() -> None:
    model = fake_model([{"name": "v", "datatype": "FP64", "shape": [-1, 2]}], [VALUE], regression)
    decimals = pa.array([[Decimal("1.5"), Decimal("2.5")], [Decimal("1.5"), None]])

    found = require_same_answers(model, table(model, {"v": decimals}))

    assert found["status"] == ["succeeded", "invalid"]
    expected = require_same_answers(model, table(model, {"v": [[1.5, 2.5]]}))
    assert found["prediction"][0] == expected["prediction"][0]


def test_errors_of_a_model_with_sensitive_inputs_quote_no_value() -> None:
    inputs = [{**FEATURES, "sensitive": "hash"}]
    model = fake_model(inputs, [VALUE], regression)
    rows = table(model, {"a": [1.0, 1e39, 999.0], "b": [0.0] * 3, "c": [0.0] * 3})

    errors = Scorer(model).answer(rows).arrays["error"].to_pylist()

    assert errors[0] is None
    assert errors[1].startswith("The row does not fit: a. Values are not shown")
    assert errors[2].startswith("The model failed. Its message is not kept")


def test_a_model_that_cannot_be_reached_interrupts_the_run() -> None:
    def gone(inputs: object) -> Outputs:
        raise RuntimeUnavailable("no route", retry_after=1)

    for batching in ("joined", "single"):
        model = fake_model([FEATURES], [VALUE], gone, batching=batching)
        batch = table(model, {name: [1.0] for name in "abc"})
        with pytest.raises(ScoringInterrupted, match="cannot be reached: no route"):
            Scorer(model).answer(batch)


def test_rows_that_cannot_be_read_keep_their_place() -> None:
    model = fake_model([FEATURES], [VALUE], regression)
    read = table(model, {name: [1.0, 2.0] for name in "abc"}).rows()
    bad = type(read[0]).unreadable(7, "it is not valid JSON")

    piece = Scorer(model).answer(RowBatch([], [read[0], bad, read[1]]))

    assert piece.arrays["error"].to_pylist() == [None, "it is not valid JSON", None]
    assert piece.errors == {1: "it is not valid JSON"}
