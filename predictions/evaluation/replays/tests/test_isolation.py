"""A replay disturbs neither serving nor retention, and survives what they do while it runs."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from predictions.evaluation.replays import runner
from predictions.models import Prediction, ReplayResult
from predictions.serving import inference
from predictions.testing.replays import (
    NOON,
    completed_report,
    iris_rows,
    record_labels,
    run_replay,
)
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from registry.loading import loader
from registry.models import ModelNotFound, ModelVersion
from registry.testing.artifacts import Artifact


def test_rows_deleted_during_a_replay_are_left_out(
    iris: ModelVersion,
    coarse: ModelVersion,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record_labels(iris, iris_artifact, iris_rows()[:20])
    answer_rows = inference.answer_rows

    def delete_and_answer(*arguments: Any, **options: Any) -> Any:
        Prediction.objects.filter(created_at__lt=NOON + timedelta(minutes=5)).delete()
        return answer_rows(*arguments, **options)

    monkeypatch.setattr(runner, "answer_rows", delete_and_answer)

    report = completed_report(run_replay(iris, coarse, chunk_rows=20))

    assert (report["rows"], report["deleted"]) == (15, 5)


def test_pruning_predictions_deletes_their_results(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    record_labels(iris, iris_artifact, iris_rows()[:20])
    replay = run_replay(iris, coarse)

    call_command("prune_predictions", "--before=2026-01-01T12:05:00Z")

    assert Prediction.objects.count() == ReplayResult.objects.count() == 15
    replay.refresh_from_db()
    assert completed_report(replay)["rows"] == 20


def test_pruning_takes_few_queries_with_results_too(
    iris: ModelVersion,
    coarse: ModelVersion,
    iris_artifact: Artifact,
    django_assert_max_num_queries: Any,
) -> None:
    record_labels(iris, iris_artifact, iris_rows())
    run_replay(iris, coarse, chunk_rows=1000)

    # One of them for partitions (none on SQLite), two for legal holds, seven to have the hours
    # counted again.
    with django_assert_max_num_queries(26):
        call_command("prune_predictions", "--before=2026-02-01")
    assert not ReplayResult.objects.exists()


def test_no_prediction_is_written_and_no_model_is_evicted(
    iris: ModelVersion,
    coarse: ModelVersion,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loader, "cache", loader.ModelCache(loader._load_active, 1))
    rows = record_labels(iris, iris_artifact, iris_rows()[:3])
    loader.get(iris.pk)

    run_replay(iris, coarse)

    assert loader.loaded_specifiers() == ["iris:1"]
    assert loader.load_uncached(iris.pk) is loader.get(iris.pk)
    assert list(Prediction.objects.order_by("pk")) == rows


def test_an_inactive_version_can_be_replayed_but_not_answer(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    record_labels(iris, iris_artifact, iris_rows()[:3])
    iris.update(is_active=False)

    assert completed_report(run_replay(iris, coarse))["rows"] == 3
    with pytest.raises(ModelNotFound):
        run_replay(coarse, iris)
