"""Log-ins and failed log-ins in the audit trail."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from mlapi.accounts import logins
from registry.models import AuditEvent
from registry.testing.clients import PASSWORD, api_client

TOKEN = "/api/v1/auth/token/"
LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def budget(monkeypatch: pytest.MonkeyPatch) -> logins.FailureBudget:
    budget = logins.FailureBudget(3)
    monkeypatch.setattr(logins, "budget", budget)
    return budget


def events() -> list[tuple[str, str | None, str, Any]]:
    rows = AuditEvent.objects.order_by("id")
    return list(rows.values_list("action", "user__username", "target", "details"))


def test_log_ins_are_recorded(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_staff=True)
    credentials = {"username": "ada", "password": PASSWORD}

    assert api_client().post(TOKEN, credentials).status_code == 200
    assert Client().post(LOGIN, credentials).status_code == 302

    assert events() == [
        ("logged_in", "ada", "token", {}),
        ("logged_in", "ada", "admin", {}),
    ]


def test_failed_log_ins_are_recorded_without_what_was_typed(user: User) -> None:
    for name in ("ada", "hunter2"):
        response = api_client().post(TOKEN, {"username": name, "password": "correct horse"})
        assert response.status_code == 401
    Client().post(LOGIN, {"username": "hunter2", "password": "ada"})

    known = {"is_known_user": True, "not_recorded_before": 0}
    unknown = {"is_known_user": False, "not_recorded_before": 0}
    assert events() == [
        ("login_failed", "ada", "token", known),
        ("login_failed", None, "token", unknown),
        ("login_failed", None, "admin", unknown),
    ]


def test_a_flood_of_failures_is_counted_but_not_recorded(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(8):
        api_client().post(TOKEN, {"username": f"nobody{n}", "password": "x"})
    monkeypatch.setattr(logins.budget, "_minute_began", float("-inf"))
    api_client().post(TOKEN, {"username": "nobody", "password": "x"})

    assert [details["not_recorded_before"] for *_, details in events()] == [0, 0, 0, 5]


def test_changes_of_users_are_recorded_by_id(admin_client: Client, user: User) -> None:
    post = {"action": "deactivate_users", "_selected_action": [user.pk]}
    admin_client.post("/admin/auth/user/", post)
    post = {"action": "anonymise_users", "_selected_action": [user.pk], "post": "yes"}
    admin_client.post("/admin/auth/user/", post)
    admin_client.post("/admin/auth/group/add/", {"name": "analysts"})

    found = [event for event in events() if event[0] == "user_changed"]
    group = Group.objects.get()
    assert [(target, details["did"]) for _, _, target, details in found] == [
        (f"user {user.pk}", "changed"),
        (f"user {user.pk}", "changed"),
        (f"group {group.pk}", "added"),
    ]
    assert {name for _, name, *_ in found} == {"root"}
    assert "ada" not in str(found)
