"""Clients of the tests of the HTTP layer, which call it without a token first."""

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken


@pytest.fixture
def client() -> APIClient:
    """A client without a token, which returns a 500 for an exception instead of raising it."""
    return APIClient(raise_request_exception=False)


@pytest.fixture
def authorized(client: APIClient, user: User) -> APIClient:
    """The same client, with an access token of `user`."""
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    return client
