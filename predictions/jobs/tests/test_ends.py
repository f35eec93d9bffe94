"""How jobs end: at once if no retry can mend them, and always, whatever else goes wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from predictions.export.destinations.folder import Folder
from predictions.jobs import changes
from predictions.jobs.kinds import JobKind
from predictions.jobs.running import RunningJob
from predictions.jobs.worker import taking
from predictions.models import Job
from predictions.models.predictions import MAX_ERROR_LENGTH
from predictions.testing.jobs import create_job, make_due, run_next, sum_up
from registry.exact_json.values import JSONObject

pytestmark = pytest.mark.django_db

RegisterKind = Callable[..., JobKind]


class StoreDown(Exception):
    """May pass."""


class StoreMissing(StoreDown):
    """Does not."""


def run() -> Job:
    job = run_next()
    assert job is not None
    return job


def test_an_error_that_does_not_pass_is_not_retried(register_kind: RegisterKind) -> None:
    def fail(running: RunningJob) -> JSONObject:
        raise StoreMissing("There is no such bucket")

    register_kind(fail, retried=(StoreDown,), explained=(StoreMissing,))
    create_job()

    job = run()

    assert (job.status, job.error) == ("failed", "There is no such bucket")


@pytest.mark.parametrize("missing", ["no/such/folder", "file/folder", "x" * 256])
@pytest.mark.parametrize("kind", ["export", "score"])
def test_a_folder_that_cannot_be_made_fails_a_job_at_once(
    settings: Any, tmp_path: Path, kind: str, missing: str, request: pytest.FixtureRequest
) -> None:
    settings.JOB_LOCATIONS = [str(tmp_path)]
    (tmp_path / "file").touch()
    parameters: JSONObject = {"to": str(tmp_path / missing)}
    if kind == "score":
        request.getfixturevalue("iris")
        (tmp_path / "rows.ndjson").write_text('{"features": [5.1, 3.5, 1.4, 0.2]}\n')
        parameters |= {"model": "iris:1", "sources": [str(tmp_path / "rows.ndjson")]}
    create_job(kind, parameters)

    job = run()

    assert job.status == "failed", job.error
    assert job.error.startswith(f"Cannot write to {tmp_path}")


def test_the_last_error_is_cut_so_that_it_fits(register_kind: RegisterKind) -> None:
    def fail(running: RunningJob) -> JSONObject:
        raise StoreDown("x" * 5000)

    register_kind(fail, retried=(StoreDown,), max_attempts=1)
    create_job()

    job = run()

    assert job.status == "failed"
    assert len(job.error) == MAX_ERROR_LENGTH
    assert job.error.endswith("x (in each of 1 attempts)")


def test_parameters_that_cannot_be_redacted_are_not_kept(register_kind: RegisterKind) -> None:
    def fail(parameters: JSONObject) -> JSONObject:
        raise KeyError("filters")

    register_kind(redact=fail)
    cancelled = create_job()
    changes.cancel(cancelled)
    create_job()

    assert run().status == "succeeded"
    assert list(Job.objects.values_list("parameters", flat=True)) == [{}, {}]
    with pytest.raises(changes.JobNotRetriable):
        changes.retry(cancelled)


def test_parameters_that_became_invalid_are_named(register_kind: RegisterKind) -> None:
    register_kind()
    job = create_job()
    Job.objects.filter(pk=job.pk).update(parameters={"numbers": [1, "x"]})

    error = run().error

    assert error.startswith("Its parameters are not valid any more: ")
    assert "numbers.1: A valid integer is required." in error
    assert "ErrorDetail" not in error


def test_progress_is_never_beyond_what_is_expected(register_kind: RegisterKind) -> None:
    def grow(running: RunningJob) -> JSONObject:
        for rows, expected in ((0, 2), (5, 5)):
            running.expect(2)
            running.checkpoint(None, rows)
            assert Job.objects.get().rows_expected == expected
        running.expect(3)
        assert Job.objects.get().rows_expected == 5
        return {}

    register_kind(grow)
    create_job()

    assert run().rows_done == 5


def test_a_job_that_succeeded_is_done_with_all_its_rows(register_kind: RegisterKind) -> None:
    def overestimate(running: RunningJob) -> JSONObject:
        running.expect(1000)
        running.checkpoint(None, 7)
        return {}

    register_kind(overestimate)
    create_job()

    job = run()

    assert (job.rows_done, job.rows_expected) == (7, 7)


def test_a_taken_job_is_read_by_its_key(
    register_kind: RegisterKind, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """Its lease has no index: without the key, all jobs that are kept would be read."""
    register_kind(sum_up)
    create_job()
    with django_assert_num_queries(3) as queries:
        assert taking.take_due() is not None
    make_due()

    assert f'"jobs"."id" = {Job.objects.get().pk}' in queries[-1]["sql"]


def test_a_part_that_cannot_be_written_is_tried_again(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.JOB_LOCATIONS = [str(tmp_path)]
    monkeypatch.setattr(Folder, "new_file", lambda folder, name: tmp_path / "gone" / name)
    create_job("export", {"to": str(tmp_path / "out"), "format": "ndjson"})

    job = run()

    assert job.status == "queued"
    assert job.error.startswith(f"Cannot write {tmp_path}/gone/part-00001.ndjson")
