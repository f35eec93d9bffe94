"""Clients and users of the tests of the HTTP layer."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.core.signals import got_request_exception
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

PASSWORD = "correct horse battery staple"


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ada", password=PASSWORD)


@pytest.fixture
def client() -> Iterator[APIClient]:
    """A client without a token, that answers 500 where Django's would raise."""
    client = APIClient(raise_request_exception=False)
    yield client
    got_request_exception.disconnect(dispatch_uid="request-exception")


@pytest.fixture
def authorized(client: APIClient, user: User) -> APIClient:
    """The same client, with the access token of `user`."""
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    return client
