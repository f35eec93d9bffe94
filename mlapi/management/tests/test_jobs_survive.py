"""A worker that is killed while it runs a job: another one finishes it, and repeats nothing."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from mlapi.management.tests.test_webhooks_survive import database_url, running
from predictions.models import Job, Prediction
from predictions.testing.jobs import create_job, make_due
from predictions.testing.rows import (
    REGRESSOR_SIGNATURE,
    create_predictions,
    make_version,
    wait_until_followable,
)
from registry.testing.processes import MANAGE

WAIT_SECONDS = 120


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_another_worker_takes_over_the_job_of_a_killed_one(tmp_path: Path, settings: Any) -> None:
    create_predictions(make_version(REGRESSOR_SIGNATURE), [1.0] * 45)
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
        wait_until(lambda: (folder / "_part-00002.receipt.json").exists())
        assert first.poll() is None
        first.kill()
        first.wait()
    job.refresh_from_db()
    assert job.status == "running"
    parts = {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*")}
    pipe.unlink()
    make_due()
    with running(*command, **environment):
        wait_until(lambda: not Job.objects.unfinished().exists())

    job.refresh_from_db()
    assert (job.status, job.rows_done, job.attempts) == ("succeeded", 45, 1), job.error
    assert job.result is not None
    assert (job.result["rows"], job.result["parts"]) == (45, 5)
    assert {name: (folder / name).stat().st_mtime_ns for name in parts} == parts
    files = sorted(folder.glob("part-*"))
    ids = [orjson.loads(line)["id"] for file in files for line in file.read_bytes().splitlines()]
    assert sorted(ids) == list(Prediction.objects.order_by("pk").values_list("pk", flat=True))
