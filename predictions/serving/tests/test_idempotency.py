"""A request that is sent again gets its first answer, and leaves no second row."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections
from django.utils import timezone
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from predictions.models import IdempotencyKey, Prediction
from registry.models import ModelVersion

URL = "/api/v1/predictions/"
BATCH = f"{URL}batch/"
ROW = {"features": [5.1, 3.5, 1.4, 0.2]}


def ask(client: APIClient, version: ModelVersion, key: str = "k", row: Any = ROW) -> Any:
    body = {"model_id": version.pk, "input_data": row, "metadata": {"n": 1e300}}
    return client.post(URL, body, headers={"Idempotency-Key": key})


def ask_many(client: APIClient, version: ModelVersion, key: str = "k", n: int = 3) -> Any:
    body = {"model_id": version.pk, "inputs": [ROW] * n}
    return client.post(BATCH, body, headers={"Idempotency-Key": key})


@pytest.mark.parametrize(("ask", "n"), [(ask, 1), (ask_many, 3)])
def test_a_retry_gets_the_same_answer_and_no_second_row(
    client: APIClient, iris: ModelVersion, ask: Callable[..., Any], n: int
) -> None:
    first, again = ask(client, iris), ask(client, iris)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.content == first.content
    assert Prediction.objects.count() == n


@pytest.mark.parametrize(("ask", "other"), [(ask, ask_many), (ask_many, ask)])
def test_a_key_of_another_request_is_422(
    client: APIClient, iris: ModelVersion, ask: Callable[..., Any], other: Callable[..., Any]
) -> None:
    ask(client, iris)

    response = other(client, iris)

    assert response.status_code == 422
    assert "was used for another request" in response.json()["detail"]


def test_another_body_is_422(client: APIClient, iris: ModelVersion) -> None:
    ask(client, iris)

    assert ask(client, iris, row={"features": [1, 2, 3, 4]}).status_code == 422
    assert Prediction.objects.count() == 1


def test_keys_belong_to_their_caller(
    client: APIClient, iris: ModelVersion, django_user_model: type[User]
) -> None:
    other = APIClient()
    grace = django_user_model.objects.create_user("grace")
    other.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(grace)}")

    assert [ask(one, iris).status_code for one in (client, other)] == [201, 201]


def test_an_expired_key_is_free_again(client: APIClient, iris: ModelVersion) -> None:
    first = ask(client, iris)
    IdempotencyKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    again = ask(client, iris, row={"features": [1, 2, 3, 4]})

    assert (first.status_code, again.status_code) == (201, 201)
    assert IdempotencyKey.objects.get().prediction_ids == [again.json()["id"]]


def test_a_failed_prediction_keeps_no_key(
    client: APIClient, mixed: ModelVersion, mixed_artifact: Any
) -> None:
    unknown = {**mixed_artifact.row, "city": "Paris"}

    assert [ask(client, mixed, row=unknown).status_code for _ in range(2)] == [422, 422]
    assert not IdempotencyKey.objects.exists()
    assert Prediction.objects.count() == 2


def test_a_refused_prediction_keeps_no_key(client: APIClient, iris: ModelVersion) -> None:
    assert ask(client, iris, key="loads the model").status_code == 201
    ModelVersion.objects.update(is_active=False)

    assert [ask(client, iris).status_code, ask_many(client, iris).status_code] == [404, 404]
    assert not IdempotencyKey.objects.filter(key="k").exists()


def test_a_stored_answer_is_for_active_users_alone(
    client: APIClient, iris: ModelVersion, user: User
) -> None:
    ask(client, iris)
    User.objects.filter(pk=user.pk).update(is_active=False)

    assert ask(client, iris).status_code == 401


def test_an_answer_that_was_deleted_is_said(client: APIClient, iris: ModelVersion) -> None:
    ask(client, iris)
    Prediction.objects.all().delete()

    response = ask(client, iris)

    assert response.status_code == 404
    assert "have been deleted" in response.json()["detail"]


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "tab\t"])
def test_what_is_no_key_is_400(client: APIClient, iris: ModelVersion, key: str) -> None:
    response = ask(client, iris, key)

    assert response.status_code == 400
    assert "1 to 255 printable ASCII" in response.json()["detail"]


def test_ndjson_takes_no_key(client: APIClient, iris: ModelVersion) -> None:
    response = client.generic(
        "POST",
        f"{BATCH}?model_id={iris.pk}",
        "{}",
        content_type="application/x-ndjson",
        headers={"Idempotency-Key": "k"},
    )

    assert response.status_code == 400


def test_expired_keys_are_pruned(client: APIClient, iris: ModelVersion) -> None:
    ask(client, iris, key="old")
    IdempotencyKey.objects.update(expires_at=timezone.now())
    ask(client, iris, key="new")

    call_command("prune_predictions", "--before=2001-01-01", stdout=StringIO())

    assert IdempotencyKey.objects.get().key == "new"


# -- at once


@pytest.fixture
def in_threads(transactional_db: None) -> Callable[..., list[Any]]:
    def run(call: Callable[[int], Any], n: int, n_threads: int = 20) -> list[Any]:
        def once(i: int) -> Any:
            try:
                return call(i)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(n_threads) as threads:
            return list(threads.map(once, range(n)))

    return run


def test_a_hundred_retries_at_once_are_one_row_and_equal_answers(
    iris: ModelVersion, client: APIClient, in_threads: Callable[..., list[Any]]
) -> None:
    answers = in_threads(lambda _: ask(client, iris), 100)

    assert sorted(answer.status_code for answer in answers) == [200] * 99 + [201]
    assert len({answer.content for answer in answers}) == 1
    assert Prediction.objects.count() == 1


def test_batches_with_the_same_keys_in_any_order_do_not_deadlock(
    iris: ModelVersion, client: APIClient, in_threads: Callable[..., list[Any]]
) -> None:
    keys = [f"k{i % 10}" for i in range(100)]

    answers = in_threads(lambda i: ask(client, iris, keys[i * 7 % 100]), 100)

    assert {answer.status_code for answer in answers} == {200, 201}
    assert Prediction.objects.count() == 10
