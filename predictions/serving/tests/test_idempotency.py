"""A request that is repeated with its Idempotency-Key gets its first answer and adds no row."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import LazySettings
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


def predict(client: APIClient, version: ModelVersion, key: str = "k", row: Any = ROW) -> Any:
    body = {"model_id": version.pk, "input_data": row, "metadata": {"n": 1e300}}
    return client.post(URL, body, headers={"Idempotency-Key": key})


def predict_batch(client: APIClient, version: ModelVersion, key: str = "k", n: int = 3) -> Any:
    body = {"model_id": version.pk, "inputs": [ROW] * n}
    return client.post(BATCH, body, headers={"Idempotency-Key": key})


@pytest.mark.parametrize(("send", "n"), [(predict, 1), (predict_batch, 3)])
def test_a_retry_gets_the_same_answer_and_no_second_row(
    client: APIClient, iris: ModelVersion, send: Callable[..., Any], n: int
) -> None:
    first, second = send(client, iris), send(client, iris)

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.content == first.content
    assert Prediction.objects.count() == n


@pytest.mark.parametrize(
    ("send", "send_other"), [(predict, predict_batch), (predict_batch, predict)]
)
def test_a_key_that_another_request_used_is_422(
    client: APIClient, iris: ModelVersion, send: Callable[..., Any], send_other: Callable[..., Any]
) -> None:
    send(client, iris)

    response = send_other(client, iris)

    assert response.status_code == 422
    assert "was used for another request" in response.json()["detail"]


def test_another_body_is_422(client: APIClient, iris: ModelVersion) -> None:
    predict(client, iris)

    assert predict(client, iris, row={"features": [1, 2, 3, 4]}).status_code == 422
    assert Prediction.objects.count() == 1


def test_keys_belong_to_their_caller(
    client: APIClient, iris: ModelVersion, django_user_model: type[User]
) -> None:
    other_client = APIClient()
    grace = django_user_model.objects.create_user("grace")
    other_client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(grace)}")

    codes = [predict(sender, iris).status_code for sender in (client, other_client)]

    assert codes == [201, 201]


def test_an_expired_key_is_free_again(client: APIClient, iris: ModelVersion) -> None:
    first = predict(client, iris)
    IdempotencyKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    second = predict(client, iris, row={"features": [1, 2, 3, 4]})

    assert (first.status_code, second.status_code) == (201, 201)
    assert IdempotencyKey.objects.get().prediction_ids == [second.json()["id"]]


def test_a_failed_prediction_does_not_keep_its_key(
    client: APIClient, mixed: ModelVersion, mixed_artifact: Any
) -> None:
    unknown_city = {**mixed_artifact.row, "city": "Paris"}

    assert [predict(client, mixed, row=unknown_city).status_code for _ in range(2)] == [422, 422]
    assert not IdempotencyKey.objects.exists()
    assert Prediction.objects.count() == 2


def test_a_rejected_prediction_does_not_keep_its_key(client: APIClient, iris: ModelVersion) -> None:
    assert predict(client, iris, key="loads the model").status_code == 201
    ModelVersion.objects.update(is_active=False)

    assert [predict(client, iris).status_code, predict_batch(client, iris).status_code] == [
        404,
        404,
    ]
    assert not IdempotencyKey.objects.filter(key="k").exists()


def test_a_stored_answer_is_only_for_active_users(
    client: APIClient, iris: ModelVersion, user: User
) -> None:
    predict(client, iris)
    User.objects.filter(pk=user.pk).update(is_active=False)

    assert predict(client, iris).status_code == 401


def test_a_key_whose_predictions_were_deleted_is_404(client: APIClient, iris: ModelVersion) -> None:
    predict(client, iris)
    Prediction.objects.all().delete()

    response = predict(client, iris)

    assert response.status_code == 404
    assert "have been deleted" in response.json()["detail"]


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "tab\t"])
def test_an_invalid_key_is_400(client: APIClient, iris: ModelVersion, key: str) -> None:
    response = predict(client, iris, key)

    assert response.status_code == 400
    assert "1 to 255 printable ASCII" in response.json()["detail"]


def test_a_key_with_ndjson_is_400(client: APIClient, iris: ModelVersion) -> None:
    response = client.generic(
        "POST",
        f"{BATCH}?model_id={iris.pk}",
        "{}",
        content_type="application/x-ndjson",
        headers={"Idempotency-Key": "k"},
    )

    assert response.status_code == 400


def test_expired_keys_are_pruned(client: APIClient, iris: ModelVersion) -> None:
    predict(client, iris, key="old")
    IdempotencyKey.objects.update(expires_at=timezone.now())
    predict(client, iris, key="new")

    call_command("prune_predictions", "--before=2001-01-01", stdout=StringIO())

    assert IdempotencyKey.objects.get().key == "new"


# -- concurrent requests

N_THREADS = 20


@pytest.fixture
def run_in_threads(transactional_db: None, settings: LazySettings) -> Callable[..., list[Any]]:
    # As `serve` sets it for its threads: on a busy machine, loading the model may count as slow.
    settings.MAX_CONCURRENT_PER_MODEL = 2 * N_THREADS

    def run(call: Callable[[int], Any], n: int) -> list[Any]:
        def call_and_disconnect(i: int) -> Any:
            try:
                return call(i)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(N_THREADS) as threads:
            return list(threads.map(call_and_disconnect, range(n)))

    return run


def test_a_hundred_concurrent_retries_get_equal_answers_and_leave_one_row(
    iris: ModelVersion, client: APIClient, run_in_threads: Callable[..., list[Any]]
) -> None:
    responses = run_in_threads(lambda _: predict(client, iris), 100)

    assert sorted(response.status_code for response in responses) == [200] * 99 + [201]
    assert len({response.content for response in responses}) == 1
    assert Prediction.objects.count() == 1


def test_concurrent_requests_with_the_same_keys_in_any_order_do_not_deadlock(
    iris: ModelVersion, client: APIClient, run_in_threads: Callable[..., list[Any]]
) -> None:
    keys = [f"k{i % 10}" for i in range(100)]

    responses = run_in_threads(lambda i: predict(client, iris, keys[i * 7 % 100]), 100)

    assert {response.status_code for response in responses} == {200, 201}
    assert Prediction.objects.count() == 10
