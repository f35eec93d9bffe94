"""Permissions in the admin, and versions that aliases use."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from registry.aliases import moves
from registry.models import Alias, AliasMove, ModelVersion
from registry.testing.aliases import (
    ADD_FORM,
    MOVES_URL,
    URL,
    VERSIONS_URL,
    arms,
    change,
    post_rollback,
)
from registry.testing.aliases import alias as alias
from registry.testing.aliases import versions as versions
from registry.testing.artifacts import Artifact
from registry.testing.clients import form_errors, text_of


def signed_in(*codenames: str) -> Client:
    user = User.objects.create_user("somebody", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    browser = Client()
    browser.force_login(user)
    return browser


def test_a_user_who_may_only_view_cannot_move(alias: Alias) -> None:
    moves.set_alias(name="wine", alias="champion", version="4")
    browser = signed_in("view_alias")

    page = text_of(browser.get(f"{URL}{alias.pk}/change/"))

    assert "wine" in page
    assert 'name="live_version"' not in page
    assert 'name="_rollback"' not in page
    assert change(browser, alias, live_version="5").status_code == 403
    assert browser.post(f"{URL}{alias.pk}/change/", {"_rollback": "1"}).status_code == 403
    assert browser.post(f"{URL}{alias.pk}/delete/", {"post": "yes"}).status_code == 403
    assert browser.post(f"{URL}add/", ADD_FORM).status_code == 403
    assert browser.get(MOVES_URL).status_code == 403
    assert AliasMove.objects.count() == 2


def test_a_user_who_may_change_can_move_and_roll_back(
    alias: Alias, versions: list[ModelVersion]
) -> None:
    browser = signed_in("view_alias", "change_alias")

    change(browser, alias, live_version="5")
    assert arms().version == versions[4]
    post_rollback(browser, alias)

    assert arms().version == versions[0]


def test_a_post_without_a_csrf_token_is_refused(alias: Alias) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("root"))

    assert change(browser, alias, live_version="4").status_code == 403
    assert browser.post(f"{URL}{alias.pk}/change/", {"_rollback": "1"}).status_code == 403


# -- versions that aliases use


def test_a_version_in_use_is_not_deactivated(admin_client: Client, alias: Alias) -> None:
    in_use, unused = ModelVersion.objects.get(version="2"), ModelVersion.objects.get(version="7")
    selection = {"action": "deactivate", "_selected_action": [in_use.pk, unused.pk]}

    page = text_of(admin_client.post(VERSIONS_URL, selection, follow=True))

    assert "is used by wine@champion" in page
    assert "1 version deactivated." in page
    assert list(ModelVersion.objects.filter(is_active=False)) == [unused]
    notes = {"description": "x", "metrics": "null", "tags": "{}"}
    response = admin_client.post(f"{VERSIONS_URL}{in_use.pk}/change/", notes)
    assert "is used by wine@champion" in str(form_errors(response))
    in_use.refresh_from_db()
    assert (in_use.is_active, in_use.description) == (True, "")


@pytest.mark.usefixtures("cached_proofs", "model_path")
def test_a_version_without_a_number_is_registered_and_deleted_with_its_champion(
    admin_client: Client, iris_artifact: Artifact
) -> None:
    form = {"name": "rose", "metrics": "null", "tags": "{}", "is_active": "on", "version": ""}

    admin_client.post(f"{VERSIONS_URL}add/", {**form, "model_file": iris_artifact.upload()})
    version = ModelVersion.objects.get()
    assert (str(version), Alias.objects.get().version) == ("rose:1", version)

    page = admin_client.get(f"{VERSIONS_URL}{version.pk}/delete/")
    assert "Are you sure" in text_of(page)
    admin_client.post(f"{VERSIONS_URL}{version.pk}/delete/", {"post": "yes"})
    assert not ModelVersion.objects.exists()


def test_a_version_in_use_is_not_deleted(admin_client: Client, alias: Alias) -> None:
    in_use = ModelVersion.objects.get(version="2")

    page = text_of(admin_client.post(f"{VERSIONS_URL}{in_use.pk}/delete/", {"post": "yes"}))

    assert "Cannot delete" in page
    assert ModelVersion.objects.filter(pk=in_use.pk).exists()
