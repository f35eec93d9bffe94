"""Which rows a replay has, and when a plan continues an unfinished replay."""

from datetime import timedelta
from typing import Any

from predictions.evaluation.replays import runner
from predictions.evaluation.replays.plan import Plan, chunk_size
from predictions.models import Prediction
from predictions.testing.replays import (
    NOON,
    completed_report,
    iris_rows,
    record_labels,
    run_replay,
)
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from registry.models import ModelVersion
from registry.signatures.signature import Input, Signature
from registry.testing.artifacts import Artifact


def test_rows_are_selected_by_version_and_time(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    rows = record_labels(iris, iris_artifact, iris_rows()[:10])
    record_labels(coarse, iris_artifact, iris_rows()[:3])
    Prediction.objects.filter(pk=rows[4].pk).update(status="failed", error="why")
    Prediction.objects.filter(pk=rows[5].pk).update(
        alias="champion", arm="shadow", primary=rows[0].pk
    )

    def replayed_indices(**options: Any) -> list[int]:
        replay = run_replay(iris, coarse, chunk_rows=2, **options)
        ids = replay.results.newest_first().values_list("original_id", flat=True)
        assert replay.rows_done == replay.rows_expected == len(ids)
        return [rows.index(Prediction(pk=pk)) for pk in ids]

    assert replayed_indices() == [9, 8, 7, 6, 5, 3, 2, 1, 0]
    assert replayed_indices(limit=3) == [9, 8, 7]
    assert replayed_indices(limit=100) == [9, 8, 7, 6, 5, 3, 2, 1, 0]
    assert replayed_indices(since=NOON + timedelta(minutes=7)) == [9, 8, 7]
    assert replayed_indices(until=NOON + timedelta(minutes=2)) == [1, 0]
    assert replayed_indices(
        since=NOON + timedelta(minutes=2), until=NOON + timedelta(minutes=8), limit=2
    ) == [7, 6]


def test_rows_recorded_after_the_start_are_left_out(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    record_labels(iris, iris_artifact, iris_rows()[:3])
    replay = runner.start(Plan(from_version=iris, to_version=coarse))
    later = replay.created_at + timedelta(seconds=1)
    Prediction.objects.create(model=iris, input_data={}, prediction=1.0, created_at=later)

    assert completed_report(runner.run(replay, runner.load_model(coarse)))["rows"] == 3


def test_rows_with_equal_times_are_each_replayed_once(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    record_labels(iris, iris_artifact, iris_rows()[:20])
    Prediction.objects.update(created_at=NOON)

    assert completed_report(run_replay(iris, coarse, chunk_rows=3))["rows"] == 20


def test_a_different_plan_does_not_continue_a_replay(
    iris: ModelVersion, coarse: ModelVersion
) -> None:
    runner.start(Plan(from_version=iris, to_version=coarse))

    assert Plan(from_version=iris, to_version=coarse).find_unfinished() is not None
    for other in (
        Plan(from_version=coarse, to_version=iris),
        Plan(from_version=iris, to_version=coarse, limit=1),
        Plan(from_version=iris, to_version=coarse, until=NOON),
        Plan(from_version=iris, to_version=coarse, name="x"),
    ):
        assert other.find_unfinished() is None


def test_wide_inputs_make_smaller_chunks(iris: ModelVersion) -> None:
    def rows(*shape: int) -> int:
        return chunk_size(Signature((Input("x", "FP32", (-1, *shape)),)))

    assert rows(4) == 2000
    assert rows(3, 224, 224) == 3
    assert rows(2000, 2000) == 1
    assert rows(-1) == 500
