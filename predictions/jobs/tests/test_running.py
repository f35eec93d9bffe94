"""A worker runs jobs: to their end, after interruptions, and never two of them the same one."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, transaction
from django.utils import timezone

from predictions.jobs import changes
from predictions.jobs.kinds import JobKind
from predictions.jobs.running import JobFailed, JobTaken, RowError, RunningJob
from predictions.jobs.worker import heartbeat, taking
from predictions.models import MAX_JOB_ERRORS, Job, JobError
from predictions.testing.jobs import create_job, make_due, run_next, sum_up
from registry.access.accessor import Accessor
from registry.access.keys.changes import create_key, revoke_key
from registry.exact_json.values import JSONObject
from registry.models import Right

pytestmark = pytest.mark.django_db

RegisterKind = Callable[..., JobKind]


def ended(job: Job | None) -> Job:
    assert job is not None
    return job


def test_a_job_succeeds_with_its_result(register_kind: RegisterKind) -> None:
    register_kind()
    create_job()

    job = ended(run_next())

    assert (job.status, job.result) == ("succeeded", {"sum": 6})
    assert (job.rows_done, job.rows_expected) == (3, 3)
    assert job.finished_at is not None
    assert run_next() is None


def test_jobs_are_taken_in_their_order(register_kind: RegisterKind) -> None:
    register_kind()
    jobs = [create_job() for _ in range(3)]

    taken = [ended(run_next()).pk for _ in jobs]

    assert taken == [job.pk for job in jobs]


def test_an_error_that_may_pass_is_retried_from_the_cursor(register_kind: RegisterKind) -> None:
    attempts: list[object] = []

    def fail_once(running: RunningJob) -> JSONObject:
        attempts.append(running.cursor)
        if len(attempts) == 1:
            running.checkpoint({"sum": 1, "next": 1}, 1)
            raise ConnectionError("the store is down")
        return sum_up(running)

    register_kind(fail_once, retried=(ConnectionError,))
    create_job()
    job = ended(run_next())

    assert (job.status, job.error, job.attempts) == ("queued", "the store is down", 1)
    assert run_next() is None, "it waits for its pause to end"
    make_due()
    job = ended(run_next())
    assert (job.status, job.result, job.error) == ("succeeded", {"sum": 6}, "")
    assert attempts == [None, {"sum": 1, "next": 1}]


def test_it_fails_after_max_attempts_without_progress(register_kind: RegisterKind) -> None:
    def fail(running: RunningJob) -> JSONObject:
        raise ConnectionError("the store is down")

    register_kind(fail, retried=(ConnectionError,), max_attempts=3)
    create_job()
    for _ in range(2):
        assert ended(run_next()).status == "queued"
        make_due()

    job = ended(run_next())

    assert job.status == "failed"
    assert job.error == "the store is down (in each of 3 attempts)"


def test_progress_starts_the_attempts_anew(register_kind: RegisterKind) -> None:
    def step(running: RunningJob) -> JSONObject:
        running.checkpoint(None, running.rows_done + 1)
        raise ConnectionError("the store is down")

    register_kind(step, retried=(ConnectionError,), max_attempts=2)
    create_job()

    for _ in range(4):
        assert ended(run_next()).status == "queued"
        make_due()


def test_the_database_being_unavailable_is_retried(register_kind: RegisterKind) -> None:
    def fail(running: RunningJob) -> JSONObject:
        raise OperationalError("password of the server at 10.0.0.1")

    register_kind(fail)
    create_job()

    job = ended(run_next())

    assert (job.status, job.error) == ("queued", "The database was unavailable")


def test_an_expected_error_fails_at_once_with_its_message(register_kind: RegisterKind) -> None:
    def fail(running: RunningJob) -> JSONObject:
        raise JobFailed("There is nothing to add")

    register_kind(fail)
    create_job()

    job = ended(run_next())

    assert (job.status, job.error) == ("failed", "There is nothing to add")


def test_an_unexpected_error_is_logged_and_not_shown(register_kind: RegisterKind) -> None:
    def fail(running: RunningJob) -> JSONObject:
        raise RuntimeError("secret of the inside")

    register_kind(fail)
    job = create_job()
    with pytest.raises(RuntimeError, match="secret of the inside"):
        run_next()

    job.refresh_from_db()
    assert job.status == "failed"
    assert job.error.startswith("An unexpected error occurred")


def test_a_stopping_worker_gives_the_job_back(register_kind: RegisterKind) -> None:
    register_kind()
    create_job()

    job = ended(run_next(lambda: True))

    assert (job.status, job.attempts, job.lease) == ("queued", 0, None)
    assert ended(run_next()).status == "succeeded"


def test_a_cancelled_job_ends_at_its_next_checkpoint(register_kind: RegisterKind) -> None:
    def cancel_itself(running: RunningJob) -> JSONObject:
        running.checkpoint({"n": 1}, 1)
        changes.cancel(running.job)
        running.checkpoint({"n": 2}, 2)
        raise AssertionError("it must not get here")

    register_kind(cancel_itself)
    create_job()

    job = ended(run_next())

    assert (job.status, job.cursor, job.rows_done) == ("cancelled", {"n": 1}, 1)
    assert not job.is_cancel_requested


def test_what_belongs_to_a_lost_checkpoint_is_not_committed(register_kind: RegisterKind) -> None:
    """The worker was thought dead, and another one has the job."""

    def write(running: RunningJob) -> None:
        with transaction.atomic():
            User.objects.create_user("written twice")
            running.checkpoint({"n": 1}, 1)

    def lose(running: RunningJob) -> JSONObject:
        make_due()
        assert taking.take_due() is not None
        with pytest.raises(JobTaken):
            write(running)
        assert running.is_stopping()
        running.require_running()
        raise AssertionError("it must not get here")

    register_kind(lose)
    create_job()

    job = ended(run_next())

    assert (job.status, job.rows_done) == ("running", 0)
    assert not User.objects.filter(username="written twice").exists()


def test_the_result_of_a_worker_that_lost_the_job_is_dropped(register_kind: RegisterKind) -> None:
    def lose(running: RunningJob) -> JSONObject:
        make_due()
        assert taking.take_due() is not None
        return {"sum": 0}

    register_kind(lose)
    create_job()

    assert ended(run_next()).status == "running"


def test_the_job_of_a_dead_worker_is_due_when_its_lease_ends(register_kind: RegisterKind) -> None:
    register_kind()
    create_job()
    assert taking.take_due() is not None
    assert taking.take_due() is None
    make_due()

    job = ended(run_next())

    assert (job.status, job.attempts) == ("succeeded", 1)


def test_a_job_that_kills_its_workers_fails(register_kind: RegisterKind) -> None:
    register_kind(max_attempts=3)
    job = create_job()
    for _ in range(3):
        assert taking.take_due() is not None
        make_due()

    assert taking.take_due() is None

    job.refresh_from_db()
    assert job.status == "failed"
    assert "worker died in each of 3 attempts" in job.error


def test_a_cancelled_job_of_a_dead_worker_ends(register_kind: RegisterKind) -> None:
    register_kind()
    job = create_job()
    assert taking.take_due() is not None
    changes.cancel(job)
    make_due()

    assert taking.take_due() is None

    job.refresh_from_db()
    assert job.status == "cancelled"


def test_a_job_of_a_newer_release_is_left(register_kind: RegisterKind) -> None:
    job = create_job("counting", {})
    Job.objects.filter(pk=job.pk).update(kind="of the future")

    assert taking.take_due() is None


def test_only_the_first_errors_are_kept_and_all_are_counted(register_kind: RegisterKind) -> None:
    def refuse(running: RunningJob) -> JSONObject:
        for start in (0, 600):
            errors = [RowError(start + i, f"row \0{i}", reference="r") for i in range(600)]
            running.checkpoint({"next": start + 600}, start + 600, errors)
        return {}

    register_kind(refuse)
    create_job()

    job = ended(run_next())

    assert job.error_count == 1200
    positions = list(JobError.objects.in_order().values_list("position", flat=True))
    assert positions == list(range(MAX_JOB_ERRORS))
    assert JobError.objects.in_order().first().message == "row 0"  # type: ignore[union-attr]


def test_rights_are_asked_for_again_when_it_starts(register_kind: RegisterKind, user: User) -> None:
    is_allowed = True

    def require(accessor: Accessor, parameters: JSONObject) -> str:
        if not is_allowed:
            raise PermissionDenied("You may not read the log of model iris.")
        return "iris"

    register_kind(require_rights=require)
    create_job(accessor=Accessor(user))
    is_allowed = False

    job = ended(run_next())

    assert job.status == "failed"
    assert job.error.endswith("any more: You may not read the log of model iris.")


def test_a_job_of_a_deactivated_user_fails(register_kind: RegisterKind, user: User) -> None:
    register_kind()
    create_job(accessor=Accessor(user))
    User.objects.update(is_active=False)

    assert "the user is inactive" in ended(run_next()).error


def test_a_job_of_a_revoked_key_fails(register_kind: RegisterKind, user: User) -> None:
    register_kind()
    key, _ = create_key(name="robot", owner=user, scopes=[Right.READ_LOG])
    create_job(accessor=Accessor(user, key))
    revoke_key(key_id=key.pk)

    assert "the API key was revoked" in ended(run_next()).error


def test_the_lease_is_renewed_while_a_step_takes_long(register_kind: RegisterKind) -> None:
    def renew(running: RunningJob) -> JSONObject:
        make_due()
        heartbeat.renew(running)
        assert Job.objects.get().due_at > timezone.now()
        changes.cancel(running.job)
        heartbeat.renew(running)
        assert running.is_stopping()
        running.require_running()
        raise AssertionError("it must not get here")

    register_kind(renew)
    create_job()

    assert ended(run_next()).status == "cancelled"


def test_the_backlog_is_measured(register_kind: RegisterKind) -> None:
    register_kind()
    create_job()
    create_job()
    assert taking.take_due() is not None

    backlog = taking.measure()

    assert backlog.pending == 2
    assert backlog.oldest_seconds >= 0
