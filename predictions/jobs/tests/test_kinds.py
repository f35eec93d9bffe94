"""Each kind of job does what its command does, once, also if its worker is killed in the middle."""

import os
import signal
import warnings
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from predictions.evaluation.counting import following
from predictions.evaluation.monitoring import work as monitoring
from predictions.jobs import changes
from predictions.jobs.worker import execution, taking
from predictions.models import (
    Erasure,
    Job,
    MonitorReport,
    Prediction,
    Replay,
    ReplayResult,
    StaleHour,
)
from predictions.testing.counting import (
    churn,
    create_random,
    fresh_counts,
    monitor,
    set_random_reference,
    stored_counts,
)
from predictions.testing.jobs import create_job, make_due, run_next
from predictions.testing.monitors import MIDNIGHT
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from predictions.testing.replays import recorded_rows as recorded_rows
from predictions.testing.rows import (
    REGRESSOR_SIGNATURE,
    create_predictions,
    make_version,
    wait_until_followable,
)
from registry.access.accessor import Accessor
from registry.models import AuditEvent, ModelVersion, RegisteredModel
from registry.testing.clients import permit

# Another process runs the jobs as well.
pytestmark = pytest.mark.django_db(transaction=True)

BEFORE, AFTER = "before", "after"


def kill_while_running(function: str, *, call: int, when: str = BEFORE) -> None:
    """Run the due job in a process that is killed at the n-th call of `module:attribute`."""
    for each in connections.all(initialized_only=True):
        each.close()
        if hasattr(each, "close_pool"):
            each.close_pool()
    with warnings.catch_warnings():
        # Of later Pythons, since there are threads; none of them holds what the child needs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            _kill_at(function, call, when)
            job = taking.take_due()
            assert job is not None
            execution.run(job, lambda: False)
        finally:
            # Only if it was not killed.
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def _kill_at(function: str, call: int, when: str) -> None:
    module, _, path = function.partition(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original, numbers = getattr(owner, name), iter(range(1, 1_000_000))

    def wrapped(*arguments: Any, **options: Any) -> Any:
        is_it = next(numbers) == call
        if is_it and when == BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **options)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)


def finish_after_the_kill() -> Job:
    assert taking.take_due() is None, "its lease has not ended"
    make_due()
    job = run_next()
    assert job is not None
    assert job.status == "succeeded", job.error
    return job


# -- replays


@pytest.mark.parametrize("call", [1, 3])
def test_a_killed_replay_loses_and_repeats_no_row(
    monkeypatch: pytest.MonkeyPatch,
    iris: ModelVersion,
    coarse: ModelVersion,
    recorded_rows: list[Prediction],
    call: int,
) -> None:
    monkeypatch.setattr("predictions.evaluation.replays.plan.CHUNK_ROWS", 4)
    create_job("replay", {"from": "iris:1", "to": coarse.pk})
    kill_while_running("predictions.evaluation.replays.results:insert", call=call, when=AFTER)

    job = finish_after_the_kill()

    replay = Replay.objects.get()
    assert job.result == {
        "replay_id": replay.pk,
        "rows": 15,
        "compared": 15,
        "agreement": (replay.report or {})["agreement"],
    }
    assert (job.rows_done, job.rows_expected, job.model_name) == (15, 15, "iris")
    assert ReplayResult.objects.count() == 15


def test_a_cancelled_replay_can_be_continued(
    monkeypatch: pytest.MonkeyPatch,
    iris: ModelVersion,
    coarse: ModelVersion,
    recorded_rows: list[Prediction],
) -> None:
    monkeypatch.setattr("predictions.evaluation.replays.plan.CHUNK_ROWS", 4)
    job = create_job("replay", {"from": "iris:1", "to": "iris:2"})
    Job.objects.update(is_cancel_requested=True)

    cancelled = run_next()
    assert cancelled is not None
    assert cancelled.status == "cancelled"
    changes.retry(job)
    again = run_next()

    assert again is not None
    assert again.status == "succeeded"
    assert Replay.objects.get().status == "completed"


# -- exports


def export_to(folder: Path, **filters: object) -> Job:
    wait_until_followable()
    parameters = {"to": str(folder), "format": "ndjson", "part_rows": 5, "filters": filters}
    return create_job("export", parameters)


