"""API keys on views that authenticate with a query: what a key leaves of its owner's rights."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import RequestFactory
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from predictions.authentication import TokenAuthentication, api_keys
from registry.access.accessor import Accessor
from registry.access.keys import last_use
from registry.access.keys.last_use import LastUses
from registry.models import ApiKey, RegisteredModel, Right
from registry.testing.clients import MakeKey


def authenticated(value: str, scheme: str = "Bearer") -> Request:
    request = Request(
        RequestFactory().get("/", headers={"Authorization": f"{scheme} {value}"}),
        authenticators=[TokenAuthentication()],
    )
    assert request.user.is_authenticated
    return request


@pytest.fixture
def superuser(db: None) -> User:
    return User.objects.create_superuser("root")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_key_is_its_owner_but_never_a_superuser(
    superuser: User, make_key: MakeKey, scheme: str
) -> None:
    key, value = make_key(superuser, Right.MANAGE_VERSIONS)

    request = authenticated(value, scheme)

    assert (request.user, request.auth) == (superuser, key)
    assert not request.user.is_superuser
    assert not request.user.is_staff
    assert request.user.has_perms(["registry.add_modelversion", "registry.delete_modelversion"])
    for permission in ("registry.change_alias", "auth.change_user", "registry.add_apikey"):
        assert not request.user.has_perm(permission)
    accessor = Accessor.of(request)
    assert accessor.key == key
    assert accessor.user is not None
    assert accessor.user.is_superuser


def test_a_key_gives_nothing_that_its_owner_lacks(user: User, make_key: MakeKey) -> None:
    _, value = make_key(user)

    assert not authenticated(value).user.has_perm("registry.add_modelversion")


def test_a_key_for_some_models_has_no_permission_for_all(
    superuser: User, make_key: MakeKey
) -> None:
    _, value = make_key(superuser, models=[RegisteredModel.objects.create(name="iris")])

    assert not authenticated(value).user.has_perm("registry.change_modelversion")


@pytest.mark.parametrize("value", ["mlapi_", "mlapi_x_y", "mlapi_" + "a" * 12 + "_" + "b" * 43])
@pytest.mark.django_db
def test_a_wrong_key_is_refused_and_not_remembered(value: str) -> None:
    before = list(api_keys.REMEMBERED._rows)
    with pytest.raises(AuthenticationFailed, match="not valid"):
        authenticated(value)
    with pytest.raises(AuthenticationFailed, match="not valid"):
        api_keys.find_remembered(value)
    assert list(api_keys.REMEMBERED._rows) == before


def test_only_the_newest_keys_are_remembered(user: User, make_key: MakeKey) -> None:
    remembered = api_keys.RememberedKeys(2)
    keys = [make_key(user)[0] for _ in range(3)]

    for key in keys:
        remembered.add(key)

    assert [remembered.get(key.digest) for key in keys] == [None, *keys[1:]]


def test_keys_that_ended_are_forgotten_in_the_background(user: User, make_key: MakeKey) -> None:
    remembered = api_keys.RememberedKeys(9)
    keys = [make_key(user)[0] for _ in range(2)]
    for key in keys:
        remembered.add(key)

    ApiKey.objects.filter(pk=keys[0].pk).update(revoked_at=keys[0].created_at)
    remembered.read_again()

    assert [remembered.get(key.digest) for key in keys] == [None, keys[1]]


def test_the_last_use_is_written_once_a_minute(
    user: User, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = make_key(user)
    written: list[set[int]] = []
    uses = LastUses(lambda key_ids: written.append(set(key_ids)))
    monkeypatch.setattr(uses, "_start", lambda: None)
    # The thread closes its own connection; this one is the test's.
    monkeypatch.setattr(connection, "close", lambda: None)

    for key_id in (1, 1, 2, 1):
        uses.note(key_id)
    uses._run()
    uses.note(1)

    assert written == [{1, 2}]
    last_use._write([key.pk])
    key.refresh_from_db()
    assert key.last_used_at is not None
