"""Replays: which rows, what becomes of them, and how they go on."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from predictions.evaluation.replays import replay, rescoring, results
from predictions.models import Prediction, Replay, ReplayResult
from predictions.testing.replays import (
    NOON,
    MakeVersion,
    iris_rows,
    recorded_labels,
    recorded_values,
    replayed,
    report_of,
)
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from registry import loader
from registry.models import ModelNotFound, ModelVersion
from registry.runtimes.base import InferenceError
from registry.testing.fixtures import Artifact


class Stopped(Exception):
    """What a test stops a replay with."""


# -- which rows


def test_rows_are_those_of_the_version_and_the_times(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    rows = recorded_labels(iris, iris_artifact, iris_rows()[:10])
    recorded_labels(coarse, iris_artifact, iris_rows()[:3])
    Prediction.objects.filter(pk=rows[4].pk).update(status="failed", error="why")
    Prediction.objects.filter(pk=rows[5].pk).update(
        alias="champion", arm="shadow", primary=rows[0].pk
    )

    def ids(**options: Any) -> list[int]:
        row = replayed(iris, coarse, chunk_rows=2, **options)
        found = row.results.newest_first().values_list("original_id", flat=True)
        assert row.rows_done == row.rows_expected == len(found)
        return [rows.index(Prediction(pk=pk)) for pk in found]

    assert ids() == [9, 8, 7, 6, 5, 3, 2, 1, 0]
    assert ids(limit=3) == [9, 8, 7]
    assert ids(limit=100) == [9, 8, 7, 6, 5, 3, 2, 1, 0]
    assert ids(since=NOON + timedelta(minutes=7)) == [9, 8, 7]
    assert ids(until=NOON + timedelta(minutes=2)) == [1, 0]
    assert ids(since=NOON + timedelta(minutes=2), until=NOON + timedelta(minutes=8), limit=2) == [
        7,
        6,
    ]


def test_rows_recorded_after_its_start_are_left_out(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    recorded_labels(iris, iris_artifact, iris_rows()[:3])
    row = replay.start(replay.Plan(from_version=iris, to_version=coarse))
    later = row.created_at + timedelta(seconds=1)
    Prediction.objects.create(model=iris, input_data={}, prediction=1.0, created_at=later)

    assert report_of(replay.run(row, replay.load(coarse)))["rows"] == 3


def test_rows_of_one_instant_are_replayed_once_each(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    recorded_labels(iris, iris_artifact, iris_rows()[:20])
    Prediction.objects.update(created_at=NOON)

    assert report_of(replayed(iris, coarse, chunk_rows=3))["rows"] == 20


# -- what does not fit, and what fails


def test_an_input_that_does_not_fit_is_a_recorded_refusal(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    rows = recorded_labels(iris, iris_artifact, iris_rows()[:40])
    bad: list[Any] = [
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
    for place, inputs in enumerate(bad):
        # Some beside each other, some apart, and one at each end.
        row = rows[[0, 1, 2, 5, 7, 9, 20, 30, 38, 39][place]]
        Prediction.objects.filter(pk=row.pk).update(input_data=inputs)

    report = report_of(replayed(iris, coarse, chunk_rows=40))

    # An integer of 64 bits is a number.
    refused = len(bad) - 1
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

    report = report_of(replayed(old, mixed, chunk_rows=5))

    assert (report["rows"], report["compared"], report["failed"]) == (5, 3, 2)
    assert report["agreement"] == report["agreed"] / 5
    assert {entry["status"] for entry in report["unanswered"]} == {"failed"}
    assert "Paris" in report["unanswered"][0]["error"]


def test_answers_of_another_kind_do_not_agree(
    iris: ModelVersion, diabetes: ModelVersion, make_version: MakeVersion
) -> None:
    old = make_version("old", framework="R")
    recorded_values(old, iris_rows()[:5], [0.0] * 5)

    report = report_of(replayed(old, iris))

    assert (report["incomparable"], report["agreed"], report["agreement"]) == (5, 0, 0.0)


# -- going on


def stop_at(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Have the writing of a chunk raise, after its rows were inserted."""
    insert, calls = results.insert, iter(range(1, 1000))

    def failing(*arguments: Any) -> None:
        insert(*arguments)
        if next(calls) == chunk:
            raise Stopped("in the middle")

    monkeypatch.setattr(results, "insert", failing)


