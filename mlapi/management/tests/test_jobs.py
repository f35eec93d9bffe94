"""`manage.py jobs`."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from predictions.models import Job, JobError

pytestmark = pytest.mark.django_db


def jobs(*arguments: str) -> str:
    output = StringIO()
    call_command("jobs", *arguments, stdout=output)
    return output.getvalue()


@pytest.fixture
def job() -> Job:
    row = Job.objects.create(kind="counting", rows_done=1200, rows_expected=3000)
    JobError.objects.create(job=row, position=7, reference="r", message="has no age")
    return row


def test_jobs_are_listed_by_their_filters(job: Job) -> None:
    assert "counting" in jobs("list", "--kind", "counting", "--status", "queued")
    assert "1,200 of 3,000 rows" in jobs("list")
    assert jobs("list", "--status", "failed") == ""


def test_one_is_shown_with_its_errors(job: Job) -> None:
    shown = jobs("show", str(job.pk))

    assert "parameters  {}" in shown
    assert "row 7 r: has no age" in shown


def test_they_are_cancelled_and_started_again(job: Job) -> None:
    assert "cancelled" in jobs("cancel", str(job.pk))
    assert "queued" in jobs("retry", str(job.pk))
    with pytest.raises(CommandError, match="has not failed"):
        jobs("retry", str(job.pk))
    with pytest.raises(CommandError, match="Job 99999 not found"):
        jobs("cancel", "99999")


@pytest.mark.parametrize("limit", ["0", "-1", "x", "9" * 30])
def test_the_number_of_listed_jobs_has_bounds(limit: str) -> None:
    with pytest.raises(CommandError, match="must be a whole number from 1 to 100000"):
        jobs("list", "--limit", limit)
