"""Registered models and grants, over the API."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from rest_framework.test import APIClient

from registry.models import AuditEvent, Grant, ModelVersion, RegisteredModel, Right
from registry.testing.clients import api_client

URL = "/api/v1/registered-models/"


@pytest.fixture
def churn(user: User) -> RegisteredModel:
    """A private model of `user`."""
    return RegisteredModel.objects.create(name="churn", owner=user, is_private=True)


@pytest.fixture
def eve(db: None) -> User:
    return User.objects.create_user("eve")


def put_grant(client: APIClient, *rights: str, **who: str) -> Any:
    return client.put(f"{URL}churn/grants/", {**who, "rights": rights})


def test_a_model_is_added_before_its_first_version(admin_api: APIClient) -> None:
    body = {"name": "churn", "is_private": True, "retention_days": 90, "tags": {"team": "risk"}}

    response = admin_api.post(URL, body)

    assert response.status_code == 201, response.content
    assert response.json()["owner"] == "grace"
    assert response.json()["rights"] == [
        "predict",
        "read_log",
        "report_outcomes",
        "manage_versions",
        "move_aliases",
    ]
    assert admin_api.get(f"{URL}churn/").json() == response.json()
    assert admin_api.post(URL, body).status_code == 409
    assert AuditEvent.objects.get(model="churn").target == "created"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "../x"}, "name"),
        ({"name": "x", "owner": "nobody"}, "owner"),
        ({"name": "x", "retention_days": 0}, "retention_days"),
        ({"name": "x", "retention_days": "9"}, "retention_days"),
        ({"name": "x", "rate_limit": True}, "rate_limit"),
        ({"name": "x", "is_private": "yes"}, "is_private"),
        ({"name": "x", "tags": []}, "tags"),
        ({"name": "x", "colour": "red"}, "colour"),
    ],
)
def test_an_invalid_field_is_named(admin_api: APIClient, body: Any, field: str) -> None:
    response = admin_api.post(URL, body)

    assert response.status_code == 400
    assert field in response.json()["errors"]


def test_a_private_model_is_as_absent_to_others(
    churn: RegisteredModel, client: APIClient, eve: User
) -> None:
    hidden, absent = (api_client(eve).get(f"{URL}{name}/") for name in ("churn", "absent"))

    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert hidden.json()["detail"].replace("churn", "absent") == absent.json()["detail"]
    assert api_client(eve).get(URL).json() == []
    assert [row["name"] for row in client.get(URL).json()] == ["churn"]
    assert client.get(f"{URL}?owner=eve").json() == []


def test_the_owner_changes_it_and_gives_it_away(
    churn: RegisteredModel, client: APIClient, eve: User
) -> None:
    changed = client.patch(f"{URL}churn/", {"contact": "#churn", "retention_days": None})
    assert (changed.status_code, changed.json()["contact"]) == (200, "#churn")

    assert client.patch(f"{URL}churn/", {"owner": "eve"}).status_code == 200
    assert client.get(f"{URL}churn/").status_code == 404
    assert api_client(eve).get(f"{URL}churn/").json()["owner"] == "eve"
    assert AuditEvent.objects.filter(model="churn").latest("pk").details["owner_id"] == eve.pk


def test_a_user_who_manages_versions_may_not_take_the_model(
    churn: RegisteredModel, client: APIClient, eve: User
) -> None:
    put_grant(client, "manage_versions", user="eve")

    assert api_client(eve).patch(f"{URL}churn/", {"contact": "eve"}).status_code == 200
    assert api_client(eve).patch(f"{URL}churn/", {"owner": "eve"}).status_code == 403


def test_only_an_empty_model_is_deleted(churn: RegisteredModel, client: APIClient) -> None:
    ModelVersion.objects.create(name="churn", version="1", framework="onnx")
    assert client.delete(f"{URL}churn/").status_code == 409

    ModelVersion.objects.all().delete()
    assert client.delete(f"{URL}churn/").status_code == 204
    assert not RegisteredModel.objects.exists()


def test_a_grant_is_given_changed_and_removed(
    churn: RegisteredModel, client: APIClient, eve: User
) -> None:
    given = put_grant(client, "predict", "read_log", user="eve")
    assert given.status_code == 201
    assert api_client(eve).get(f"{URL}churn/").json()["rights"] == ["predict", "read_log"]

    changed = put_grant(client, "predict", user="eve")
    assert (changed.status_code, changed.json()["rights"]) == (200, ["predict"])
    assert client.get(f"{URL}churn/grants/").json() == [changed.json()]

    path = f"{URL}churn/grants/{given.json()['id']}/"
    assert [client.delete(path).status_code for _ in range(2)] == [204, 404]
    assert api_client(eve).get(f"{URL}churn/").status_code == 404
    events = AuditEvent.objects.filter(action="rights_changed", target=f"user {eve.pk}")
    assert [event.details["after"] for event in events.order_by("pk")] == [
        ["predict", "read_log"],
        ["predict"],
        [],
    ]


def test_the_users_of_a_group_have_its_rights(
    churn: RegisteredModel, client: APIClient, eve: User
) -> None:
    eve.groups.add(Group.objects.create(name="risk"))

    assert put_grant(client, "read_log", group="risk").status_code == 201
    assert api_client(eve).get(f"{URL}churn/").json()["rights"] == ["read_log"]


def test_nobody_gives_or_takes_away_what_they_do_not_have(
    churn: RegisteredModel, client: APIClient, eve: User
) -> None:
    User.objects.create_user("max")
    put_grant(client, "manage_versions", user="eve")
    put_grant(client, "move_aliases", user="max")
    manager = api_client(eve)

    assert put_grant(manager, "read_log", user="eve").status_code == 403
    assert put_grant(manager, "manage_versions", user="max").status_code == 403
    grant = Grant.objects.get(user__username="max")
    assert manager.delete(f"{URL}churn/grants/{grant.pk}/").status_code == 403
    assert put_grant(manager, "manage_versions", "move_aliases", user="max").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"rights": ["predict"]},
        {"user": "eve", "group": "risk", "rights": ["predict"]},
        {"user": "nobody", "rights": ["predict"]},
        {"user": "eve", "rights": []},
        {"user": "eve", "rights": ["fly"]},
    ],
)
def test_an_invalid_grant_is_refused(
    churn: RegisteredModel, client: APIClient, eve: User, body: Any
) -> None:
    assert client.put(f"{URL}churn/grants/", body).status_code == 400
    assert not Grant.objects.exists()


@pytest.mark.parametrize("n", [1, 5])
def test_lists_take_the_same_queries_at_any_length(
    admin_api: APIClient, django_assert_num_queries: Any, n: int
) -> None:
    for i in range(n):
        RegisteredModel.objects.create(name=f"m{i}")

    # The user, two for permissions, and the models.
    with django_assert_num_queries(4):
        assert len(admin_api.get(URL).json()) == n


def test_a_model_is_read_with_a_few_queries(
    churn: RegisteredModel, client: APIClient, django_assert_max_num_queries: Any
) -> None:
    # The user, their permissions, the model, and a query for each right.
    with django_assert_max_num_queries(4 + len(Right)):
        assert client.get(f"{URL}churn/").status_code == 200


def test_the_audit_trail_names_nobody_who_may_be_anonymised(
    churn: RegisteredModel, client: APIClient, eve: User
) -> None:
    put_grant(client, "predict", user="eve")
    client.post("/api/v1/api-keys/", {"name": "nightly", "scopes": ["predict"]})
    client.patch(f"{URL}churn/", {"owner": "eve"})

    events = list(AuditEvent.objects.values("action", "target", "details"))

    assert {event["action"] for event in events} >= {
        "rights_changed",
        "key_created",
        "model_changed",
    }
    for event in events:
        assert "eve" not in f"{event['target']} {event['details']}"
        assert "ada" not in f"{event['target']} {event['details']}"
