"""Signed tokens with odd claims, schemes in any case, and clocks that differ."""

import json
import time
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token

from mlapi import wsgi
from mlapi.tests.fast_lane.requests import ROW, ClientRequest, as_json
from registry.models import ModelVersion
from registry.testing.clients import permit

REFRESH, VERIFY = "/api/v1/auth/refresh/", "/api/v1/auth/verify/"
DELETED = "(left out)"
ODD_VALUES: dict[str, list[Any]] = {
    "exp": ["soon", "9999999999", [], {}, None, True, 1e300, 10**400, -1, DELETED],
    "iat": ["now", [], 1e300, True],
    "nbf": ["now", {}, 10**30],
    "user_id": [
        [1],
        {"id": 1},
        None,
        True,
        1.0,
        "",
        "ada",
        "1 ",
        "-1",
        0,
        -1,
        "\0",
        "1\0",
        "\u0661",
        2**63,
        10**400,
        "9" * 30,
        "9" * 5000,
        DELETED,
    ],
    "hash_password": [[], None, 7, "\0", "é", "x" * 50, DELETED],
    "token_type": ["refreshed", [], {}, None, 7, DELETED],
    "jti": [7, [], None, DELETED],
    "sub": [7, []],
}
ODD_CLAIMS = [{name: value} for name, values in ODD_VALUES.items() for value in values]


def sign(payload: object, **headers: object) -> str:
    return jwt.encode(
        payload,  # type: ignore[arg-type]
        str(api_settings.SIGNING_KEY),
        algorithm=str(api_settings.ALGORITHM),
        headers=headers,
    )


def with_claims(token: Token, claims: dict[str, object]) -> str:
    payload = {**token.payload, **claims}
    return sign({name: value for name, value in payload.items() if value != DELETED})


def status_of(path: str, document: object, method: str = "POST", **headers: str) -> int:
    [body] = as_json(document)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = ClientRequest(body, path, named, method=method)
    started: list[str] = []
    b"".join(wsgi.application(request.environ(), lambda status, _: started.append(status)))
    return int(started[0][:3])


def statuses(authorization: str) -> set[int]:
    """The statuses of routes that verify tokens with a query, without one, and on the fast lane."""
    predict = {"model": "iris:1", "input_data": ROW}
    batch = {"model": "iris:1", "inputs": [ROW]}
    return {
        status_of("/api/v1/predictions/", predict, Authorization=authorization),
        status_of(
            "/api/v1/predictions/", predict, Authorization=authorization, Idempotency_Key="k"
        ),
        status_of("/api/v1/predictions/batch/", batch, Authorization=authorization),
        status_of("/v2", {}, "GET", Authorization=authorization),
        status_of("/metrics", {}, "GET", Authorization=authorization),
    }


@pytest.mark.parametrize("claims", ODD_CLAIMS, ids=lambda claims: str(claims)[:40])
def test_odd_claims_of_signed_tokens_answer_401(
    iris: ModelVersion, user: User, claims: dict[str, object]
) -> None:
    access = with_claims(AccessToken.for_user(user), claims)
    refresh = with_claims(RefreshToken.for_user(user), claims)

    assert statuses(f"Bearer {access}") == {401}
    # Other passwords are noticed when the access token is used, other types only where one is due.
    refused = {400, 401} | ({200} if claims.keys() & {"hash_password"} else set())
    assert status_of(REFRESH, {"refresh": refresh}) in refused
    assert status_of(VERIFY, {"token": access}) in refused | (
        {200} if "token_type" in claims else set()
    )


@pytest.mark.parametrize("payload", [[], "text", 7, None, {}])
def test_a_signed_token_without_claims_answers_401(iris: ModelVersion, payload: object) -> None:
    token = jwt.api_jws.encode(
        json.dumps(payload).encode(),
        str(api_settings.SIGNING_KEY),
        algorithm=str(api_settings.ALGORITHM),
    )

    assert statuses(f"Bearer {token}") == {401}
    assert status_of(REFRESH, {"refresh": token}) == 401
    assert status_of(VERIFY, {"token": token}) == 401


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("part", [0, 1])
def test_a_deeply_nested_token_answers_401(
    iris: ModelVersion, user: User, opening: bytes, part: int
) -> None:
    parts = str(AccessToken.for_user(user)).split(".")
    parts[part] = jwt.utils.base64url_encode(opening * (6000 // len(opening))).decode()
    if part == 1:
        key = api_settings.SIGNING_KEY
        nested = opening * (4000 // len(opening))
        token = jwt.api_jws.encode(nested, str(key), algorithm=str(api_settings.ALGORITHM))
    else:
        token = ".".join(parts)

    assert statuses(f"Bearer {token}") == {401}
    assert status_of(REFRESH, {"refresh": token}) in (400, 401)
    assert status_of(VERIFY, {"token": token}) in (400, 401)


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_compared_without_regard_to_case(
    iris: ModelVersion, user: User, scheme: str
) -> None:
    reader = permit(user, "view_prediction")  # for the metrics

    assert statuses(f"{scheme} {AccessToken.for_user(reader)}") == {200, 201}


@pytest.mark.parametrize(("ahead_seconds", "is_accepted"), [(2, True), (9, True), (60, False)])
def test_clocks_may_differ_by_the_leeway(
    iris: ModelVersion, user: User, ahead_seconds: int, is_accepted: bool
) -> None:
    """A token from a replica whose clock is ahead, and one that has just expired."""
    accepted = {200, 201} if is_accepted else {401}
    future = int(time.time()) + ahead_seconds
    reader = permit(user, "view_prediction")  # for the metrics
    issued = with_claims(AccessToken.for_user(reader), {"iat": future, "nbf": future})
    expired = AccessToken.for_user(reader)
    expired.set_exp(lifetime=-timedelta(seconds=ahead_seconds - 1))

    assert statuses(f"Bearer {issued}") == accepted
    assert statuses(f"Bearer {expired}") == accepted


def test_the_leeway_is_a_setting(settings: LazySettings) -> None:
    assert api_settings.LEEWAY == settings.TOKEN_LEEWAY_SECONDS == 10
