"""Tables as jobs: only between allowed locations, and by those who may ask the model."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.exceptions import PermissionDenied
from rest_framework.exceptions import ValidationError

from predictions.models import Job, JobError
from predictions.scoring.runs import running
from predictions.scoring.runs.jobs import ScoreParameters, require_rights
from predictions.scoring.runs.tests.conftest import N_ROWS, InlineEngine, answers, move_artifact
from predictions.testing.jobs import create_job, run_next
from registry.access.accessor import Accessor
from registry.models import Alias, ModelNotFound, ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def parameters(
    table: Path, settings: LazySettings, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    settings.JOB_LOCATIONS = [str(table.parent.parent)]
    monkeypatch.setattr(running, "open_engine", lambda options: InlineEngine())
    pattern, to = str(table.parent / "*.parquet"), str(table.parent.parent / "out")
    return {"sources": [pattern], "to": to, "model": "iris", "part_rows": 20}


def test_a_job_scores_and_reports_rows_without_an_answer(parameters: dict[str, Any]) -> None:
    create_job("score", parameters)

    job = run_next()

    assert job is not None
    assert (job.status, job.rows_done, job.rows_expected) == ("succeeded", N_ROWS, N_ROWS)
    assert job.result["rows"] == len(answers(parameters["to"])) == N_ROWS
    assert (job.result["failed"], job.error_count) == (1, 1)
    error = JobError.objects.get()
    assert error.position == 33
    assert "features[2]: Must not be null" in error.message


def test_a_job_that_is_tried_again_keeps_its_version(
    parameters: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    make_version: MakeVersion,
    iris_artifact: Artifact,
) -> None:
    create_job("score", {**parameters, "record": True, "id_column": "flower"})
    monkeypatch.setattr(running, "open_engine", lambda options: InlineEngine(fail_after=1))
    with pytest.raises(KeyboardInterrupt):
        run_next()
    Alias.objects.update(version=make_version("iris", iris_artifact, version="2"))
    Job.objects.update(due_at="2000-01-01T00:00Z")
    monkeypatch.setattr(running, "open_engine", lambda options: InlineEngine())

    job = run_next()

    assert job is not None
    assert job.status == "succeeded", job.error
    assert (job.result["versions"], job.result["recorded"]) == (["iris:1"], N_ROWS - 1)


def test_a_link_does_not_lead_out_of_the_allowed_folder(
    parameters: dict[str, Any], table: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("secret") / "b.parquet"
    secret.write_bytes(table.read_bytes())
    (table.parent / "b.parquet").symlink_to(secret)
    create_job("score", parameters)

    job = run_next()

    assert job is not None
    assert (job.status, job.error[:20]) == ("failed", "Must be below a loca")
    assert not Path(parameters["to"]).exists()


def test_files_behind_a_link_are_not_revealed(
    parameters: dict[str, Any], table: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "private.txt").touch()
    (table.parent / "link").symlink_to(elsewhere)
    create_job("score", {**parameters, "sources": [str(table.parent / "l*" / "*")]})

    job = run_next()

    assert job is not None
    assert job.status == "failed"
    assert "private" not in job.error


def test_a_link_in_the_place_of_the_result_does_not_lead_out_either(
    parameters: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    create_job("score", parameters)
    Path(parameters["to"]).symlink_to(elsewhere)

    job = run_next()

    assert job is not None
    assert job.status == "failed"
    assert "Must be below a location" in job.error
    assert not list(elsewhere.iterdir())


def test_a_job_that_is_tried_again_finds_an_artifact_that_was_moved(
    parameters: dict[str, Any],
    champion: ModelVersion,
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create_job("score", parameters)
    monkeypatch.setattr(running, "open_engine", lambda options: InlineEngine(fail_after=1))
    with pytest.raises(KeyboardInterrupt):
        run_next()
    move_artifact(champion, model_path)
    Job.objects.update(due_at="2000-01-01T00:00Z")
    monkeypatch.setattr(running, "open_engine", lambda options: InlineEngine())

    job = run_next()

    assert job is not None
    assert (job.status, job.rows_done) == ("succeeded", N_ROWS), job.error


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sources": ["/etc/*.csv"]}, "sources"),
        ({"sources": []}, "sources"),
        ({"to": "/elsewhere"}, "to"),
        ({"canary": True}, "canary needs subject_column"),
        ({"format": "csv", "record": True}, "record needs format parquet"),
    ],
)
def test_bad_parameters_are_refused(
    parameters: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError, match=field):
        ScoreParameters(data={**parameters, **changes}).is_valid(raise_exception=True)


def test_a_failed_job_names_its_parameters(parameters: dict[str, Any], table: Path) -> None:
    create_job("score", {**parameters, "sources": [str(table.parent / "*.csv")]})

    job = run_next()

    assert job is not None
    assert job.error.startswith("sources: there is no file /")


def test_a_job_needs_the_right_to_predict(
    champion: ModelVersion, django_user_model: Any, settings: LazySettings
) -> None:
    accessor = Accessor(django_user_model.objects.create_user("ada"))

    assert require_rights(accessor, {"model": "iris@champion"}) == "iris"
    with pytest.raises((ModelNotFound, PermissionDenied)):
        require_rights(accessor, {"model": "nobody:1"})
