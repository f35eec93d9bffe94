"""Reading other people's predictions is told to the audit trail, one event for each page."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.test import Client
from rest_framework.test import APIClient

from predictions.models import Outcome, Prediction
from predictions.testing.rows import make_version, wait_until_followable
from registry.access import audit
from registry.models import AuditEvent, ModelVersion
from registry.testing.clients import permit, text_of

URL = "/api/v1/predictions/"
ADMIN = "/admin/predictions/prediction/"


@pytest.fixture
def version(db: None) -> ModelVersion:
    return make_version(None, name="m")


@pytest.fixture
def rows(version: ModelVersion, user: User, django_user_model: type[User]) -> list[Prediction]:
    """Two predictions of the reader, one of somebody else and one of nobody."""
    permit(user, "view_prediction")
    grace = django_user_model.objects.create_user("grace")
    return [
        Prediction.objects.create(
            model=version, input_data={}, prediction=1, user=who, subject="Mr. Smith"
        )
        for who in (user, user, grace, None)
    ]


def reads() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action="predictions_read").order_by("id"))


def test_a_page_is_one_event(client: APIClient, user: User, rows: list[Prediction]) -> None:
    response = client.get(f"{URL}?limit=3&status=succeeded", headers={"X-Request-ID": "r-7"})

    [event] = reads()
    assert (event.user, event.request_id, event.model) == (user, "r-7", "m")
    assert event.target == "predictions"
    assert event.details == {"rows": 2, "filters": {"status": "succeeded"}}
    assert response.status_code == 200


def test_what_identifies_people_is_not_kept(client: APIClient, rows: list[Prediction]) -> None:
    grace = rows[2].user
    assert grace is not None
    client.get(f"{URL}?subject=Mr.%20Smith&user=grace")

    [event] = reads()
    fingerprint = audit.fingerprint("Mr. Smith")
    assert event.details["filters"] == {"subject_fingerprint": fingerprint, "user_id": grace.pk}
    assert len(fingerprint) == 64
    assert audit.fingerprint("Mr. Smit") != fingerprint


def test_ones_own_predictions_are_no_event(client: APIClient, rows: list[Prediction]) -> None:
    client.get(f"{URL}?user=ada")
    client.get(f"{URL}{rows[0].pk}/")
    client.get(f"{URL}?subject=nobody")

    assert reads() == []


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/predictions/{row}/", "prediction {row}"),
        ("/api/v1/models/{version}/predictions/", "predictions of m:1"),
        ("/api/v1/predictions/?include=input_data", "predictions"),
        ("/api/v1/outcomes/?reference=o-1", "outcomes"),
    ],
)
def test_each_way_to_read_is_an_event(
    client: APIClient, version: ModelVersion, rows: list[Prediction], path: str, target: str
) -> None:
    Prediction.objects.filter(pk=rows[2].pk).update(reference="o-1")
    Outcome.objects.create(prediction=rows[2], value=1)
    ids = {"row": rows[2].pk, "version": version.pk}

    assert client.get(path.format(**ids)).status_code == 200

    [event] = reads()
    assert event.target == target.format(**ids)
    assert "o-1" not in str(event.details)


@pytest.mark.django_db(transaction=True)
def test_a_followed_page_is_an_event(client: APIClient, rows: list[Prediction]) -> None:
    wait_until_followable()
    client.get(f"{URL}?after=&limit=10")

    [event] = reads()
    assert event.details == {"rows": 2, "filters": {}}


@pytest.mark.parametrize(
    ("path", "target", "filters"),
    [
        ("?q=subject:%22Mr.+Smith%22&p=0", "predictions", ["subject_fingerprint"]),
        ("?status__exact=succeeded", "predictions", ["status__exact"]),
        ("{row}/change/", "prediction {row}", []),
    ],
)
def test_reading_in_the_admin_is_an_event(
    admin_client: Client, rows: list[Prediction], path: str, target: str, filters: list[str]
) -> None:
    text_of(admin_client.get(ADMIN + path.format(row=rows[2].pk)))

    [event] = reads()
    assert event.target == target.format(row=rows[2].pk)
    assert list(event.details["filters"]) == filters
    assert "Smith" not in str(event.details)


def test_a_read_that_cannot_be_recorded_is_refused(
    client: APIClient, rows: list[Prediction], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**fields: Any) -> None:
        raise DatabaseError("disk full")

    client.raise_request_exception = False
    monkeypatch.setattr(AuditEvent.objects, "create", fail)

    response = client.get(URL)

    assert response.status_code >= 500
    assert b"input" not in response.content
