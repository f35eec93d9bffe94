"""The endpoints of erasures and legal holds."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.retention import erasing
from predictions.testing.rows import create_predictions, make_version
from registry.models import AuditEvent, ModelVersion
from registry.testing.clients import api_client

ERASURES = "/api/v1/erasures/"
HOLDS = "/api/v1/legal-holds/"
ERASURE = {"subject": "17", "reason": "request 5"}
HOLD = {"subject": "17", "reason": "lawsuit"}


@pytest.fixture
def version(db: None) -> ModelVersion:
    return make_version(None)


@pytest.fixture
def officer(db: None) -> APIClient:
    """Somebody with every permission of erasures and legal holds."""
    user = User.objects.create_user("officer")
    names = ["add_erasure", "view_erasure", "add_legalhold", "change_legalhold", "view_legalhold"]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return api_client(user)


def test_an_erasure_answers_with_its_evidence_and_limits(
    officer: APIClient, version: ModelVersion
) -> None:
    create_predictions(version, [1.0], subject="17")

    response = officer.post(ERASURES, ERASURE)

    body = response.json()
    assert response.status_code == 201
    assert (body["counts"]["predictions"], body["created_by"]) == (1, "officer")
    assert body["remains"] == list(erasing.REMAINS)
    # Monitoring keeps figures and may quote values.
    for place in ("Counts by hour", "Reports and alerts", "References"):
        assert any(text.startswith(place) for text in body["remains"])
    assert "17" not in str(body["reason"])
    assert not Prediction.objects.exists()
    event = AuditEvent.objects.get()
    assert event.user is not None
    assert (event.action, event.user.get_username()) == ("erased", "officer")


def test_erasures_are_listed_in_a_fixed_number_of_queries(
    officer: APIClient, version: ModelVersion, django_assert_num_queries: Any
) -> None:
    first = officer.post(ERASURES, ERASURE).json()
    officer.post(ERASURES, {**ERASURE, "subject": "18"})

    # The user, the permissions, and the rows.
    with django_assert_num_queries(4):
        rows = officer.get(ERASURES).json()
    assert len(rows) == 2
    assert "remains" not in rows[0]
    found = officer.get(ERASURES, {"pseudonym": first["pseudonym"]}).json()
    assert [row["id"] for row in found] == [first["id"]]


def test_a_held_subject_is_refused_with_the_reason(
    officer: APIClient, version: ModelVersion
) -> None:
    create_predictions(version, [1.0], subject="17")
    hold = officer.post(HOLDS, HOLD).json()

    response = officer.post(ERASURES, ERASURE)
    assert response.status_code == 409
    assert "lawsuit" in response.json()["detail"]

    released = officer.post(f"{HOLDS}{hold['id']}/release/", {"reason": "settled"})
    assert released.json()["released_by"] == "officer"
    assert officer.post(f"{HOLDS}{hold['id']}/release/", {"reason": "x"}).status_code == 409
    assert officer.post(ERASURES, ERASURE).status_code == 201


def test_holds_are_listed(
    officer: APIClient, version: ModelVersion, django_assert_num_queries: Any
) -> None:
    officer.post(HOLDS, HOLD)
    officer.post(HOLDS, {"model": "m", "reason": "audit"})

    with django_assert_num_queries(4):
        rows = officer.get(HOLDS, {"is_active": "true"}).json()
    assert [(row["model"], row["subject"]) for row in rows] == [("m", None), (None, "17")]
    assert officer.get(HOLDS, {"is_active": "false"}).json() == []


@pytest.mark.parametrize(
    ("url", "body", "field"),
    [
        (ERASURES, {"reason": "r"}, "subject"),
        (ERASURES, {**ERASURE, "reference": "r"}, "subject"),
        (ERASURES, {"subject": "17"}, "reason"),
        (ERASURES, {**ERASURE, "subject": "x" * 201}, "subject"),
        (ERASURES, {**ERASURE, "subject": 17}, "subject"),
        (ERASURES, {**ERASURE, "odd": 1}, "odd"),
        (HOLDS, {"reason": "r"}, "model"),
        (HOLDS, {"model": "m"}, "reason"),
    ],
)
def test_an_invalid_request_names_the_field(
    officer: APIClient, url: str, body: Any, field: str
) -> None:
    response = officer.post(url, body)

    assert response.status_code == 400
    assert field in response.json()["errors"]


@pytest.mark.parametrize("url", [ERASURES, HOLDS, f"{HOLDS}1/release/"])
def test_permissions_are_required(client: APIClient, url: str) -> None:
    assert client.post(url, {**ERASURE}).status_code == 403
    if "release" not in url:
        assert client.get(url).status_code == 403
    assert api_client().post(url, {**ERASURE}).status_code == 401


def test_what_does_not_exist_is_not_found(officer: APIClient, version: ModelVersion) -> None:
    assert officer.post(HOLDS, {"model": "odd", "reason": "r"}).status_code == 404
    assert officer.post(ERASURES, {**ERASURE, "model": "odd"}).status_code == 404
    assert officer.post(f"{HOLDS}7/release/", {"reason": "r"}).status_code == 404


def test_a_reason_that_names_the_subject_is_refused(officer: APIClient, db: None) -> None:
    response = officer.post(ERASURES, {**ERASURE, "reason": "forget 17"})

    assert response.status_code == 400
    assert "must not contain the subject" in response.json()["detail"]
