"""Users, the clients with which they send requests, and what the admin responds to them."""

from collections.abc import Sequence
from html import unescape
from typing import Any, Protocol

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from registry.access.background import Background
from registry.access.keys import changes
from registry.access.keys.last_use import LAST_USES
from registry.access.limits import LIMITER
from registry.access.policies import POLICIES
from registry.models import ApiKey, RegisteredModel, Right

PASSWORD = "correct horse battery staple"


@pytest.fixture
def user(db: None) -> User:
    """A user without any permission."""
    return User.objects.create_user("ada", password=PASSWORD)


@pytest.fixture
def manager(db: None) -> User:
    """A user with every permission of registry, who is not a superuser."""
    manager = User.objects.create_user("grace")
    manager.user_permissions.set(Permission.objects.filter(content_type__app_label="registry"))
    return manager


def permit(user: User, *codenames: str) -> User:
    """The user, read again, with these of Django's permissions as well."""
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return User.objects.get(pk=user.pk)


def api_client(user: User | None = None) -> APIClient:
    """A client with an access token of `user`, or without a token."""
    client = APIClient()
    if user is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    return client


def key_client(value: str) -> APIClient:
    """A client that sends an API key."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {value}")
    return client


@pytest.fixture
def client(user: User) -> APIClient:
    return api_client(user)


@pytest.fixture
def admin_api(manager: User) -> APIClient:
    """A client with the token of `manager`."""
    return api_client(manager)


@pytest.fixture
def admin_client(db: None) -> Client:
    """A browser with a superuser logged in to the admin site."""
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    return browser


class MakeKey(Protocol):
    def __call__(
        self,
        owner: User,
        *scopes: Right,
        models: Sequence[RegisteredModel] | None = None,
        **fields: Any,
    ) -> tuple[ApiKey, str]: ...


@pytest.fixture
def make_key(db: None) -> MakeKey:
    """Make an API key, of all scopes unless some are given; return it with its value."""

    def make(
        owner: User,
        *scopes: Right,
        models: Sequence[RegisteredModel] | None = None,
        **fields: Any,
    ) -> tuple[ApiKey, str]:
        return changes.create_key(
            name="machine", owner=owner, scopes=scopes or list(Right), models=models, **fields
        )

    return make


@pytest.fixture(autouse=True)
def no_background_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread use the database, which is the test's own, and nothing of another test last."""
    monkeypatch.setattr(LAST_USES, "note", lambda key_id: None)
    monkeypatch.setattr(Background, "poke", lambda background: None)
    monkeypatch.setattr(POLICIES, "_policies", {})
    LIMITER.forget()


def text_of(response: Any) -> str:
    """The text of an admin page, without its HTML escapes."""
    assert response.status_code == 200, response.status_code
    return unescape(response.content.decode())


def form_errors(response: Any) -> dict[str, list[str]]:
    """The errors of an admin form that was sent and rejected, by field."""
    assert response.status_code == 200, response.status_code
    errors: dict[str, list[str]] = response.context["adminform"].form.errors
    assert errors
    return errors
