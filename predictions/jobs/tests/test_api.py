"""The endpoints of jobs."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from predictions.jobs import changes
from predictions.jobs.kinds import JobKind
from predictions.jobs.worker import taking
from predictions.models import Job, JobError
from predictions.testing.jobs import create_job, run_next
from registry.access.accessor import Accessor
from registry.models import AuditEvent, Webhook, WebhookDelivery
from registry.testing.clients import api_client, permit

URL = "/api/v1/jobs/"
BODY = {"kind": "sum", "parameters": {"numbers": [1, 2]}}

pytestmark = pytest.mark.django_db

RegisterKind = Callable[..., JobKind]


@pytest.fixture(autouse=True)
def _kind(register_kind: RegisterKind) -> None:
    register_kind()


def test_a_job_is_accepted_with_its_address(client: APIClient, user: User) -> None:
    response = client.post(URL, BODY)

    assert response.status_code == 202
    job = Job.objects.get()
    assert response["Location"] == f"http://testserver{URL}{job.pk}/"
    assert response["Retry-After"] == "2"
    body = response.json()
    assert (body["status"], body["model"], body["created_by"]) == ("queued", "iris", "ada")
    assert (body["parameters"], body["result"]) == ({"numbers": [1, 2]}, None)
    event = AuditEvent.objects.get(action="job_created")
    assert (event.user, event.model, event.details) == (
        user,
        "iris",
        {"job_id": job.pk, "kind": "sum"},
    )


def test_its_result_can_be_read(client: APIClient) -> None:
    address = client.post(URL, BODY)["Location"]
    run_next()

    response = client.get(address)

    assert response.json()["status"] == "succeeded"
    assert response.json()["result"] == {"sum": 3}
    assert not response.has_header("Retry-After")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "kind"),
        ({"kind": "no such"}, "kind"),
        ({"kind": 5}, "kind"),
        ({"kind": "sum"}, "parameters.numbers"),
        ({"kind": "sum", "parameters": []}, "parameters"),
        ({"kind": "sum", "parameters": {"numbers": ["x"]}}, "parameters.numbers.0"),
        ({"kind": "sum", "parameters": {"numbers": [], "more": 1}}, "parameters.more"),
        ({**BODY, "more": 1}, "more"),
    ],
)
def test_invalid_requests_name_the_field(client: APIClient, body: Any, field: str) -> None:
    response = client.post(URL, body)

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]
    assert not Job.objects.exists()


def test_a_repeated_request_gets_the_first_job(client: APIClient) -> None:
    first = client.post(URL, BODY, headers={"Idempotency-Key": "a"})
    again = client.post(URL, BODY, headers={"Idempotency-Key": "a"})
    other = client.post(URL, {**BODY, "parameters": {"numbers": []}}, HTTP_IDEMPOTENCY_KEY="a")

    assert first.json()["id"] == again.json()["id"]
    assert (again.status_code, other.status_code) == (202, 422)
    assert Job.objects.count() == 1


def test_a_key_is_forgotten_after_its_hours(client: APIClient) -> None:
    first = client.post(URL, BODY, headers={"Idempotency-Key": "a"})
    Job.objects.update(created_at="2020-01-01T00:00:00Z")

    again = client.post(URL, BODY, headers={"Idempotency-Key": "a"})

    assert again.status_code == 202
    assert again.json()["id"] != first.json()["id"]


def test_an_invalid_key_is_refused(client: APIClient) -> None:
    assert client.post(URL, BODY, headers={"Idempotency-Key": "ä"}).status_code == 400


def test_a_user_has_a_bounded_number_of_unfinished_jobs(
    client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_UNFINISHED", 2)

    statuses = [client.post(URL, BODY).status_code for _ in range(3)]

    assert statuses == [202, 202, 409]


def test_the_list_is_filtered_and_paged_by_key(client: APIClient, user: User) -> None:
    jobs = [create_job(accessor=Accessor(user)) for _ in range(3)]
    run_next()

    page = client.get(URL, {"limit": 2})
    rest = client.get(page["Link"].split(";")[0].strip("<>"))

    assert [row["id"] for row in [*page.json(), *rest.json()]] == [j.pk for j in reversed(jobs)]
    assert "result" not in page.json()[0]
    done = client.get(URL, {"status": "succeeded", "kind": "sum", "model": "iris"})
    assert [row["id"] for row in done.json()] == [jobs[0].pk]
    assert client.get(URL, {"kind": "replay"}).json() == []
    assert client.get(URL, {"status": "no"}).status_code == 400
    assert client.get(URL, {"statu": "queued"}).status_code == 400


def test_a_list_takes_the_same_queries_for_any_number_of_jobs(
    client: APIClient, user: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(5):
        create_job(accessor=Accessor(user))
    client.get(URL)

    with django_assert_num_queries(4):  # the user, their permissions twice, and the jobs
        assert len(client.get(URL).json()) == 5


def test_jobs_of_others_are_hidden(client: APIClient, user: User) -> None:
    job = create_job(accessor=Accessor(User.objects.create_user("eve")))

    assert client.get(URL).json() == []
    assert client.get(f"{URL}{job.pk}/").status_code == 404
    assert client.get(f"{URL}{job.pk}/errors/").status_code == 404
    assert client.post(f"{URL}{job.pk}/cancel/").status_code == 404


def test_readers_of_the_model_see_a_job_without_its_parameters(user: User, iris: object) -> None:
    job = create_job(accessor=Accessor(User.objects.create_user("eve")))
    client = api_client(grant_reading(user))

    response = client.get(f"{URL}{job.pk}/")

    assert response.status_code == 200
    assert response.json()["parameters"] is None
    assert client.post(f"{URL}{job.pk}/cancel/").status_code == 403


def grant_reading(user: User) -> User:
    from registry.models import Grant, RegisteredModel

    model = RegisteredModel.objects.get(name="iris")
    Grant.objects.create(registered_model=model, user=user, read_log=True)
    return user


def test_those_who_may_read_every_log_see_all(user: User) -> None:
    job = create_job(accessor=Accessor(User.objects.create_user("eve")))
    client = api_client(permit(user, "view_prediction"))

    assert client.get(f"{URL}{job.pk}/").json()["parameters"] == {"numbers": [1, 2, 3]}


def test_a_queued_job_is_cancelled_at_once(client: APIClient) -> None:
    pk = client.post(URL, BODY).json()["id"]

    response = client.post(f"{URL}{pk}/cancel/")

    assert response.status_code == 200
    assert response.json()["status"] == "cancelled"
    assert run_next() is None
    assert client.post(f"{URL}{pk}/cancel/").status_code == 200
    assert AuditEvent.objects.filter(action="job_cancelled").count() == 1


def test_a_running_job_is_asked_to_end(client: APIClient) -> None:
    pk = client.post(URL, BODY).json()["id"]
    taking.take_due()

    response = client.post(f"{URL}{pk}/cancel/")

    assert response.json()["status"] == "running"
    assert response.json()["is_cancel_requested"] is True


def test_a_finished_job_cannot_be_cancelled(client: APIClient) -> None:
    pk = client.post(URL, BODY).json()["id"]
    run_next()

    response = client.post(f"{URL}{pk}/cancel/")

    assert response.status_code == 409
    assert response.json()["detail"] == f"Job {pk} has already succeeded"


def test_errors_by_row_are_paged_in_their_order(client: APIClient) -> None:
    pk = client.post(URL, BODY).json()["id"]
    JobError.objects.bulk_create(
        JobError(job_id=pk, position=i, message=f"row {i}") for i in (3, 1, 2)
    )

    page = client.get(f"{URL}{pk}/errors/", {"limit": 2})
    rest = client.get(page["Link"].split(";")[0].strip("<>"))

    assert [row["position"] for row in [*page.json(), *rest.json()]] == [1, 2, 3]
    assert rest.json()[0] == {"position": 3, "reference": "", "message": "row 3"}
    assert client.get(f"{URL}{pk}/errors/", {"cursor": "x"}).status_code == 400


def test_the_end_of_a_job_is_announced(client: APIClient, user: User) -> None:
    Webhook.objects.create(name="w", url="https://hooks.example.com/", events=["job.finished"])
    pk = client.post(URL, BODY).json()["id"]
    run_next()

    payload = WebhookDelivery.objects.get().payload

    assert payload["type"] == "job.finished"
    assert payload["data"] == {
        "model": "iris",
        "job_id": pk,
        "kind": "sum",
        "status": "succeeded",
        "error": "",
        "rows": 2,
        "row_errors": 0,
        "user_id": user.pk,
    }


def test_a_failed_job_can_be_started_again(user: User) -> None:
    job = create_job(accessor=Accessor(user))
    changes.cancel(job)

    again = changes.retry(job)

    assert (again.status, again.finished_at) == ("queued", None)
    finished = run_next()
    assert finished is not None
    assert finished.result == {"sum": 6}
    with pytest.raises(changes.JobNotRetriable):
        changes.retry(job)
