"""Moves that somebody else must approve."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from registry.access.keys.changes import create_key
from registry.aliases import moves
from registry.aliases.recording import ApprovalRequired, Attribution
from registry.models import (
    Alias,
    AliasMove,
    AliasRequest,
    AuditEvent,
    ModelVersion,
    RegisteredModel,
    Right,
)
from registry.testing.aliases import put
from registry.testing.aliases import versions as versions
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client, key_client, permit
from registry.testing.versions import MakeVersion

URL = "/api/v1/aliases/wine/champion/"
REQUESTS = "/api/v1/alias-requests/"


@pytest.fixture
def wine(versions: list[ModelVersion]) -> RegisteredModel:
    """Its champion is version 1, and its moves need approval."""
    moves.set_alias(name="wine", alias="champion", version="1")
    model = RegisteredModel.objects.get(name="wine")
    model.needs_approval = True
    model.save()
    return model


@pytest.fixture
def asker(db: None) -> APIClient:
    return mover("lin")


@pytest.fixture
def approver(db: None) -> APIClient:
    return mover("max")


def mover(name: str) -> APIClient:
    return api_client(permit(User.objects.create_user(name), "change_alias", "delete_alias"))


def decide(client: APIClient, request_id: int, how: str = "approve", **body: str) -> Any:
    return client.post(f"{REQUESTS}{request_id}/{how}/", body)


def live() -> str:
    return Alias.objects.find("wine", "champion").version.version


def test_a_move_is_made_when_somebody_else_approves_it(
    wine: RegisteredModel, asker: APIClient, approver: APIClient
) -> None:
    asked = put(asker, "2", reason="better", force=True)

    assert asked.status_code == 202
    assert (asked.json()["status"], asked.json()["move"]) == (
        "pending",
        {"version": "2", "force": True},
    )
    assert live() == "1"

    decided = decide(approver, asked.json()["id"], reason="checked")

    assert decided.status_code == 200, decided.content
    assert live() == "2"
    assert (decided.json()["status"], decided.json()["decided_by"]) == ("approved", "max")
    move = asker.get(URL + "history/").json()[0]
    assert (move["user"], move["reason"]) == ("max", "checked")
    assert (move["requested_by"], move["request_reason"]) == ("lin", "better")
    actions = AuditEvent.objects.filter(model="wine").values_list("action", flat=True)
    assert {"approval_requested", "approval_decided"} <= set(actions)


@pytest.mark.parametrize("is_superuser", [False, True])
def test_nobody_decides_on_their_own_request(
    wine: RegisteredModel, asker: APIClient, is_superuser: bool
) -> None:
    User.objects.filter(username="lin").update(is_superuser=is_superuser)
    request_id = put(asker, "2").json()["id"]

    for how in ("approve", "reject"):
        assert decide(asker, request_id, how, reason="mine").status_code == 403
    assert live() == "1"


def test_no_api_key_decides(wine: RegisteredModel, asker: APIClient, approver: APIClient) -> None:
    request_id = put(asker, "2").json()["id"]
    for owner in ("lin", "max"):
        _, value = create_key(
            name="robot", owner=User.objects.get(username=owner), scopes=list(Right)
        )

        assert decide(key_client(value), request_id).status_code == 403
    assert live() == "1"


@pytest.mark.parametrize(
    ("scope", "status"), [(Right.MOVE_ALIASES, 200), (Right.PREDICT, 403), (Right.READ_LOG, 403)]
)
def test_a_key_withdraws_a_request_of_its_owner_within_its_scopes(
    wine: RegisteredModel, asker: APIClient, scope: Right, status: int
) -> None:
    request_id = put(asker, "2").json()["id"]
    key, value = create_key(name="k", owner=User.objects.get(username="lin"), scopes=[scope])

    assert decide(key_client(value), request_id, "withdraw").status_code == status
    assert AliasRequest.objects.get().status == ("withdrawn" if status == 200 else "pending")
    decisions = AuditEvent.objects.filter(action=AuditEvent.Action.APPROVAL_DECIDED)
    assert [event.api_key for event in decisions] == [key] * (status == 200)


def test_the_database_refuses_a_decision_by_the_one_who_asked(
    wine: RegisteredModel, asker: APIClient
) -> None:
    put(asker, "2")
    lin = User.objects.get(username="lin")

    with pytest.raises(IntegrityError), transaction.atomic():
        AliasRequest.objects.update(status="approved", decided_by=lin, decided_at=timezone.now())


def test_deciding_takes_the_right_to_move_aliases(
    wine: RegisteredModel, asker: APIClient, client: APIClient
) -> None:
    request_id = put(asker, "2").json()["id"]

    assert decide(client, request_id).status_code == 403
    RegisteredModel.objects.update(is_private=True)
    assert decide(client, request_id).status_code == 404


def test_an_approval_for_another_state_of_the_alias_is_refused(
    wine: RegisteredModel, asker: APIClient, approver: APIClient
) -> None:
    stale = put(asker, "2").json()["id"]
    moves.set_alias(name="wine", alias="champion", version="3")

    assert decide(approver, stale).status_code == 409
    assert live() == "3"
    assert asker.get(f"{REQUESTS}{stale}/").json()["status"] == "pending"


def test_the_checks_of_a_move_are_made_at_its_approval(
    wine: RegisteredModel, asker: APIClient, approver: APIClient
) -> None:
    request_id = put(asker, "2").json()["id"]
    ModelVersion.objects.filter(version="2").update(is_active=False)

    response = decide(approver, request_id)

    assert response.status_code == 409
    assert "inactive" in response.json()["detail"]
    assert asker.get(f"{REQUESTS}{request_id}/").json()["status"] == "pending"


def test_a_request_is_rejected_withdrawn_or_expires_and_is_then_closed(
    wine: RegisteredModel, asker: APIClient, approver: APIClient
) -> None:
    rejected, withdrawn, expired = (put(asker, number).json()["id"] for number in "234")
    AliasRequest.objects.filter(pk=expired).update(expires_at=timezone.now() - timedelta(hours=1))

    assert decide(approver, rejected, "reject").status_code == 400  # without a reason
    assert decide(approver, rejected, "reject", reason="no").json()["status"] == "rejected"
    assert decide(approver, withdrawn, "withdraw").status_code == 403
    assert decide(asker, withdrawn, "withdraw").json()["status"] == "withdrawn"
    for request_id in (rejected, withdrawn, expired):
        assert decide(approver, request_id).status_code == 409
    states = {row["id"]: row["status"] for row in asker.get(REQUESTS).json()}
    assert states == {rejected: "rejected", withdrawn: "withdrawn", expired: "expired"}
    for state in ("rejected", "expired"):
        [row] = asker.get(f"{REQUESTS}?status={state}&name=wine").json()
        assert row["status"] == state
    assert live() == "1"


def test_rollbacks_and_removals_are_asked_for_as_well(
    wine: RegisteredModel, asker: APIClient, approver: APIClient
) -> None:
    moves.set_alias(name="wine", alias="champion", version="2")

    asked = asker.post(URL + "rollback/", {"reason": "worse"})
    assert (asked.status_code, live()) == (202, "2")
    assert decide(approver, asked.json()["id"]).status_code == 200
    assert live() == "1"

    asked = asker.delete(URL)
    assert asked.status_code == 202
    assert decide(approver, asked.json()["id"]).status_code == 200
    assert not Alias.objects.exists()


def test_ending_approval_must_be_approved(
    wine: RegisteredModel, asker: APIClient, approver: APIClient
) -> None:
    owner = User.objects.get(username="lin")
    RegisteredModel.objects.update(owner=owner)
    path = "/api/v1/registered-models/wine/"

    both = asker.patch(path, {"needs_approval": False, "contact": "me"})
    asked = asker.patch(path, {"needs_approval": False})

    assert (both.status_code, asked.status_code) == (400, 202)
    assert put(asker, "2").status_code == 202
    assert decide(approver, asked.json()["id"]).status_code == 200
    assert put(asker, "2").status_code == 200


def test_a_move_that_forgot_to_ask_is_refused(wine: RegisteredModel, user: User) -> None:
    with pytest.raises(ApprovalRequired):
        moves.set_alias(
            name="wine", alias="champion", version="2", attribution=Attribution(user=user)
        )
    assert live() == "1"


def test_a_first_version_does_not_become_champion_by_itself(
    make_version: MakeVersion, iris_artifact: Artifact, admin_api: APIClient
) -> None:
    version = make_version("rose", iris_artifact, is_active=False)
    RegisteredModel.objects.filter(name="rose").update(needs_approval=True)

    admin_api.patch(f"/api/v1/models/{version.pk}/", {"is_active": True})

    assert not Alias.objects.exists()


def test_two_approvals_at_the_same_time_make_one_move(
    wine: RegisteredModel, asker: APIClient, approver: APIClient
) -> None:
    request_id = put(asker, "2").json()["id"]
    stale = AliasRequest.objects.get(pk=request_id)

    assert decide(approver, request_id).status_code == 200
    assert decide(approver, request_id).status_code == 409
    assert stale.status == "pending"
    assert AliasMove.objects.of_alias("wine", "champion").count() == 2
