"""The admin pages of API keys."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from registry.access.keys import values
from registry.models import ApiKey, AuditEvent, RegisteredModel, Right
from registry.testing.clients import MakeKey, form_errors, text_of

LIST = "/admin/registry/apikey/"


def form(owner: User, **fields: Any) -> dict[str, Any]:
    return {"name": "nightly", "owner": owner.pk, "predict": "on", "all_models": "on", **fields}


def test_a_new_key_is_shown_once(admin_client: Client, user: User) -> None:
    response = admin_client.post(f"{LIST}add/", form(user, rate_limit=70))

    [value] = re.findall(r"mlapi_[a-z0-9]{12}_[A-Za-z0-9_-]{43}", text_of(response))
    assert "no-store" in response["Cache-Control"]
    row = ApiKey.objects.get()
    assert row.digest == values.digest_of(value)
    assert (row.owner, row.rights, row.rate_limit) == (user, [Right.PREDICT], 70)
    assert row.expires_at is not None
    for path in (LIST, f"{LIST}{row.pk}/change/"):
        page = text_of(admin_client.get(path))
        assert f"mlapi_{row.prefix}" in page
        assert value not in page
        assert row.digest not in page
    assert AuditEvent.objects.filter(action=AuditEvent.Action.KEY_CREATED).count() == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"predict": ""}, "__all__"),
        ({"all_models": ""}, "registered_models"),
        ({"name": ""}, "name"),
        ({"rate_limit": 0}, "rate_limit"),
        ({"expires_at_0": "2200-01-01", "expires_at_1": "00:00"}, "expires_at"),
    ],
)
def test_an_invalid_field_is_named(
    admin_client: Client, user: User, fields: dict[str, Any], field: str
) -> None:
    response = admin_client.post(f"{LIST}add/", form(user, **fields))

    assert field in form_errors(response)
    assert not ApiKey.objects.exists()


def test_a_change_is_in_the_audit_trail(
    admin_client: Client, user: User, make_key: MakeKey
) -> None:
    key, _ = make_key(user, Right.PREDICT)
    iris = RegisteredModel.objects.create(name="iris")
    data = form(user, all_models="", registered_models=[iris.pk], read_log="on")
    data.pop("owner")

    response = admin_client.post(f"{LIST}{key.pk}/change/", data)

    assert response.status_code == 302
    key.refresh_from_db()
    assert key.rights == [Right.PREDICT, Right.READ_LOG]
    event = AuditEvent.objects.get(action=AuditEvent.Action.KEY_CHANGED)
    assert event.details["models"] == ["iris"]


def test_selected_keys_are_rotated_and_revoked(
    admin_client: Client, user: User, make_key: MakeKey
) -> None:
    key, _ = make_key(user)
    selected = {"_selected_action": [key.pk]}

    page = text_of(admin_client.post(LIST, {"action": "rotate", **selected}))
    response = admin_client.post(LIST, {"action": "revoke", **selected}, follow=True)

    assert re.search(r"mlapi_[a-z0-9]{12}_[A-Za-z0-9_-]{43}", page)
    assert "1 key revoked" in text_of(response)
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert key.expires_at is not None
    assert key.expires_at < timezone.now() + timedelta(hours=25)


def test_keys_are_never_deleted(admin_client: Client, user: User, make_key: MakeKey) -> None:
    key, _ = make_key(user)

    assert admin_client.post(f"{LIST}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in text_of(admin_client.get(LIST))


def test_staff_get_no_key_of_a_superuser(user: User) -> None:
    root = User.objects.create_superuser("root")
    user.is_staff = True
    user.save()
    user.user_permissions.set(Permission.objects.filter(content_type__model="apikey"))
    browser = Client()
    browser.force_login(user)

    assert browser.post(f"{LIST}add/", form(root)).status_code == 403
    assert not ApiKey.objects.exists()
