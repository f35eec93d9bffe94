"""Registered models in the admin, and requests to move their aliases."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from registry.aliases import moves
from registry.models import Alias, AliasRequest, AuditEvent, Grant, ModelVersion, RegisteredModel
from registry.testing.aliases import change, post_rollback
from registry.testing.aliases import versions as versions
from registry.testing.clients import text_of

URL = "/admin/registry/registeredmodel/"
REQUESTS = "/admin/registry/aliasrequest/"


@pytest.fixture
def eve(db: None) -> User:
    return User.objects.create_user("eve")


@pytest.fixture
def wine(versions: list[ModelVersion]) -> Alias:
    """Its champion is version 1, with a canary and a shadow, and its moves need approval."""
    alias, _ = moves.set_alias(
        name="wine", alias="champion", version="1", canary=("2", 12.5), shadows=["3"]
    )
    RegisteredModel.objects.update(needs_approval=True)
    return alias


def form(model: RegisteredModel, *grants: dict[str, Any], **fields: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"name": model.name, "tags": "{}", **fields}
    existing = sum("id" in grant for grant in grants)
    data |= {"grants-TOTAL_FORMS": len(grants), "grants-INITIAL_FORMS": existing}
    for i, grant in enumerate(grants):
        values = {"registered_model": model.pk, **grant}
        data |= {f"grants-{i}-{name}": value for name, value in values.items()}
    return data


def test_the_pages_show_models_and_requests(admin_client: Client, wine: Alias, eve: User) -> None:
    model = RegisteredModel.objects.get()
    asked = ask(eve)

    assert "wine" in text_of(admin_client.get(URL))
    assert "Versions" in text_of(admin_client.get(f"{URL}{model.pk}/change/"))
    assert "wine@champion" in text_of(admin_client.get(REQUESTS))
    assert "Approve" in text_of(admin_client.get(f"{REQUESTS}{asked.pk}/change/"))


def test_changes_and_grants_are_audited(admin_client: Client, eve: User) -> None:
    model = RegisteredModel.objects.create(name="churn")
    url = f"{URL}{model.pk}/change/"

    given = admin_client.post(url, form(model, {"user": eve.pk, "predict": "on"}, is_private="on"))
    assert given.status_code == 302, given.context["errors"]
    grant = Grant.objects.get()
    admin_client.post(url, form(model, {"id": grant.pk, "user": eve.pk, "read_log": "on"}))
    admin_client.post(url, form(model, {"id": grant.pk, "user": eve.pk, "DELETE": "on"}))

    assert not Grant.objects.exists()
    changed = AuditEvent.objects.filter(action="model_changed").earliest("pk")
    assert changed.details["is_private"] is True
    events = AuditEvent.objects.filter(action="rights_changed").order_by("pk")
    assert [(event.details["before"], event.details["after"]) for event in events] == [
        ([], ["predict"]),
        (["predict"], ["read_log"]),
        (["read_log"], []),
    ]


def test_only_an_empty_model_is_deleted(admin_client: Client, wine: Alias) -> None:
    used, empty = RegisteredModel.objects.get(), RegisteredModel.objects.create(name="empty")

    admin_client.post(f"{URL}{used.pk}/delete/", {"post": "yes"})
    admin_client.post(f"{URL}{empty.pk}/delete/", {"post": "yes"})

    assert list(RegisteredModel.objects.all()) == [used]


def test_a_move_in_the_admin_asks_for_approval(admin_client: Client, wine: Alias) -> None:
    response = change(admin_client, wine, live_version="2", canary_version="", reason="better")

    asked = AliasRequest.objects.get()
    assert f"request {asked.pk} waits for somebody's approval" in text_of(response)
    assert asked.move == {"version": "2", "canary": None, "shadows": ["3"], "force": False}
    assert "waits for somebody else's approval" in text_of(post_rollback(admin_client, wine))
    assert Alias.objects.get().version.version == "1"


def ask(user: User) -> AliasRequest:
    return AliasRequest.objects.create(
        kind="set",
        name="wine",
        alias="champion",
        move={"version": "2"},
        based_on=1,
        requested_by=user,
    )


def test_a_request_is_approved_or_rejected_with_a_reason(
    admin_client: Client, wine: Alias, eve: User
) -> None:
    approved, rejected = ask(eve), ask(eve)
    url = f"{REQUESTS}{rejected.pk}/change/"

    without = admin_client.post(url, {"_reject": "1"}, follow=True)
    assert "A rejection needs a reason." in text_of(without)
    admin_client.post(url, {"_reject": "1", "decision_reason": "no"})
    admin_client.post(f"{REQUESTS}{approved.pk}/change/", {"_approve": "1"})

    rejected.refresh_from_db()
    approved.refresh_from_db()
    assert (rejected.status, rejected.decision_reason) == ("rejected", "no")
    assert (approved.status, approved.decided_by) == ("approved", User.objects.get(username="root"))
    assert Alias.objects.get().version.version == "2"


def test_ones_own_request_is_withdrawn_and_not_approved(admin_client: Client, wine: Alias) -> None:
    own = ask(User.objects.get(username="root"))
    url = f"{REQUESTS}{own.pk}/change/"

    refused = admin_client.post(url, {"_approve": "1"}, follow=True)
    assert "Somebody else must decide on your request." in text_of(refused)
    admin_client.post(url, {"_withdraw": "1"})

    own.refresh_from_db()
    assert own.status == "withdrawn"
    assert Alias.objects.get().version.version == "1"


def test_approval_ends_by_a_request(admin_client: Client, wine: Alias) -> None:
    model = RegisteredModel.objects.get()
    url = f"{URL}{model.pk}/change/"

    admin_client.post(url, form(model))
    admin_client.post(URL, {"action": "ask_to_end_approval", "_selected_action": [model.pk]})

    model.refresh_from_db()
    assert model.needs_approval
    assert AliasRequest.objects.get().kind == "end_approval"
