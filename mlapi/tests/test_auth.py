from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from registry.testing.clients import PASSWORD

TOKEN = "/api/v1/auth/token/"
REFRESH = "/api/v1/auth/refresh/"
VERIFY = "/api/v1/auth/verify/"
ADMIN_LOGIN = "/admin/login/"
MODELS = "/api/v1/models/"
FORM = "application/x-www-form-urlencoded"


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


def test_the_response_names_tokens_as_oauth_does(
    client: APIClient, user: User, settings: Any
) -> None:
    body = login(client).json()
    refreshed = client.post(REFRESH, {"refresh": body["refresh"]})

    assert body["access_token"] == body["access"]
    assert body["refresh_token"] == body["refresh"]
    for named in (body, refreshed.json()):
        assert named["token_type"] == "Bearer"
        payload = AccessToken(named["access_token"]).payload
        assert named["expires_in"] == payload["exp"] - payload["iat"]
    assert refreshed["Cache-Control"] == "no-store"


def send_form(client: APIClient, form: str, **extra: Any) -> Any:
    return client.post(TOKEN, form, content_type=FORM, **extra)


def test_the_password_form_of_oauth_returns_tokens(client: APIClient, user: User) -> None:
    form = urlencode({"grant_type": "password", "username": "ada", "password": PASSWORD})

    response = send_form(client, f"{form}&scope=&client_id=cli")

    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    authorization = f"{response.json()['token_type']} {response.json()['access_token']}"
    assert client.get(MODELS, HTTP_AUTHORIZATION=authorization).status_code == 200


@pytest.mark.parametrize(
    ("form", "error", "named"),
    [
        ("", "invalid_request", "grant_type"),
        ("grant_type=&username=ada&password=x", "invalid_request", "grant_type"),
        ("grant_type=refresh_token&refresh_token=x", "unsupported_grant_type", "grant_type"),
        ("grant_type=password&username=ada", "invalid_request", "password"),
        ("grant_type=password&password=x", "invalid_request", "username"),
        ("grant_type=password&username=ada&username=bo&password=x", "invalid_request", "username"),
        (f"grant_type=password&username={'a' * 151}&password=x", "invalid_request", "username"),
        ("grant_type=password&username=%00&password=x", "invalid_request", "username"),
    ],
)
def test_an_invalid_form_has_an_error_of_oauth(
    client: APIClient, form: str, error: str, named: str
) -> None:
    response = send_form(client, form)

    assert response.status_code == 400
    assert response["Content-Type"] == "application/json"
    assert response.json()["error"] == error
    assert named in response.json()["error_description"]


def test_a_wrong_password_in_the_form_is_an_invalid_grant(client: APIClient, user: User) -> None:
    response = send_form(client, "grant_type=password&username=ada&password=wrong")

    assert response.status_code == 400
    assert response.json()["error"] == "invalid_grant"


def test_failures_of_the_form_lock_out_as_well(client: APIClient, user: User) -> None:
    for _ in range(5):
        send_form(client, "grant_type=password&username=ada&password=wrong")

    assert login(client).status_code == 429


def test_a_form_that_is_not_utf8_answers_400(client: APIClient) -> None:
    response = Client().post(TOKEN, b"\xff", content_type=FORM)

    assert response.status_code == 400


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
