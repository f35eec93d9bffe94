"""What an API key sees of its user's jobs, and may cancel; jobs whose creator is locked out."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from predictions.jobs.kinds import JobKind
from predictions.jobs.running import RunningJob
from predictions.jobs.worker import heartbeat
from predictions.testing.jobs import create_job, run_next
from registry.access.accessor import Accessor
from registry.access.keys.changes import revoke_key
from registry.exact_json.values import JSONObject
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


@pytest.mark.parametrize("change", ["deactivate the user", "revoke the key"])
def test_a_running_job_ends_when_its_creator_is_locked_out(
    user: User, make_key: MakeKey, register_kind: Callable[..., JobKind], change: str
) -> None:
    key, _ = make_key(user, Right.READ_LOG)

    def lock_out(running: RunningJob) -> JSONObject:
        heartbeat.renew(running)
        assert not running.is_stopping()
        if change == "revoke the key":
            revoke_key(key_id=key.pk)
        else:
            User.objects.update(is_active=False)
        heartbeat.renew(running)
        assert running.is_stopping()
        running.require_running()
        raise AssertionError("it must not get here")

    register_kind(lock_out)
    create_job(accessor=Accessor(user, key))

    job = run_next()

    assert job is not None
    assert job.status == "failed"
    assert job.error.startswith("The creator of this job may not run it any more: the ")
