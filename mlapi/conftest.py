"""The clients of the HTTP tests."""

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken


@pytest.fixture
def client() -> APIClient:
    """A client without a token; unexpected exceptions become a 500, as in production."""
    return APIClient(raise_request_exception=False)


@pytest.fixture
def authorized(client: APIClient, user: User) -> APIClient:
    """The same client, with an access token of `user`."""
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    return client