@pytest.fixture
def exported(settings: Any, tmp_path: Path) -> ModelVersion:
    settings.JOB_LOCATIONS = [str(tmp_path)]
    version = make_version(REGRESSOR_SIGNATURE)
    create_predictions(version, [float(i) for i in range(12)], subject="somebody")
    return version


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_a_killed_export_gives_the_same_files(
    tmp_path: Path, exported: ModelVersion, when: str
) -> None:
    export_to(tmp_path / "whole", model="m")
    whole = run_next()
    assert whole is not None
    export_to(tmp_path / "killed", model="m")
    # The second part, or its receipt.
    kill_while_running("predictions.export.destinations.folder:Folder.publish", call=2, when=when)

    job = finish_after_the_kill()

    assert (whole.result or {})["rows"] == 12
    assert (job.result or {})["sha256"] == (whole.result or {})["sha256"]
    assert job.rows_done == 12
    assert AuditEvent.objects.filter(action="exported").count() == 2


def test_subjects_in_the_filters_of_an_export_are_not_kept(
    tmp_path: Path, exported: ModelVersion
) -> None:
    job = export_to(tmp_path / "out", subject="somebody")
    run_next()

    job.refresh_from_db()
    assert (job.status, job.result and job.result["rows"]) == ("succeeded", 12)
    assert "somebody" not in str(job.parameters)


# -- erasures


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_a_killed_erasure_is_done_once(user: User, when: str) -> None:
    version = make_version(REGRESSOR_SIGNATURE)
    create_predictions(version, [1.0, 2.0, 3.0], subject="somebody")
    accessor = Accessor(permit(user, "add_erasure"))
    create_job("erasure", {"subject": "somebody", "reason": "ticket 7"}, accessor)
    kill_while_running(
        "predictions.jobs.worker.execution:finish"
        if when == BEFORE
        else "predictions.retention.erasing:erase",
        call=1,
        when=when,
    )

    job = finish_after_the_kill()

    erasure = Erasure.objects.get()
    assert erasure.counts["predictions"] == 3
    assert (job.result or {})["erasure_id"] == erasure.pk
    assert not Prediction.objects.exists()
    assert "somebody" not in str(job.parameters)
    with pytest.raises(changes.JobNotRetriable):
        changes.retry(job)


# -- retention


def test_a_killed_retention_counts_each_deleted_row_once(
    monkeypatch: pytest.MonkeyPatch, user: User
) -> None:
    monkeypatch.setattr("predictions.retention.pruning.CHUNK_ROWS", 3)
    version = make_version(REGRESSOR_SIGNATURE)
    RegisteredModel.objects.update_or_create(name="m", defaults={"retention_days": 1})
    create_predictions(version, [1.0] * 8)
    create_predictions(version, [1.0], created_at=timezone.now())
    create_job("retention", {"model": "m"}, Accessor(permit(user, "delete_prediction")))
    kill_while_running("predictions.jobs.running:RunningJob.checkpoint", call=2, when=AFTER)

    job = finish_after_the_kill()

    assert job.result == {"predictions": 8}
    assert Prediction.objects.count() == 1


# -- counting and monitoring


def test_killed_counting_counts_each_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MAX_ROWS", 20)
    version = churn()
    create_random(version, 1, 30)
    set_random_reference(version)
    create_random(version, 2, 60)
    wait_until_followable()
    create_job("counting", {})
    kill_while_running("predictions.evaluation.counting.following:follow", call=2, when=AFTER)

    job = finish_after_the_kill()

    assert (job.result or {})["hours_left"] == 0
    assert stored_counts(version) == fresh_counts(version)
    assert not StaleHour.objects.exists()


def test_killed_monitoring_reports_each_window_once(monkeypatch: pytest.MonkeyPatch) -> None:
    until = MIDNIGHT + timedelta(days=3)
    monkeypatch.setattr(monitoring, "counted_until", lambda: until)
    version = churn()
    set_random_reference(version)
    row = monitor(version, [])
    create_random(version, 1, 90, hours=60)
    wait_until_followable()
    create_job("monitoring", {"monitor_id": row.pk, "since": MIDNIGHT.isoformat()})
    kill_while_running("predictions.evaluation.monitoring.work:report", call=1, when=AFTER)

    finish_after_the_kill()

    windows = MonitorReport.objects.values_list("since", flat=True)
    assert sorted(windows) == [MIDNIGHT + timedelta(days=day) for day in range(3)]
