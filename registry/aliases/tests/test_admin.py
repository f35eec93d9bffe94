"""Aliases in the admin: moved with a reason, rolled back, and kept from who may not."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from registry.aliases import moves
from registry.models import Alias, AliasMove, Arms, ModelVersion
from registry.testing.artifacts import Artifact

URL = "/admin/registry/alias/"
MOVES = "/admin/registry/aliasmove/"
VERSIONS = "/admin/registry/modelversion/"
ADDED = {"model_name": "wine", "alias_name": "next", "live_version": "1", "reason": "new"}

MakeVersion = Callable[..., ModelVersion]


@pytest.fixture
def versions(make_version: MakeVersion, iris_artifact: Artifact) -> list[ModelVersion]:
    return [make_version("wine", iris_artifact, version=str(number)) for number in range(1, 8)]


@pytest.fixture
def alias(versions: list[ModelVersion]) -> Alias:
    """Version 1 with 2 as its canary and 3 as a shadow."""
    row, _ = moves.set_alias(
        name="wine", alias="champion", version="1", canary=("2", 12.5), shadows=["3"]
    )
    return row


def change(browser: Client, row: Alias, **fields: Any) -> Any:
    same = {"live_version": "1", "canary_version": "2", "percent": "12.5", "shadow_versions": ["3"]}
    return browser.post(f"{URL}{row.pk}/change/", {**same, **fields})


def errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200, response.status_code
    found: dict[str, list[str]] = response.context["adminform"].form.errors
    assert found
    return found


def text_of(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    return unescape(response.content.decode())


def signed_in(*codenames: str) -> Client:
    somebody = User.objects.create_user("somebody", is_staff=True)
    somebody.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    browser = Client()
    browser.force_login(somebody)
    return browser


def arms() -> Arms:
    return Alias.objects.get().arms


# -- pages


def test_the_list_shows_who_answers(admin_client: Client, alias: Alias) -> None:
    page = text_of(admin_client.get(URL))

    assert "wine@champion" in page
    assert "2</a> for 12.5 %" in page
    assert "name__exact=wine&alias__exact=champion" in page


@pytest.mark.parametrize("n", [1, 7])
def test_the_lists_cost_the_same_however_long(
    admin_client: Client, alias: Alias, django_assert_num_queries: Any, n: int
) -> None:
    for i in range(n):
        moves.set_alias(
            name="wine", alias=f"a{i}", version="1", canary=("2", 1.0), shadows=["3", "4"]
        )

    # Session, user, the page's count, its rows, their shadows, and the choices of the filter.
    with django_assert_num_queries(6):
        admin_client.get(URL)
    with django_assert_num_queries(5):
        admin_client.get(MOVES)


def test_an_alias_shows_its_versions_slider_and_history(admin_client: Client, alias: Alias) -> None:
    moves.set_alias(name="wine", alias="champion", version="4", cause=moves.Cause("<b>better</b>"))

    response = admin_client.get(f"{URL}{alias.pk}/change/")
    page = text_of(response)

    assert 'type="range"' in page
    assert 'name="percent" value="12.5"' in page
    assert 'name="_rollback"' in page
    assert "set to another version" in page
    assert b"<b>better</b>" not in response.content


def test_a_long_history_is_cut_and_leads_on(admin_client: Client, alias: Alias) -> None:
    for i in range(60):
        moves.set_alias(name="wine", alias="champion", version=str(4 + i % 2))

    page = text_of(admin_client.get(f"{URL}{alias.pk}/change/"))

    assert page.count("<td>set to another version</td>") == 50
    assert "And older ones" in page


def test_the_moves_are_listed_and_looked_at_alone(admin_client: Client, alias: Alias) -> None:
    move = AliasMove.objects.get()

    assert "- → 1" in text_of(admin_client.get(MOVES + "?name__exact=wine&alias__exact=champion"))
    assert admin_client.get(f"{MOVES}{move.pk}/change/").status_code == 200
    assert admin_client.post(f"{MOVES}{move.pk}/change/", {"reason": "x"}).status_code == 403
    assert admin_client.post(f"{MOVES}{move.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.get(f"{MOVES}add/").status_code == 403


def test_a_name_with_a_plus_links_to_its_moves(
    admin_client: Client, make_version: MakeVersion, iris_artifact: Artifact
) -> None:
    make_version("c++", iris_artifact)
    moves.set_alias(name="c++", alias="champion", version="1")

    page = text_of(admin_client.get(URL))
    link = re.search(r'href="([^"]+)">Moves<', page)

    assert link is not None
    assert "c++@champion" in text_of(admin_client.get(link[1]))


# -- moving


def test_an_alias_is_added(admin_client: Client, versions: list[ModelVersion]) -> None:
    assert admin_client.get(f"{URL}add/").status_code == 200

    assert admin_client.post(f"{URL}add/", ADDED).status_code == 302

    move = AliasMove.objects.get()
    assert Alias.objects.get().version == versions[0]
    assert move.user is not None
    assert (move.alias, move.reason, move.user.username) == ("next", "new", "root")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model_name": "../x"}, "model_name"),
        ({"model_name": ""}, "model_name"),
        ({"model_name": "a" * 101}, "model_name"),
        ({"alias_name": "a@b"}, "alias_name"),
        ({"alias_name": "champion"}, "alias_name"),
        ({"live_version": ""}, "live_version"),
        ({"live_version": "\0"}, "live_version"),
        ({"live_version": "99"}, "__all__"),
        ({"model_name": "beer"}, "__all__"),
        ({"reason": "a" * 501}, "reason"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_does_not_fit_is_shown_and_adds_nothing(
    admin_client: Client, alias: Alias, fields: dict[str, str], named: str
) -> None:
    response = admin_client.post(f"{URL}add/", {**ADDED, **fields})

    assert list(errors(response)) == [named]
    assert Alias.objects.get() == alias


def test_an_unchanged_form_moves_nothing(admin_client: Client, alias: Alias) -> None:
    assert change(admin_client, alias, reason="none").status_code == 302
    assert AliasMove.objects.count() == 1


def test_a_form_moves_version_canary_and_shadows(
    admin_client: Client, alias: Alias, versions: list[ModelVersion]
) -> None:
    change(admin_client, alias, percent="50", shadow_versions=["3", "4"], reason="more")
    assert arms() == Arms(versions[0], versions[1], 50.0, (versions[2], versions[3]))

    change(admin_client, alias, live_version="2", shadow_versions=["3"])
    assert arms() == Arms(versions[1], shadows=(versions[2],))

    change(admin_client, alias, live_version="2", canary_version="", percent="", shadow_versions=[])
    assert arms() == Arms(versions[1])
    assert list(AliasMove.objects.order_by("number").values_list("reason", flat=True)) == [
        "",
        "more",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"live_version": "99"}, "live_version"),
        ({"canary_version": "99"}, "canary_version"),
        ({"canary_version": "1"}, "__all__"),
        ({"percent": ""}, "percent"),
        ({"percent": "0"}, "percent"),
        ({"percent": "100.5"}, "percent"),
        ({"percent": "nan"}, "percent"),
        ({"percent": "much"}, "percent"),
        ({"shadow_versions": ["99"]}, "shadow_versions"),
        ({"shadow_versions": ["1"]}, "__all__"),
        ({"shadow_versions": list("234567")}, "shadow_versions"),
        ({"reason": "a" * 501}, "reason"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_does_not_fit_is_shown_and_moves_nothing(
    admin_client: Client, alias: Alias, fields: dict[str, Any], named: str
) -> None:
    assert list(errors(change(admin_client, alias, **fields))) == [named]
    assert AliasMove.objects.count() == 1


def test_a_version_that_could_not_answer_the_callers_needs_force(
    admin_client: Client, alias: Alias, make_version: MakeVersion, diabetes_artifact: Artifact
) -> None:
    make_version("wine", diabetes_artifact, version="other")

    response = change(admin_client, alias, live_version="other")

    assert "could not answer the callers" in str(errors(response))
    assert change(admin_client, alias, live_version="other", force="on").status_code == 302


def test_a_button_rolls_back(
    admin_client: Client, alias: Alias, versions: list[ModelVersion]
) -> None:
    moves.set_alias(name="wine", alias="champion", version="4")

    page = text_of(change_and_follow(admin_client, alias, reason="bad"))
    again = text_of(change_and_follow(admin_client, alias))

    assert "Rolled wine@champion back to version 1." in page
    assert "had no other version before this one" in again
    assert arms() == Arms(versions[0], shadows=(versions[2],))
    assert AliasMove.objects.latest("number").reason == "bad"


def change_and_follow(browser: Client, row: Alias, **fields: Any) -> Any:
    return browser.post(f"{URL}{row.pk}/change/", {"_rollback": "1", **fields}, follow=True)


@pytest.mark.parametrize("way", ["page", "action"])
def test_an_alias_is_removed_and_its_history_stays(
    admin_client: Client, alias: Alias, way: str
) -> None:
    if way == "page":
        admin_client.post(f"{URL}{alias.pk}/delete/", {"post": "yes"})
    else:
        chosen = {"action": "delete_selected", "_selected_action": [alias.pk], "post": "yes"}
        admin_client.post(URL, chosen)

    assert not Alias.objects.exists()
    assert [move.action for move in AliasMove.objects.order_by("number")] == ["set", "removed"]


# -- who may


def test_who_may_only_look_moves_nothing(alias: Alias) -> None:
    moves.set_alias(name="wine", alias="champion", version="4")
    browser = signed_in("view_alias")

    page = text_of(browser.get(f"{URL}{alias.pk}/change/"))

    assert "wine" in page
    assert 'name="live_version"' not in page
    assert 'name="_rollback"' not in page
    assert change(browser, alias, live_version="5").status_code == 403
    assert browser.post(f"{URL}{alias.pk}/change/", {"_rollback": "1"}).status_code == 403
    assert browser.post(f"{URL}{alias.pk}/delete/", {"post": "yes"}).status_code == 403
    assert browser.post(f"{URL}add/", ADDED).status_code == 403
    assert browser.get(MOVES).status_code == 403
    assert AliasMove.objects.count() == 2


def test_who_may_change_moves_and_rolls_back(alias: Alias, versions: list[ModelVersion]) -> None:
    browser = signed_in("view_alias", "change_alias")

    change(browser, alias, live_version="5")
    assert arms().version == versions[4]
    change_and_follow(browser, alias)

    assert arms().version == versions[0]


def test_a_post_without_a_csrf_token_is_refused(alias: Alias) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("root"))

    assert change(browser, alias, live_version="4").status_code == 403
    assert browser.post(f"{URL}{alias.pk}/change/", {"_rollback": "1"}).status_code == 403


# -- versions that aliases hold


def test_a_held_version_is_not_deactivated(admin_client: Client, alias: Alias) -> None:
    held, free = ModelVersion.objects.get(version="2"), ModelVersion.objects.get(version="7")
    chosen = {"action": "deactivate", "_selected_action": [held.pk, free.pk]}

    page = text_of(admin_client.post(VERSIONS, chosen, follow=True))

    assert "is held by wine@champion" in page
    assert "1 deactivated." in page
    assert list(ModelVersion.objects.filter(is_active=False)) == [free]
    notes = {"description": "x", "metrics": "null", "tags": "{}"}
    response = admin_client.post(f"{VERSIONS}{held.pk}/change/", notes)
    assert "is held by wine@champion" in str(errors(response))
    held.refresh_from_db()
    assert (held.is_active, held.description) == (True, "")


@pytest.mark.usefixtures("cached_proofs", "model_path")
def test_a_version_without_a_number_is_registered_and_deleted_with_its_champion(
    admin_client: Client, iris_artifact: Artifact
) -> None:
    form = {"name": "rose", "metrics": "null", "tags": "{}", "is_active": "on", "version": ""}

    admin_client.post(f"{VERSIONS}add/", {**form, "model_file": iris_artifact.upload()})
    version = ModelVersion.objects.get()
    assert (str(version), Alias.objects.get().version) == ("rose:1", version)

    page = admin_client.get(f"{VERSIONS}{version.pk}/delete/")
    assert "Are you sure" in text_of(page)
    admin_client.post(f"{VERSIONS}{version.pk}/delete/", {"post": "yes"})
    assert not ModelVersion.objects.exists()


def test_a_held_version_is_not_deleted(admin_client: Client, alias: Alias) -> None:
    held = ModelVersion.objects.get(version="2")

    page = text_of(admin_client.post(f"{VERSIONS}{held.pk}/delete/", {"post": "yes"}))

    assert "Cannot delete" in page
    assert ModelVersion.objects.filter(pk=held.pk).exists()
