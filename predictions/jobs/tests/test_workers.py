"""Several workers, their leases, a database that goes away, and what is tidied up."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections

from predictions.jobs import changes
from predictions.jobs.kinds import JobKind
from predictions.jobs.running import RunningJob
from predictions.jobs.worker import execution, heartbeat, housekeeping
from predictions.jobs.worker.work import JOBS
from predictions.models import Job, JobError
from predictions.testing.jobs import create_job, make_due, run_next, sum_up
from registry.database import clock
from registry.exact_json.values import JSONObject
from registry.work.recurring import Turn
from registry.work.worker import Worker

# Their threads see only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

RegisterKind = Callable[..., JobKind]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_several_workers_run_each_job_once(register_kind: RegisterKind) -> None:
    runs: Counter[int] = Counter()

    def count_and_sum(running: RunningJob) -> JSONObject:
        runs[running.job.pk] += 1
        return sum_up(running)

    register_kind(count_and_sum)
    jobs = [create_job() for _ in range(8)]
    workers = [Worker([JOBS], threads=2) for _ in range(3)]
    threads = [threading.Thread(target=worker.run_until_stopped) for worker in workers]
    for thread in threads:
        thread.start()
    wait_until(lambda: not Job.objects.unfinished().exists())
    for worker in workers:
        worker.stop()
    for thread in threads:
        thread.join()

    assert runs == {job.pk: 1 for job in jobs}
    assert set(Job.objects.values_list("status", flat=True)) == {"succeeded"}


def test_a_long_step_keeps_its_lease(
    register_kind: RegisterKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.02)

    def take_long(running: RunningJob) -> JSONObject:
        Job.objects.update(due_at=clock.now() + timedelta(seconds=1))
        wait_until(lambda: Job.objects.get().due_at > clock.now() + timedelta(seconds=10))
        changes.cancel(running.job)
        wait_until(running.is_stopping)
        running.require_running()
        raise AssertionError("it must not get here")

    register_kind(take_long)
    create_job()

    job = run_next()

    assert job is not None
    assert job.status == "cancelled"


def test_a_database_that_is_gone_at_the_end_loses_no_result(
    register_kind: RegisterKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the result nor the failure can be written: the lease ends, and the job goes on."""
    cursors: list[object] = []

    def note_and_sum(running: RunningJob) -> JSONObject:
        cursors.append(running.cursor)
        return sum_up(running)

    def refuse(*arguments: Any, **options: Any) -> bool:
        raise OperationalError("the database is gone")

    register_kind(note_and_sum)
    create_job()
    with monkeypatch.context() as patch:
        patch.setattr(execution, "finish", refuse)
        with pytest.raises(OperationalError):
            run_next()

    assert Job.objects.get().status == "running"
    make_due()
    job = run_next()
    assert job is not None
    assert (job.status, job.result) == ("succeeded", {"sum": 6})
    assert cursors == [None, {"sum": 6, "next": 3}]


def test_a_connection_that_breaks_in_a_step_is_opened_again(register_kind: RegisterKind) -> None:
    def break_once(running: RunningJob) -> JSONObject:
        if running.cursor is None:
            running.checkpoint({"sum": 0, "next": 0}, 0)
            for connection in connections.all():
                connection.close()
            raise OperationalError("server closed the connection unexpectedly")
        return sum_up(running)

    register_kind(break_once)
    create_job()

    first = run_next()
    assert first is not None
    assert (first.status, first.error) == ("queued", "The database was unavailable")
    make_due()
    second = run_next()
    assert second is not None
    assert second.status == "succeeded"


def test_old_jobs_are_deleted_with_their_errors(register_kind: RegisterKind, settings: Any) -> None:
    settings.JOB_KEEP_DAYS = 30
    register_kind()
    old, young, unfinished = (create_job() for _ in range(3))
    JobError.objects.create(job=old, position=1, message="no")
    for job, days in ((old, 31), (young, 29)):
        changes.cancel(job)
        Job.objects.filter(pk=job.pk).update(finished_at=clock.now() - timedelta(days=days))
    Job.objects.filter(pk=unfinished.pk).update(created_at=clock.now() - timedelta(days=99))

    class Endless(Turn):
        def may_continue(self) -> bool:
            return True

    housekeeping.tidy(Endless("job-tidying", timedelta(), clock.now()))

    assert set(Job.objects.values_list("pk", flat=True)) == {young.pk, unfinished.pk}
    assert not JobError.objects.exists()
