"""/api/v1/api-keys/: one's own keys, those of others, and what a key itself may not."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from rest_framework.test import APIClient

from registry.access.keys import changes
from registry.models import ApiKey, AuditEvent, RegisteredModel, Right
from registry.testing.clients import MakeKey, api_client, key_client

KEYS = "/api/v1/api-keys/"
REQUEST = {"name": "nightly", "scopes": ["predict"]}


@pytest.fixture
def key_manager(db: None) -> User:
    """A user with every permission on API keys."""
    user = User.objects.create_user("keeper")
    user.user_permissions.set(Permission.objects.filter(content_type__model="apikey"))
    return user


def test_a_key_is_shown_once(client: APIClient, user: User) -> None:
    response = client.post(KEYS, REQUEST)

    assert response.status_code == 201, response.json()
    body = response.json()
    assert response["Cache-Control"] == "no-store"
    row = ApiKey.objects.get()
    assert body["key"].startswith(f"mlapi_{row.prefix}_")
    assert (row.owner, row.created_by, row.rights) == (user, user, [Right.PREDICT])
    for path in (KEYS, f"{KEYS}{row.pk}/"):
        content = client.get(path).content
        assert body["key"].encode() not in content
        assert row.digest.encode() not in content
    assert key_client(body["key"]).get("/api/v1/models/").status_code != 401


def test_a_new_key_expires_within_the_setting(client: APIClient, settings: LazySettings) -> None:
    settings.API_KEY_MAX_DAYS = 30

    body = client.post(KEYS, REQUEST).json()
    refused = client.post(KEYS, {**REQUEST, "expires_in_days": 31})

    expires_at = datetime.fromisoformat(body["expires_at"])
    assert abs(expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=5)
    assert refused.status_code == 400
    assert "API_KEY_MAX_DAYS" in refused.json()["errors"]["expires_in_days"][0]


def test_a_key_need_not_expire_without_the_setting(
    client: APIClient, settings: LazySettings
) -> None:
    settings.API_KEY_MAX_DAYS = 0

    assert client.post(KEYS, REQUEST).json()["expires_at"] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 101),
        ("name", 7),
        ("scopes", []),
        ("scopes", ["everything"]),
        ("scopes", "predict"),
        ("models", []),
        ("models", ["no-such-model"]),
        ("models", ["hidden"]),
        ("models", ["a/b"]),
        ("expires_in_days", 0),
        ("expires_in_days", "x"),
        ("rate_limit", 0),
        ("rate_limit", 10**9),
        ("surprise", 1),
    ],
)
def test_an_invalid_field_is_named(client: APIClient, field: str, value: object) -> None:
    RegisteredModel.objects.create(name="hidden", is_private=True)

    response = client.post(KEYS, {**REQUEST, field: value})

    assert response.status_code == 400
    assert next(iter(response.json()["errors"])).startswith(field)
    assert not ApiKey.objects.exists()


def test_a_key_may_be_for_some_models(client: APIClient) -> None:
    RegisteredModel.objects.create(name="iris")
    RegisteredModel.objects.create(name="wine")

    body = client.post(KEYS, {**REQUEST, "models": ["iris"]}).json()

    assert body["models"] == ["iris"]
    assert client.post(KEYS, REQUEST).json()["models"] is None


def test_the_keys_of_others_do_not_exist(
    client: APIClient, key_manager: User, make_key: MakeKey
) -> None:
    key, _ = make_key(key_manager)

    assert client.get(KEYS).json() == []
    for response in (
        client.get(f"{KEYS}{key.pk}/"),
        client.post(f"{KEYS}{key.pk}/rotate/", {}),
        client.post(f"{KEYS}{key.pk}/revoke/"),
    ):
        assert response.status_code == 404
    assert client.get(f"{KEYS}{2**63}/").status_code == 404
    assert ApiKey.objects.valid().count() == 1


def test_with_permissions_the_keys_of_others_are_managed(user: User, key_manager: User) -> None:
    client = api_client(key_manager)

    made = client.post(KEYS, {**REQUEST, "owner": "ada"}).json()
    rotated = client.post(f"{KEYS}{made['id']}/rotate/", {"overlap_hours": 0})
    revoked = client.post(f"{KEYS}{rotated.json()['id']}/revoke/")

    assert made["owner"] == "ada"
    assert (rotated.status_code, revoked.status_code) == (201, 200)
    assert len(client.get(KEYS, {"owner": "ada"}).json()) == 2
    assert client.get(KEYS, {"owner": "ada", "valid_only": "true"}).json() == []


def test_without_permission_nobody_makes_keys_for_others(
    client: APIClient, key_manager: User
) -> None:
    assert client.post(KEYS, {**REQUEST, "owner": "keeper"}).status_code == 403
    assert client.post(KEYS, {**REQUEST, "owner": "nobody"}).status_code == 403


def test_only_superusers_get_keys_of_superusers(key_manager: User, make_key: MakeKey) -> None:
    root = User.objects.create_superuser("root")
    key, _ = make_key(root)
    client = api_client(key_manager)

    assert client.post(KEYS, {**REQUEST, "owner": "root"}).status_code == 403
    assert client.post(f"{KEYS}{key.pk}/rotate/", {}).status_code == 403
    # Taking rights away is another matter.
    assert client.post(f"{KEYS}{key.pk}/revoke/").status_code == 200


def test_a_key_manages_no_keys(user: User, make_key: MakeKey) -> None:
    user.is_superuser = True
    user.save()
    key, value = make_key(user)
    client = key_client(value)

    for response in (
        client.get(KEYS),
        client.post(KEYS, REQUEST),
        client.get(f"{KEYS}{key.pk}/"),
        client.post(f"{KEYS}{key.pk}/rotate/", {}),
        client.post(f"{KEYS}{key.pk}/revoke/"),
    ):
        assert response.status_code == 403
        assert "access token" in response.json()["detail"]
    assert ApiKey.objects.valid().count() == 1


def test_both_keys_are_valid_until_the_overlap_ends(
    client: APIClient, user: User, make_key: MakeKey
) -> None:
    RegisteredModel.objects.create(name="iris")
    [iris] = RegisteredModel.objects.all()
    old, old_value = make_key(user, Right.PREDICT, models=[iris], rate_limit=70)

    body = client.post(f"{KEYS}{old.pk}/rotate/", {"overlap_hours": 2}).json()

    assert (body["scopes"], body["models"], body["rate_limit"], body["replaces"]) == (
        ["predict"],
        ["iris"],
        70,
        old.pk,
    )
    for value in (old_value, body["key"]):
        assert key_client(value).get("/api/v1/models/").status_code != 401
    ApiKey.objects.filter(pk=old.pk).update(expires_at=timezone.now())
    assert key_client(old_value).get("/api/v1/models/").status_code == 401


def test_rotation_never_lengthens_the_old_key(
    client: APIClient, user: User, make_key: MakeKey
) -> None:
    soon = timezone.now() + timedelta(minutes=5)
    old, _ = make_key(user, expires_at=soon)

    client.post(f"{KEYS}{old.pk}/rotate/", {"overlap_hours": 24})

    old.refresh_from_db()
    assert old.expires_at == soon


def test_rotation_keeps_to_the_setting(
    client: APIClient, user: User, make_key: MakeKey, settings: LazySettings
) -> None:
    old, _ = make_key(user)
    assert old.expires_at is None
    settings.API_KEY_MAX_DAYS = 30

    body = client.post(f"{KEYS}{old.pk}/rotate/", {}).json()

    expires_at = datetime.fromisoformat(body["expires_at"])
    assert abs(expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=5)


@pytest.mark.parametrize("state", ["revoked", "expired", "rotated"])
def test_a_key_that_ended_is_not_rotated(
    client: APIClient, user: User, make_key: MakeKey, state: str
) -> None:
    key, _ = make_key(user)
    if state == "revoked":
        changes.revoke_key(key_id=key.pk)
    elif state == "expired":
        ApiKey.objects.update(expires_at=timezone.now())
    else:
        changes.rotate_key(key_id=key.pk, overlap_hours=1)
    before = ApiKey.objects.count()

    response = client.post(f"{KEYS}{key.pk}/rotate/", {})

    assert response.status_code == 409
    assert ApiKey.objects.count() == before


def test_revoking_twice_changes_nothing(client: APIClient, user: User, make_key: MakeKey) -> None:
    key, value = make_key(user)

    first = client.post(f"{KEYS}{key.pk}/revoke/").json()
    second = client.post(f"{KEYS}{key.pk}/revoke/").json()

    assert first["revoked_at"] == second["revoked_at"] is not None
    assert key_client(value).get("/api/v1/models/").status_code == 401
    revocations = AuditEvent.objects.filter(action=AuditEvent.Action.KEY_REVOKED)
    assert revocations.count() == 1


def test_the_audit_trail_names_keys_without_their_secrets(client: APIClient, user: User) -> None:
    body = client.post(KEYS, REQUEST).json()

    [event] = AuditEvent.objects.all()
    assert (event.action, event.user) == (AuditEvent.Action.KEY_CREATED, user)
    assert body["prefix"] in event.target
    assert event.details["scopes"] == ["predict"]
    secret = body["key"].removeprefix(body["prefix"])
    assert secret not in f"{event.target}{event.details}"


def test_a_user_has_a_limited_number_of_valid_keys(
    client: APIClient, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_VALID_KEYS", 2)
    made = [client.post(KEYS, REQUEST).json()["id"] for _ in range(2)]

    assert client.post(KEYS, REQUEST).status_code == 409
    client.post(f"{KEYS}{made[0]}/revoke/")
    assert client.post(KEYS, REQUEST).status_code == 201


def test_a_list_takes_as_many_queries_for_any_number_of_keys(
    client: APIClient, user: User, make_key: MakeKey, django_assert_num_queries: Any
) -> None:
    for name in "abc":
        make_key(user, models=[RegisteredModel.objects.create(name=name)])

    # The user, the permission (of user and groups), the page, and the models of its keys.
    with django_assert_num_queries(5):
        assert len(client.get(KEYS).json()) == 3
