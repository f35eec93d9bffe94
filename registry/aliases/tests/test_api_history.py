"""Past states of an alias, its history and rollbacks, over the API."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from registry.models import AliasMove, ModelVersion
from registry.testing.aliases import put, summary
from registry.testing.aliases import versions as versions

LIST = "/api/v1/aliases/"
URL = "/api/v1/aliases/wine/champion/"


def test_the_history_is_newest_first_with_user_and_reason(
    admin_api: APIClient, client: APIClient, versions: list[ModelVersion]
) -> None:
    put(admin_api, reason="first")
    response = put(admin_api, "2", canary={"version": "3", "percent": 5}, shadows=["4"])
    put(admin_api, "1", LIST + "wine/other/")

    second, first = client.get(URL + "history/").json()

    assert second.pop("created_at") > first["created_at"]
    assert second == {
        "number": 2,
        "action": "set",
        "from_model_id": versions[0].pk,
        "from_version": "1",
        "to_model_id": versions[1].pk,
        "to_version": "2",
        "canary": {**summary(versions[2]), "percent": 5.0},
        "shadows": [summary(versions[3])],
        "restores": None,
        "reason": "",
        "requested_by": None,
        "request_reason": None,
        "user": "grace",
        "request_id": response["X-Request-ID"],
    }
    assert (first["from_model_id"], first["from_version"], first["reason"]) == (None, "", "first")


def test_the_history_is_paged(
    admin_api: APIClient, client: APIClient, versions: list[ModelVersion]
) -> None:
    for version in "123":
        put(admin_api, version)

    response = client.get(URL + "history/?limit=2")
    following = client.get(response["Link"][1:].split(">")[0])

    assert [row["number"] for row in response.json()] == [3, 2]
    assert [row["number"] for row in following.json()] == [1]
    assert client.get(URL + "history/?skip=3").json() == []
    assert client.get(URL + "history/?action=set").status_code == 400


def test_a_past_state_is_answered_in_the_same_format(
    admin_api: APIClient, client: APIClient, versions: list[ModelVersion]
) -> None:
    before = put(admin_api, "1", canary={"version": "3", "percent": 5}, shadows=["4"]).json()
    put(admin_api, "2")
    admin_api.delete(URL)
    first, second, third = AliasMove.objects.order_by("number")

    def state_at(time: datetime) -> Any:
        return client.get(URL, {"at": time.isoformat()})

    assert state_at(first.created_at).json() == before
    assert state_at(second.created_at - timedelta(microseconds=1)).json() == before
    assert state_at(second.created_at).json()["version"] == "2"
    assert state_at(first.created_at - timedelta(seconds=1)).status_code == 404
    assert state_at(third.created_at).status_code == 404
    assert client.get(URL).status_code == 404
    assert len(client.get(URL + "history/").json()) == 3


@pytest.mark.parametrize(
    "query",
    ["at=yesterday", "at=", "at=0001-01-01T00:00:00%2B14:00", "as_of=2026-01-01", "at=2026"],
)
def test_an_invalid_time_answers_400(client: APIClient, db: None, query: str) -> None:
    assert client.get(f"{URL}?{query}").status_code == 400


def test_a_rollback_answers_the_restored_state(
    admin_api: APIClient, client: APIClient, versions: list[ModelVersion]
) -> None:
    put(admin_api)
    put(admin_api, "2")

    response = admin_api.post(URL + "rollback/", {"reason": "bad"})

    assert response.status_code == 200
    assert response.json()["version"] == "1"
    assert client.get(URL + "history/").json()[0] | {"created_at": "", "request_id": ""} == {
        "number": 3,
        "action": "rolled_back",
        "from_model_id": versions[1].pk,
        "from_version": "2",
        "to_model_id": versions[0].pk,
        "to_version": "1",
        "canary": None,
        "shadows": [],
        "restores": 1,
        "reason": "bad",
        "user": "grace",
        "requested_by": None,
        "request_reason": None,
        "request_id": "",
        "created_at": "",
    }
    again = admin_api.post(URL + "rollback/", {})
    assert again.status_code == 409
    assert "has no earlier version" in again.json()["detail"]
    assert admin_api.post(URL + "rollback/", {"to": 1}).status_code == 400
    assert admin_api.post(LIST + "wine/x/rollback/", {}).status_code == 404
