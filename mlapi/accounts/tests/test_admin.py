"""Users that other records refer to can be deactivated or anonymised, but not deleted."""

from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from rest_framework.test import APIClient

from predictions.models import Outcome, Prediction, Replay
from registry.models import AliasMove, ModelVersion
from registry.testing.clients import PASSWORD, text_of

LIST = "/admin/auth/user/"


@pytest.fixture
def ada(user: User) -> User:
    """A user with every personal field filled in, who has logged in."""
    User.objects.filter(pk=user.pk).update(
        first_name="Ada", last_name="Lovelace", email="ada@example.com", is_staff=True
    )
    user.groups.add(Group.objects.create(name="analysts"))
    user.user_permissions.add(Permission.objects.all()[0])
    user.refresh_from_db()
    return user


@pytest.fixture
def predicted(ada: User) -> Prediction:
    """A prediction of `ada`."""
    version = ModelVersion.objects.create(name="m", version="1", framework="sklearn")
    return Prediction.objects.create(model=version, user=ada, input_data={}, prediction=1)


def run_action(browser: Client, name: str, *users: User, **data: str) -> Any:
    selected = [user.pk for user in users]
    return browser.post(LIST, {"action": name, "_selected_action": selected, **data}, follow=True)


def anonymise(browser: Client, *users: User) -> Any:
    return run_action(browser, "anonymise_users", *users, post="yes")


def test_deletion_of_a_user_with_predictions_says_what_to_do(
    admin_client: Client, ada: User, predicted: Prediction
) -> None:
    response = admin_client.get(f"{LIST}{ada.pk}/delete/")

    text = text_of(response)
    assert "Nothing was deleted" in text
    assert "ada: 1 prediction" in text
    assert "Deactivate" in text
    assert "Anonymise" in text
    assert "permission" not in text.partition("Nothing was deleted")[2]


def test_forced_deletion_of_a_user_with_predictions_deletes_nothing(
    admin_client: Client, ada: User, predicted: Prediction
) -> None:
    admin_client.post(f"{LIST}{ada.pk}/delete/", {"post": "yes"})
    response = run_action(admin_client, "delete_selected", ada, post="yes")

    assert "Nothing was deleted" in text_of(response)
    assert Prediction.objects.get().user == ada


def test_user_without_records_can_be_deleted(admin_client: Client, ada: User) -> None:
    admin_client.post(f"{LIST}{ada.pk}/delete/", {"post": "yes"})

    assert not User.objects.filter(pk=ada.pk).exists()


@pytest.mark.parametrize("kind", ["version", "move", "outcome", "replay"])
def test_every_record_that_names_a_user_prevents_the_deletion(
    admin_client: Client, ada: User, predicted: Prediction, kind: str
) -> None:
    Prediction.objects.update(user=None)
    version = predicted.model
    match kind:
        case "version":
            ModelVersion.objects.update(created_by=ada)
        case "move":
            AliasMove.objects.create(name="m", alias="a", number=1, action="set", user=ada)
        case "outcome":
            Outcome.objects.create(prediction=predicted, value=1, user=ada)
        case "replay":
            Replay.objects.create(from_version=version, to_version=version, created_by=ada)

    response = admin_client.post(f"{LIST}{ada.pk}/delete/", {"post": "yes"})

    assert "ada: 1 " in text_of(response)
    assert User.objects.filter(pk=ada.pk).exists()


def test_anonymising_asks_first(admin_client: Client, ada: User, predicted: Prediction) -> None:
    response = run_action(admin_client, "anonymise_users", ada)

    text = text_of(response)
    assert "This cannot be undone" in text
    assert "ada: 1 prediction" in text
    assert User.objects.filter(username="ada").exists()


def test_anonymising_removes_what_identifies_and_keeps_the_predictions(
    admin_client: Client, ada: User, predicted: Prediction
) -> None:
    AccessAttempt.objects.create(username="ada", ip_address="192.0.2.1", failures_since_start=1)
    admin_client.post(f"{LIST}{ada.pk}/change/", {"username": "ada"})
    LogEntry.objects.log_actions(
        ada.pk, User.objects.filter(pk=ada.pk), 2, change_message="Changed.", single_object=True
    )

    anonymise(admin_client, ada)

    user = User.objects.get(pk=ada.pk)
    assert user.username == f"anonymised-{ada.pk}"
    assert [user.first_name, user.last_name, user.email] == ["", "", ""]
    assert [user.is_active, user.is_staff, user.is_superuser] == [False, False, False]
    assert not user.has_usable_password()
    assert user.last_login is None
    assert not user.groups.exists()
    assert not user.user_permissions.exists()
    assert not AccessAttempt.objects.exists()
    assert Prediction.objects.get().user_id == ada.pk
    assert not LogEntry.objects.filter(object_repr="ada").exists()


def test_anonymising_is_recorded_in_the_admin_log(admin_client: Client, ada: User) -> None:
    anonymise(admin_client, ada)

    entry = LogEntry.objects.latest("pk")
    assert [entry.user.username, entry.object_id] == ["root", str(ada.pk)]
    assert [entry.object_repr, entry.get_change_message()] == [
        f"anonymised-{ada.pk}",
        "Anonymised.",
    ]


def test_anonymised_and_deactivated_users_lose_access_at_once(
    admin_client: Client, ada: User, client: APIClient
) -> None:
    browser = Client()
    browser.force_login(ada)
    anonymise(admin_client, ada)

    assert browser.get("/admin/").status_code == 302
    credentials = {"username": f"anonymised-{ada.pk}", "password": PASSWORD}
    assert client.post("/api/v1/auth/token/", credentials).status_code == 401


def test_the_new_name_never_collides(admin_client: Client, ada: User) -> None:
    User.objects.create_user(f"anonymised-{ada.pk}")

    anonymise(admin_client, ada)

    assert User.objects.get(pk=ada.pk).username.startswith(f"anonymised-{ada.pk}-")


def test_deactivation_keeps_the_name_and_is_logged(
    admin_client: Client, ada: User, predicted: Prediction
) -> None:
    run_action(admin_client, "deactivate_users", ada)

    ada.refresh_from_db()
    assert [ada.username, ada.is_active] == ["ada", False]
    assert LogEntry.objects.latest("pk").get_change_message() == "Deactivated."


@pytest.mark.parametrize("name", ["deactivate_users", "anonymise_users"])
def test_nobody_removes_the_own_account(admin_client: Client, ada: User, name: str) -> None:
    root = User.objects.get(username="root")

    response = run_action(admin_client, name, root, ada, post="yes")

    assert "your own account" in text_of(response)
    assert User.objects.filter(is_active=True).count() == 2


@pytest.mark.parametrize("name", ["deactivate_users", "anonymise_users"])
def test_only_a_superuser_removes_a_superuser(db: None, name: str) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__endswith="_user"))
    root = User.objects.create_superuser("root")
    browser = Client()
    browser.force_login(staff)

    response = run_action(browser, name, root, post="yes")

    assert "Only a superuser" in text_of(response)
    root.refresh_from_db()
    assert root.is_active


def test_anonymising_needs_the_right_to_delete(db: None, ada: User) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    codenames = ["view_user", "change_user"]
    staff.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    browser = Client()
    browser.force_login(staff)

    anonymise(browser, ada)

    assert User.objects.filter(username="ada").exists()
