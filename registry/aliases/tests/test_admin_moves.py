"""Adding, moving, rolling back and removing aliases in the admin."""

from typing import Any

import pytest
from django.test import Client

from registry.aliases import moves
from registry.models import Alias, AliasMove, Arms, ModelVersion
from registry.testing.aliases import ADD_FORM, URL, arms, change, post_rollback
from registry.testing.aliases import alias as alias
from registry.testing.aliases import versions as versions
from registry.testing.artifacts import Artifact
from registry.testing.clients import form_errors, text_of
from registry.testing.versions import MakeVersion


def test_an_alias_is_added(admin_client: Client, versions: list[ModelVersion]) -> None:
    assert admin_client.get(f"{URL}add/").status_code == 200

    assert admin_client.post(f"{URL}add/", ADD_FORM).status_code == 302

    move = AliasMove.objects.get()
    assert Alias.objects.get().version == versions[0]
    assert move.user is not None
    assert (move.alias, move.reason, move.user.username) == ("next", "new", "root")


@pytest.mark.parametrize(
    ("fields", "field"),
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
def test_an_invalid_field_is_shown_and_adds_nothing(
    admin_client: Client, alias: Alias, fields: dict[str, str], field: str
) -> None:
    response = admin_client.post(f"{URL}add/", {**ADD_FORM, **fields})

    assert list(form_errors(response)) == [field]
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
    ("fields", "field"),
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
def test_an_invalid_field_is_shown_and_moves_nothing(
    admin_client: Client, alias: Alias, fields: dict[str, Any], field: str
) -> None:
    assert list(form_errors(change(admin_client, alias, **fields))) == [field]
    assert AliasMove.objects.count() == 1


def test_an_incompatible_version_needs_force(
    admin_client: Client, alias: Alias, make_version: MakeVersion, diabetes_artifact: Artifact
) -> None:
    make_version("wine", diabetes_artifact, version="other")

    response = change(admin_client, alias, live_version="other")

    assert "cannot serve the callers" in str(form_errors(response))
    assert change(admin_client, alias, live_version="other", force="on").status_code == 302


def test_the_button_rolls_back(
    admin_client: Client, alias: Alias, versions: list[ModelVersion]
) -> None:
    moves.set_alias(name="wine", alias="champion", version="4")

    page = text_of(post_rollback(admin_client, alias, reason="bad"))
    again = text_of(post_rollback(admin_client, alias))

    assert "Rolled wine@champion back to version 1." in page
    assert "has no earlier version to go back to" in again
    assert arms() == Arms(versions[0], shadows=(versions[2],))
    assert AliasMove.objects.latest("number").reason == "bad"


@pytest.mark.parametrize("method", ["page", "action"])
def test_an_alias_is_removed_and_its_history_stays(
    admin_client: Client, alias: Alias, method: str
) -> None:
    if method == "page":
        admin_client.post(f"{URL}{alias.pk}/delete/", {"post": "yes"})
    else:
        selection = {"action": "delete_selected", "_selected_action": [alias.pk], "post": "yes"}
        admin_client.post(URL, selection)

    assert not Alias.objects.exists()
    assert [move.action for move in AliasMove.objects.order_by("number")] == ["set", "removed"]
