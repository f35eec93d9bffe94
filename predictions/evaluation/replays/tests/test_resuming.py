"""How interrupted replays continue, and what keeps two processes from repeating a row."""

from typing import Any

import pytest

from predictions.evaluation.replays import results, runner
from predictions.evaluation.replays.plan import Plan
from predictions.models import Replay, ReplayResult
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from predictions.testing.replays import (
    completed_report,
    iris_rows,
    record_labels,
    run_replay,
)
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact


class Interrupted(Exception):
    """Raised by a test to interrupt a replay."""


def interrupt_at(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Raise while the given chunk is written, after its rows are inserted."""
    insert, numbers = results.insert, iter(range(1, 1000))

    def insert_and_raise(*arguments: Any) -> None:
        insert(*arguments)
        if next(numbers) == chunk:
            raise Interrupted("in the middle")

    monkeypatch.setattr(results, "insert", insert_and_raise)


def test_an_interrupted_replay_continues_after_its_last_chunk(
    iris: ModelVersion,
    coarse: ModelVersion,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record_labels(iris, iris_artifact, iris_rows()[:20])
    plan = Plan(from_version=iris, to_version=coarse)
    uninterrupted = completed_report(run_replay(iris, coarse))
    replay = runner.start(plan)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(Interrupted):
            runner.run(replay, runner.load_model(coarse), chunk_rows=4)

    interrupted = Replay.objects.get(pk=replay.pk)
    assert (interrupted.status, interrupted.error) == ("failed", "in the middle")
    assert interrupted.rows_done == replay.results.count() == 8
    resumed = plan.find_unfinished()
    assert resumed == interrupted
    assert resumed is not None
    chunks: list[int] = []
    model = runner.load_model(coarse)
    report = completed_report(runner.run(resumed, model, chunk_rows=5, progress=chunks.append))

    assert chunks == [5, 5, 2]
    assert report == uninterrupted
    assert resumed.error == ""
    assert plan.find_unfinished() is None
    assert ReplayResult.objects.filter(replay=replay).count() == 20


def test_a_replay_interrupted_before_its_report_is_completed(
    iris: ModelVersion,
    coarse: ModelVersion,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record_labels(iris, iris_artifact, iris_rows()[:5])
    replay = runner.start(Plan(from_version=iris, to_version=coarse))
    with monkeypatch.context() as patch:
        patch.setattr(runner, "report_of", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runner.run(replay, runner.load_model(coarse))

    interrupted = Replay.objects.get()
    assert (interrupted.rows_done, interrupted.report) == (5, None)
    assert completed_report(runner.run(interrupted, runner.load_model(coarse)))["rows"] == 5


def test_two_processes_do_not_repeat_a_row(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    record_labels(iris, iris_artifact, iris_rows()[:20])
    mine = runner.start(Plan(from_version=iris, to_version=coarse))
    theirs = Replay.objects.get()
    model = runner.load_model(coarse)

    with pytest.raises(runner.ReplayTaken):
        runner.run(mine, model, chunk_rows=4, progress=lambda _: runner.run(theirs, model))

    assert ReplayResult.objects.count() == 4
    theirs.refresh_from_db()
    assert (theirs.status, theirs.rows_done) == ("running", 4)
    runner.run(theirs, model, chunk_rows=9)
    assert ReplayResult.objects.count() == 20
