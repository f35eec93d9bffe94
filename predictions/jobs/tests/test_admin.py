"""Jobs in the admin."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from predictions.jobs import changes
from predictions.jobs.kinds import JobKind
from predictions.models import Job, JobError
from predictions.testing.jobs import create_job, run_next
from registry.testing.clients import permit

URL = "/admin/predictions/job/"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _kind(register_kind: Callable[..., JobKind]) -> None:
    register_kind()


def test_the_list_shows_how_far_jobs_are(admin_client: Client) -> None:
    job = create_job()
    Job.objects.filter(pk=job.pk).update(rows_done=1, rows_expected=4)

    page = admin_client.get(URL).content.decode()

    assert '<progress class="job-progress" max="4" value="1"></progress> 1 of 4 rows' in page
    assert "style=" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    assert admin_client.get(URL, {"kind": "sum"}).content.decode().count("job-progress") == 1
    assert "job-progress" not in admin_client.get(URL, {"kind": "replay"}).content.decode()


def test_a_page_shows_errors_parameters_and_result(admin_client: Client) -> None:
    job = create_job()
    JobError.objects.create(job=job, position=7, reference="<b>", message="has no age")
    Job.objects.filter(pk=job.pk).update(error_count=1)
    run_next()

    page = admin_client.get(f"{URL}{job.pk}/change/").content.decode()

    assert "<td>7</td><td>&lt;b&gt;</td><td>has no age</td>" in page
    assert "&quot;sum&quot;: 6" in page
    assert "&quot;numbers&quot;" in page


def test_jobs_are_cancelled_and_started_again(admin_client: Client) -> None:
    job = create_job()
    form = {"action": "cancel_jobs", "_selected_action": [job.pk]}

    page = admin_client.post(URL, form, follow=True)

    assert Job.objects.get().status == "cancelled"
    assert "1 jobs were cancelled" in page.content.decode()
    admin_client.post(URL, {**form, "action": "retry_jobs"})
    assert Job.objects.get().status == "queued"
    run_next()
    page = admin_client.post(URL, form, follow=True)
    assert f"Job {job.pk} has already succeeded" in page.content.decode()


def test_viewers_cannot_change_jobs_or_read_their_parameters(user: User) -> None:
    job = create_job()
    permit(user, "view_job")
    User.objects.update(is_staff=True)
    browser = Client()
    browser.force_login(user)

    browser.post(URL, {"action": "cancel_jobs", "_selected_action": [job.pk]})
    page = browser.get(f"{URL}{job.pk}/change/")

    assert page.status_code == 200
    assert "&quot;numbers&quot;" not in page.content.decode()
    assert Job.objects.get().status == "queued"
    with pytest.raises(changes.JobNotRetriable):
        changes.retry(job)
