from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from registry.testing.clients import PASSWORD

TOKEN = "/api/v1/auth/token/"
REFRESH = "/api/v1/auth/refresh/"
VERIFY = "/api/v1/auth/verify/"
ADMIN_LOGIN = "/admin/login/"
MODELS = "/api/v1/models/"


def login(client: APIClient, password: str = PASSWORD, **extra: Any) -> Any:
    return client.post(TOKEN, {"username": "ada", "password": password}, **extra)


def fail(client: APIClient, times: int, **extra: Any) -> None:
    for _ in range(times):
        login(client, "wrong", **extra)


def test_access_token_grants_access_to_the_api(client: APIClient, user: User) -> None:
    access = login(client).json()["access"]

    response = client.get(MODELS, HTTP_AUTHORIZATION=f"Bearer {access}")

    assert response.status_code == 200


def test_wrong_password_answers_401(client: APIClient, user: User) -> None:
    response = login(client, "wrong")

    assert response.status_code == 401
    assert response.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "ada"},
        {"username": "a" * 151, "password": "x"},
        {"username": "ada", "password": "x" * 4097},
        {"username": ["ada"], "password": "x"},
        ["ada"],
    ],
)
def test_malformed_credentials_answer_400(client: APIClient, body: Any) -> None:
    # This test has no database: malformed credentials must not be looked up.
    response = client.post(TOKEN, body)

    assert response.status_code == 400
    assert response.json()["errors"]


def test_refresh_returns_a_new_access_token(client: APIClient, user: User) -> None:
    response = client.post(REFRESH, {"refresh": str(RefreshToken.for_user(user))})

    assert AccessToken(response.json()["access"])["user_id"] == str(user.pk)


def test_refresh_of_a_deleted_user_answers_401(client: APIClient, user: User) -> None:
    token = str(RefreshToken.for_user(user))
    user.delete()

    assert client.post(REFRESH, {"refresh": token}).status_code == 401


def test_access_token_is_not_accepted_as_refresh_token(client: APIClient, user: User) -> None:
    token = str(AccessToken.for_user(user))

    assert client.post(REFRESH, {"refresh": token}).status_code == 401


def test_verify_accepts_a_token_of_this_service(client: APIClient, user: User) -> None:
    assert client.post(VERIFY, {"token": str(AccessToken.for_user(user))}).status_code == 200


@pytest.mark.parametrize("token", ["x", "a.b.c"])
def test_verify_rejects_other_tokens(client: APIClient, token: str) -> None:
    assert client.post(VERIFY, {"token": token}).status_code == 401


def test_expired_token_answers_401(client: APIClient, user: User, settings: Any) -> None:
    token = AccessToken.for_user(user)
    token.set_exp(lifetime=-timedelta(seconds=settings.TOKEN_LEEWAY_SECONDS + 1))

    assert client.get(MODELS, HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 401


def test_changing_the_password_revokes_tokens(authorized: APIClient, user: User) -> None:
    user.set_password("another")
    user.save()

    assert authorized.get(MODELS).status_code == 401


def test_repeated_failures_lock_out_at_the_token_endpoint(client: APIClient, user: User) -> None:
    fail(client, 5)

    response = login(client)

    assert response.status_code == 429
    assert response["Content-Type"] == "application/problem+json"
    assert response["Retry-After"] == "900"


def test_lock_out_is_shared_with_the_admin(client: APIClient, user: User) -> None:
    fail(client, 5)

    response = client.post(
        ADMIN_LOGIN, {"username": "ada", "password": PASSWORD}, format="multipart"
    )

    assert response.status_code == 429


def test_repeated_failures_lock_out_in_the_admin(client: APIClient, user: User) -> None:
    statuses = [
        client.post(
            ADMIN_LOGIN, {"username": "ada", "password": "wrong"}, format="multipart"
        ).status_code
        for _ in range(5)
    ]

    assert statuses == [200, 200, 200, 200, 429]
    assert login(client).status_code == 429


def test_successful_login_resets_failures(client: APIClient, user: User) -> None:
    fail(client, 4)
    assert login(client).status_code == 200
    fail(client, 4)

    assert login(client).status_code == 200


def test_other_addresses_are_not_locked_out(client: APIClient, user: User) -> None:
    fail(client, 5, REMOTE_ADDR="192.0.2.1")

    assert login(client, REMOTE_ADDR="192.0.2.2").status_code == 200


def test_lock_out_ends_after_the_cool_off_time(client: APIClient, user: User) -> None:
    fail(client, 5)
    for attempt in AccessAttempt.objects.all():
        attempt.attempt_time -= timedelta(minutes=15, seconds=1)
        attempt.save()

    assert login(client).status_code == 200


def test_attempts_during_lock_out_do_not_extend_it(client: APIClient, user: User) -> None:
    fail(client, 5)
    before = AccessAttempt.objects.get().attempt_time

    fail(client, 3)

    assert AccessAttempt.objects.get().attempt_time == before


def test_admin_login_works_over_plain_http_on_loopback(client: APIClient, db: None) -> None:
    User.objects.create_superuser("root", password=PASSWORD)

    response = client.post(
        f"{ADMIN_LOGIN}?next=/admin/",
        {"username": "root", "password": PASSWORD},
        format="multipart",
    )

    assert response.status_code == 302
    assert not response.cookies["sessionid"]["secure"]
    assert client.get("/admin/").status_code == 200
