"""Bearer tokens on prediction requests: verified once, and rejected after they expire."""

import time
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import RequestFactory
from rest_framework.request import Request
from rest_framework_simplejwt.exceptions import InvalidToken
from rest_framework_simplejwt.tokens import AccessToken, Token

from predictions.authentication import CachedTokenAuthentication, classes


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    classes._verify_signature.cache_clear()


def validate(raw_token: str) -> Token:
    headers = {"Authorization": f"Bearer {raw_token}"}
    request = Request(RequestFactory().post("/", headers=headers))
    result = CachedTokenAuthentication().authenticate(request)
    assert result is not None
    verified: Token = result[1]
    return verified


def test_a_token_is_verified_once(user: User) -> None:
    token = str(AccessToken.for_user(user))

    assert validate(token)["user_id"] == validate(token)["user_id"] == str(user.pk)
    assert classes._verify_signature.cache_info().misses == 1


def test_a_cached_token_expires_on_time(user: User, settings: LazySettings) -> None:
    token = AccessToken.for_user(user)
    token.set_exp(lifetime=timedelta(seconds=2 - settings.TOKEN_LEEWAY_SECONDS))
    validate(str(token))

    time.sleep(max(0, token["exp"] + settings.TOKEN_LEEWAY_SECONDS - time.time() + 0.1))

    with pytest.raises(InvalidToken):
        validate(str(token))


def test_a_header_with_another_scheme_is_ignored_and_not_cached() -> None:
    request = Request(RequestFactory().post("/", headers={"Authorization": "Basic YWRhOmFkYQ=="}))

    assert CachedTokenAuthentication().authenticate(request) is None
    assert classes._verify_signature.cache_info().currsize == 0


def test_a_header_longer_than_any_token_is_not_cached(user: User) -> None:
    token = str(AccessToken.for_user(user))

    assert validate(" " * 5000 + token)["user_id"] == str(user.pk)
    assert classes._verify_signature.cache_info().currsize == 0


def test_a_forged_token_is_rejected_every_time(user: User) -> None:
    header, payload, signature = str(AccessToken.for_user(user)).split(".")
    forged = ".".join([header, payload, signature[::-1]])

    for _ in range(2):
        with pytest.raises(InvalidToken):
            validate(forged)
