"""What an API key sees of its user's jobs, and may cancel."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from predictions.jobs.kinds import JobKind
from predictions.testing.jobs import create_job
from registry.access.accessor import Accessor
from registry.models import ModelVersion, Right
from registry.testing.clients import MakeKey, key_client, permit

URL = "/api/v1/jobs/"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _kind(register_kind: Callable[..., JobKind]) -> None:
    register_kind()


def test_a_key_without_the_scope_of_a_kind_has_no_access(user: User, make_key: MakeKey) -> None:
    job = create_job(accessor=Accessor(permit(user, "view_prediction")))
    _, value = make_key(user, Right.PREDICT)
    client = key_client(value)

    assert client.get(URL).json() == []
    assert client.get(f"{URL}{job.pk}/").status_code == 404
    assert client.post(f"{URL}{job.pk}/cancel/").status_code == 404


def test_a_key_with_the_scope_sees_and_cancels_its_users_jobs(
    user: User, make_key: MakeKey
) -> None:
    job = create_job(accessor=Accessor(user))
    _, value = make_key(user, Right.READ_LOG)
    client = key_client(value)

    assert client.get(f"{URL}{job.pk}/").json()["parameters"] == {"numbers": [1, 2, 3]}
    assert client.post(f"{URL}{job.pk}/cancel/").json()["status"] == "cancelled"


def test_a_key_sees_the_jobs_that_it_has_created(
    user: User, make_key: MakeKey, iris: ModelVersion
) -> None:
    key, value = make_key(user, Right.PREDICT)
    job = create_job(accessor=Accessor(user, key))
    client = key_client(value)

    assert [row["id"] for row in client.get(URL).json()] == [job.pk]
    assert client.get(f"{URL}{job.pk}/").json()["parameters"] == {"numbers": [1, 2, 3]}
    assert client.post(f"{URL}{job.pk}/cancel/").json()["status"] == "cancelled"
