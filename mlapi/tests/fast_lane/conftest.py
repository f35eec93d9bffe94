"""Models, tokens and a database connection for the tests of the fast lane."""

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from rest_framework_simplejwt.tokens import AccessToken

from mlapi.fast_lane import requests, responses
from registry.models import Alias, ModelVersion


@pytest.fixture(autouse=True)
def empty_caches() -> Iterator[None]:
    """A test that changes settings must not leave them in the fast lane's caches."""
    yield
    responses._common_headers.cache_clear()
    requests._is_allowed_host.cache_clear()


@pytest.fixture(autouse=True)
def open_connection() -> Iterator[None]:
    """Keep the test's connection, which holds its transaction, open between requests."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def token(user: User) -> str:
    return str(AccessToken.for_user(user))


@pytest.fixture
def authorization(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def models(
    iris: ModelVersion, diabetes: ModelVersion, make_version: Callable[..., ModelVersion]
) -> dict[str, int]:
    """Model ids by name: an active classifier and regressor, a version without an artifact, an
    inactive version, and an id that does not exist.
    """
    Alias.objects.create(name="iris", alias="champion", version=iris)
    empty = ModelVersion.objects.create(name="empty", version="1", framework="sklearn")
    retired = ModelVersion.objects.create(
        name="retired", version="1", framework="sklearn", is_active=False
    )
    return {
        "iris": iris.pk,
        "diabetes": diabetes.pk,
        "empty": empty.pk,
        "retired": retired.pk,
        "unknown": 987_654,
    }