def test_a_stopped_replay_goes_on_where_it_was(
    iris: ModelVersion,
    coarse: ModelVersion,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded_labels(iris, iris_artifact, iris_rows()[:20])
    plan = replay.Plan(from_version=iris, to_version=coarse)
    whole = report_of(replayed(iris, coarse))
    row = replay.start(plan)
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(Stopped):
            replay.run(row, replay.load(coarse), chunk_rows=4)

    stopped = Replay.objects.get(pk=row.pk)
    assert (stopped.status, stopped.error) == ("failed", "in the middle")
    assert stopped.rows_done == row.results.count() == 8
    again = plan.unfinished()
    assert again == stopped
    assert again is not None
    done: list[int] = []
    report = report_of(replay.run(again, replay.load(coarse), chunk_rows=5, progress=done.append))

    assert done == [5, 5, 2]
    assert report == whole
    assert again.error == ""
    assert plan.unfinished() is None
    assert ReplayResult.objects.filter(replay=row).count() == 20


def test_a_replay_killed_before_its_report_is_completed(
    iris: ModelVersion,
    coarse: ModelVersion,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded_labels(iris, iris_artifact, iris_rows()[:5])
    row = replay.start(replay.Plan(from_version=iris, to_version=coarse))
    with monkeypatch.context() as patch:
        patch.setattr(replay, "report_of", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            replay.run(row, replay.load(coarse))

    found = Replay.objects.get()
    assert (found.rows_done, found.report) == (5, None)
    assert report_of(replay.run(found, replay.load(coarse)))["rows"] == 5


def test_two_processes_do_not_repeat_a_row(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    recorded_labels(iris, iris_artifact, iris_rows()[:20])
    mine = replay.start(replay.Plan(from_version=iris, to_version=coarse))
    theirs = Replay.objects.get()
    model = replay.load(coarse)

    def go_on(_: int) -> None:
        replay.run(theirs, model, chunk_rows=9)

    with pytest.raises(replay.ReplayTaken):
        replay.run(mine, model, chunk_rows=4, progress=lambda _: replay.run(theirs, model))

    assert ReplayResult.objects.count() == 4
    theirs.refresh_from_db()
    assert (theirs.status, theirs.rows_done) == ("running", 4)
    go_on(0)
    assert ReplayResult.objects.count() == 20


def test_another_plan_does_not_go_on_with_it(iris: ModelVersion, coarse: ModelVersion) -> None:
    replay.start(replay.Plan(from_version=iris, to_version=coarse))

    assert replay.Plan(from_version=iris, to_version=coarse).unfinished() is not None
    for other in (
        replay.Plan(from_version=coarse, to_version=iris),
        replay.Plan(from_version=iris, to_version=coarse, limit=1),
        replay.Plan(from_version=iris, to_version=coarse, until=NOON),
        replay.Plan(from_version=iris, to_version=coarse, name="x"),
    ):
        assert other.unfinished() is None


# -- beside the service


def test_rows_deleted_meanwhile_are_left_out(
    iris: ModelVersion,
    coarse: ModelVersion,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded_labels(iris, iris_artifact, iris_rows()[:20])
    rescore = rescoring.rescore

    def pruned(model: Any, inputs: Any) -> Any:
        Prediction.objects.filter(created_at__lt=NOON + timedelta(minutes=5)).delete()
        return rescore(model, inputs)

    monkeypatch.setattr(replay, "rescore", pruned)

    report = report_of(replayed(iris, coarse, chunk_rows=20))

    assert (report["rows"], report["deleted"]) == (15, 5)


def test_retention_takes_the_results_along(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    recorded_labels(iris, iris_artifact, iris_rows()[:20])
    row = replayed(iris, coarse)

    call_command("prune_predictions", "--before=2026-01-01T12:05:00Z")

    assert Prediction.objects.count() == ReplayResult.objects.count() == 15
    row.refresh_from_db()
    assert report_of(row)["rows"] == 20


def test_retention_costs_the_same_with_results(
    iris: ModelVersion,
    coarse: ModelVersion,
    iris_artifact: Artifact,
    django_assert_max_num_queries: Any,
) -> None:
    recorded_labels(iris, iris_artifact, iris_rows())
    replayed(iris, coarse, chunk_rows=1000)

    with django_assert_max_num_queries(16):
        call_command("prune_predictions", "--before=2026-02-01")
    assert not ReplayResult.objects.exists()


def test_no_prediction_is_written_and_no_model_leaves_memory(
    iris: ModelVersion,
    coarse: ModelVersion,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loader, "cache", loader.ModelCache(loader._load_active, 1))
    rows = recorded_labels(iris, iris_artifact, iris_rows()[:3])
    loader.get(iris.pk)

    replayed(iris, coarse)

    assert loader.loaded() == ["iris:1"]
    assert loader.apart(iris.pk) is loader.get(iris.pk)
    assert list(Prediction.objects.order_by("pk")) == rows


def test_an_inactive_version_may_be_replayed_but_not_answer(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    recorded_labels(iris, iris_artifact, iris_rows()[:3])
    iris.revise(is_active=False)

    assert report_of(replayed(iris, coarse))["rows"] == 3
    with pytest.raises(ModelNotFound):
        replayed(coarse, iris)


def test_wide_inputs_make_smaller_chunks(iris: ModelVersion) -> None:
    from registry.signatures.signature import Input, Signature

    def rows(*shape: int) -> int:
        return replay._chunk_rows(Signature((Input("x", "FP32", (-1, *shape)),)))

    assert rows(4) == 2000
    assert rows(3, 224, 224) == 3
    assert rows(2000, 2000) == 1
    assert rows(-1) == 500


def test_rows_of_varying_shape_are_scored_together_by_shape(
    iris: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.signatures.signature import Input, Output, Signature

    calls: list[int] = []

    class Summing:
        signature = Signature((Input("x", "FP64", (-1, -1)),), (Output("y", "FP64", (-1,)),))
        libraries: Mapping[str, str] = {}

        def predict(self, inputs: Any) -> Any:
            calls.append(len(inputs["x"]))
            if (inputs["x"] < 0).any():
                raise InferenceError("negative")
            return {"y": inputs["x"].sum(axis=1)}

    model = loader.LoadedModel(iris, Summing(), Summing.signature)
    rows = [{"x": [1.0]}, {"x": [1.0, 2.0]}, {"x": "no"}, {"x": [4.0]}, {"x": [-1.0]}]

    found = rescoring.rescore(model, rows)

    assert [getattr(outcome, "prediction", None) for outcome in found] == [
        1.0,
        3.0,
        None,
        4.0,
        None,
    ]
    assert str(found[4]) == "negative"
    assert calls[0] == 3
