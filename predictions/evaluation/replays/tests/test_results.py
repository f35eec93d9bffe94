"""What becomes of each replayed row: compared, incomparable, refused or failed."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from predictions.models import Prediction, ReplayResult
from predictions.serving import inference
from predictions.testing.replays import (
    NOON,
    MakeVersion,
    completed_report,
    iris_rows,
    record_labels,
    record_values,
    run_replay,
)
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from registry.loading import loader
from registry.models import ModelVersion
from registry.runtimes.base import InferenceError
from registry.signatures.signature import Input, Output, Signature
from registry.signatures.validation import InvalidInput
from registry.testing.artifacts import Artifact


def test_an_input_that_does_not_match_the_signature_is_refused(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    rows = record_labels(iris, iris_artifact, iris_rows()[:40])
    bad_inputs: list[Any] = [
        {},
        {"features": [1.0]},
        {"features": "x"},
        {"features": [1, 2, 3, None]},
        {"features": [1, 2, 3, 2**63]},
        {"features": [[1], 2, 3, {}]},
        {"a": 1},
        [1.0, 2.0, 3.0, 4.0],
        "text",
        7,
    ]
    # Some next to each other, some isolated, and one at each end.
    indices = [0, 1, 2, 5, 7, 9, 20, 30, 38, 39]
    for index, input_data in zip(indices, bad_inputs, strict=True):
        Prediction.objects.filter(pk=rows[index].pk).update(input_data=input_data)

    report = completed_report(run_replay(iris, coarse, chunk_rows=40))

    # The 64-bit integer is a valid number.
    refused = len(bad_inputs) - 1
    assert (report["rows"], report["refused"], report["compared"]) == (40, refused, 40 - refused)
    assert report["agreement"] == report["agreed"] / 40
    assert len(report["unanswered"]) == refused
    assert {entry["status"] for entry in report["unanswered"]} == {"refused"}
    error = ReplayResult.objects.get(original=rows[1]).error
    assert "Must hold 4 values, not 1." in error
    assert ReplayResult.objects.get(original=rows[3]).status == "compared"


def test_rows_on_which_the_model_fails_are_counted(
    mixed: ModelVersion, make_version: MakeVersion, mixed_artifact: Artifact
) -> None:
    cities = ["Oslo", "Rome", "Paris", "Oslo", "Paris"]
    old = make_version("old", framework="R")
    for i, city in enumerate(cities):
        Prediction.objects.create(
            model=old,
            input_data={"city": city, "age": None, "income": 2.0},
            output={"label": "no"},
            created_at=NOON + timedelta(minutes=i),
        )

    report = completed_report(run_replay(old, mixed, chunk_rows=5))

    assert (report["rows"], report["compared"], report["failed"]) == (5, 3, 2)
    assert report["agreement"] == report["agreed"] / 5
    assert {entry["status"] for entry in report["unanswered"]} == {"failed"}
    assert "Paris" in report["unanswered"][0]["error"]


def test_answers_of_different_kinds_do_not_agree(
    iris: ModelVersion, diabetes: ModelVersion, make_version: MakeVersion
) -> None:
    old = make_version("old", framework="R")
    record_values(old, iris_rows()[:5], [0.0] * 5)

    report = completed_report(run_replay(old, iris))

    assert (report["incomparable"], report["agreed"], report["agreement"]) == (5, 0, 0.0)


def test_rows_of_varying_shape_are_scored_together_by_shape(
    iris: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    class Summing:
        signature = Signature(
            (Input("x", "FP64", (-1, -1)),), (Output("y", "FP64", (-1,)),), "joined"
        )
        libraries: Mapping[str, str] = {}

        def predict(self, inputs: Any) -> Any:
            calls.append(len(inputs["x"]))
            if (inputs["x"] < 0).any():
                raise InferenceError("negative")
            return {"y": inputs["x"].sum(axis=1)}

    model = loader.LoadedModel(iris, Summing(), Summing.signature)
    rows = [{"x": [1.0]}, {"x": [1.0, 2.0]}, {"x": "no"}, {"x": [4.0]}, {"x": [-1.0]}]

    answers = inference.answer_rows(model, rows)

    assert [answer.prediction for answer in answers] == [1.0, 3.0, None, 4.0, None]
    assert isinstance(answers[2].error, InvalidInput)
    assert str(answers[4].error) == "negative"
    assert calls[0] == 3
