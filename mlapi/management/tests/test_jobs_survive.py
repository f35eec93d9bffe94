"""A worker that is killed while it runs a job: another one finishes it, and repeats nothing."""

import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from mlapi.management.tests.test_webhooks_survive import database_url, running
from mlapi.server.tests.serving import wait_until
from predictions.models import Job, Prediction
from predictions.testing.jobs import create_job, make_due
from predictions.testing.rows import create_predictions, make_version, wait_until_followable
from registry.testing.processes import MANAGE

WAIT_SECONDS = 120


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_another_worker_takes_over_the_job_of_a_killed_one(tmp_path: Path, settings: Any) -> None:
    create_predictions(make_version(None), [1.0] * 45)
    wait_until_followable()
    settings.JOB_LOCATIONS = [str(tmp_path)]
    folder = tmp_path / "out"
    folder.mkdir()
    # A pipe that nobody reads: the worker stays in the middle of the third part.
    pipe = folder / ".part-00003.ndjson.partial"
    os.mkfifo(pipe)
    job = create_job("export", {"to": str(folder), "format": "ndjson", "part_rows": 10})
    command = [MANAGE, "work", "--kinds", "jobs"]
    environment = {"DATABASE_URL": database_url(), "JOB_LOCATIONS": str(tmp_path)}

    with running(*command, **environment) as first:
        wait_until(lambda: (folder / "_part-00002.receipt.json").exists(), WAIT_SECONDS)
        assert first.poll() is None
        first.kill()
        first.wait()
    job.refresh_from_db()
    assert (job.status, job.rows_expected is None or job.rows_expected > 0) == ("running", True)
    parts = {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*")}
    pipe.unlink()
    make_due()
    with running(*command, **environment):
        wait_until(lambda: not Job.objects.unfinished().exists(), WAIT_SECONDS)

    job.refresh_from_db()
    assert (job.status, job.rows_done, job.attempts) == ("succeeded", 45, 1), job.error
    assert job.result is not None
    assert (job.result["rows"], job.result["parts"]) == (45, 5)
    assert {name: (folder / name).stat().st_mtime_ns for name in parts} == parts
    files = sorted(folder.glob("part-*"))
    ids = [orjson.loads(line)["id"] for file in files for line in file.read_bytes().splitlines()]
    assert sorted(ids) == list(Prediction.objects.order_by("pk").values_list("pk", flat=True))
