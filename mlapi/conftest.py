"""Clients and users of the tests of the HTTP layer."""

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

PASSWORD = "correct horse battery staple"


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ada", password=PASSWORD)


@pytest.fixture
def client() -> APIClient:
    """A client without a token, that answers 500 where Django's would raise."""
    return APIClient(raise_request_exception=False)


@pytest.fixture
def authorized(client: APIClient, user: User) -> APIClient:
    """The same client, with the access token of `user`."""
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    return client
