"""/api/v1/aliases/: what a name means, meant, and who may move it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Permission, User
from django.db import connections
from rest_framework.test import APIClient

from registry.aliases import moves
from registry.models import MAX_SHADOWS, Alias, AliasMove, ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client

LIST = "/api/v1/aliases/"
URL = "/api/v1/aliases/wine/champion/"
N_THREADS = 50

MakeVersion = Callable[..., ModelVersion]


def stand_in_gate(from_id: int, to_id: int, require: Any) -> None:
    if require.get("min_agreement", 0) > 0.97:
        raise moves.MoveRefused("The replay's agreement is 0.97, below 0.98")


@pytest.fixture
def versions(make_version: MakeVersion, iris_artifact: Artifact) -> list[ModelVersion]:
    return [make_version("wine", iris_artifact, version=str(number)) for number in range(1, 5)]


def put(api: APIClient, version: Any = "1", url: str = URL, **fields: Any) -> Any:
    return api.put(url, {"version": version, **fields})


def shown(version: ModelVersion) -> dict[str, Any]:
    return {"model_id": version.pk, "version": version.version}


# -- moving


def test_an_alias_is_made_moved_and_read(
    admin_api: APIClient, client: APIClient, versions: list[ModelVersion]
) -> None:
    made = put(admin_api)
    moved = put(
        admin_api, "2", canary={"version": "3", "percent": 10}, shadows=["4", "1"], reason="better"
    )

    assert (made.status_code, moved.status_code) == (201, 200)
    assert (made.json()["canary"], made.json()["shadows"]) == (None, [])
    body = moved.json()
    assert client.get(URL).json() == body
    assert body.pop("updated_at").endswith("Z")
    assert body == {
        "name": "wine",
        "alias": "champion",
        **shown(versions[1]),
        "canary": {**shown(versions[2]), "percent": 10.0},
        "shadows": [shown(versions[0]), shown(versions[3])],
    }
    assert put(admin_api, "2", canary=None).json()["canary"] is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"version": 3}, "version"),
        ({"version": 3.5}, "version"),
        ({"version": True}, "version"),
        ({"version": None}, "version"),
        ({"version": ""}, "version"),
        ({"version": "1" * 51}, "version"),
        ({"version": ["1"]}, "version"),
        ({"canary": "2"}, "canary"),
        ({"canary": {"version": "2"}}, "canary.percent"),
        ({"canary": {"percent": 2}}, "canary.version"),
        ({"canary": {"version": 2, "percent": 2}}, "canary.version"),
        ({"canary": {"version": "2", "percent": 0}}, "canary.percent"),
        ({"canary": {"version": "2", "percent": 100.01}}, "canary.percent"),
        ({"canary": {"version": "2", "percent": -1}}, "canary.percent"),
        ({"canary": {"version": "2", "percent": "a"}}, "canary.percent"),
        ({"canary": {"version": "2", "percent": 1, "x": 1}}, "canary.x"),
        ({"shadows": "2"}, "shadows"),
        ({"shadows": [2]}, "shadows.0"),
        ({"shadows": None}, "shadows"),
        ({"shadows": ["2", "2"]}, "shadows"),
        ({"shadows": [str(number) for number in range(MAX_SHADOWS + 1)]}, "shadows"),
        ({"reason": "a" * 501}, "reason"),
        ({"force": "perhaps"}, "force"),
        ({"require": 7}, "require"),
        ({"require": None}, "require"),
        ({"model_id": 7}, "model_id"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_field_answers_400_and_is_named(
    admin_api: APIClient, versions: list[ModelVersion], fields: dict[str, Any], named: str
) -> None:
    response = admin_api.put(URL, {"version": "1", **fields})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [named]
    assert not Alias.objects.exists()


def test_a_version_that_is_a_number_is_told_to_be_text(
    admin_api: APIClient, versions: list[ModelVersion]
) -> None:
    assert put(admin_api, 3).json()["errors"] == {"version": ['Must be text, such as "3".']}


@pytest.mark.parametrize("method", ["get", "put", "delete"])
@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("wine/.x/", "alias"),
        ("wine/%00/", "alias"),
        (f"wine/{'a' * 51}/", "alias"),
        ("a:b/x/", "name"),
        (f"{'a' * 101}/x/", "name"),
        ("w%C3%A4/x/", "name"),
    ],
)
def test_a_bad_name_in_the_path_answers_400(
    admin_api: APIClient, method: str, path: str, named: str
) -> None:
    response = getattr(admin_api, method)(LIST + path, *([{"version": "1"}] * (method == "put")))

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [named]


@pytest.mark.parametrize("path", ["", "history/", "?at=2026-01-01T00:00:00Z"])
def test_an_unknown_alias_answers_404(client: APIClient, db: None, path: str) -> None:
    response = client.get(URL + path)

    assert response.status_code == 404
    assert response.json()["type"] == "urn:mlapi:problem:model-not-found"
    assert response.json()["detail"].startswith("Model wine@champion not found: ")


def test_an_unknown_version_answers_404(admin_api: APIClient, versions: list[ModelVersion]) -> None:
    response = put(admin_api, "9")

    assert response.status_code == 404
    assert response.json()["detail"] == "Model wine:9 not found"


def test_what_a_move_must_not_do_answers_409(
    admin_api: APIClient,
    versions: list[ModelVersion],
    make_version: MakeVersion,
    diabetes_artifact: Artifact,
) -> None:
    make_version("wine", diabetes_artifact, version="other")
    put(admin_api)

    response = put(admin_api, "other")

    assert response.status_code == 409
    assert response.json()["type"] == "urn:mlapi:problem:move-refused"
    assert "could not answer the callers of wine:1" in response.json()["detail"]
    assert put(admin_api, "other", force=True).status_code == 200


def test_a_promotion_may_demand_a_proof(
    admin_api: APIClient, versions: list[ModelVersion], settings: LazySettings
) -> None:
    settings.PROMOTION_GATE = f"{__name__}.stand_in_gate"
    put(admin_api)

    refused = put(admin_api, "2", require={"replay": 1, "min_agreement": 0.98})
    passed = put(admin_api, "2", require={"replay": 1, "min_agreement": 0.9})

    assert (refused.status_code, passed.status_code) == (409, 200)
    assert "0.97, below 0.98" in refused.json()["detail"]


# -- looking back


def test_the_history_is_newest_first_and_says_who_and_why(
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
        "canary": {**shown(versions[2]), "percent": 5.0},
        "shadows": [shown(versions[3])],
        "restores": None,
        "reason": "",
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


def test_what_was_live_then_is_answered_in_the_same_form(
    admin_api: APIClient, client: APIClient, versions: list[ModelVersion]
) -> None:
    before = put(admin_api, "1", canary={"version": "3", "percent": 5}, shadows=["4"]).json()
    put(admin_api, "2")
    admin_api.delete(URL)
    first, second, third = AliasMove.objects.order_by("number")

    def at(time: Any) -> Any:
        return client.get(URL, {"at": time.isoformat()})

    assert at(first.created_at).json() == before
    assert at(second.created_at - timedelta(microseconds=1)).json() == before
    assert at(second.created_at).json()["version"] == "2"
    assert at(first.created_at - timedelta(seconds=1)).status_code == 404
    assert at(third.created_at).status_code == 404
    assert client.get(URL).status_code == 404
    assert len(client.get(URL + "history/").json()) == 3


@pytest.mark.parametrize(
    "query",
    ["at=yesterday", "at=", "at=0001-01-01T00:00:00%2B14:00", "as_of=2026-01-01", "at=2026"],
)
def test_a_time_that_is_none_answers_400(client: APIClient, db: None, query: str) -> None:
    assert client.get(f"{URL}?{query}").status_code == 400


def test_a_rollback_answers_what_is_live_again(
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
        "request_id": "",
        "created_at": "",
    }
    again = admin_api.post(URL + "rollback/", {})
    assert again.status_code == 409
    assert "had no other version before" in again.json()["detail"]
    assert admin_api.post(URL + "rollback/", {"to": 1}).status_code == 400
    assert admin_api.post(LIST + "wine/x/rollback/", {}).status_code == 404


# -- lists


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["rose@champion", "wine@next", "wine@champion"]),
        ("?name=wine", ["wine@next", "wine@champion"]),
        ("?alias=champion", ["rose@champion", "wine@champion"]),
        ("?alias=champion&name=wine", ["wine@champion"]),
        ("?name=beer", []),
        ("?limit=1&skip=1", ["wine@next"]),
    ],
)
def test_the_list_is_newest_first_and_filtered(
    admin_api: APIClient,
    client: APIClient,
    versions: list[ModelVersion],
    make_version: MakeVersion,
    iris_artifact: Artifact,
    query: str,
    expected: list[str],
) -> None:
    make_version("rose", iris_artifact)
    for path in ("wine/champion", "wine/next", "rose/champion"):
        put(admin_api, "1", f"{LIST}{path}/")

    rows = client.get(LIST + query).json()

    assert [f"{row['name']}@{row['alias']}" for row in rows] == expected


@pytest.mark.parametrize("query", ["x=1", "name=", "name=%00", "name=a&name=b", "limit=0"])
def test_a_parameter_that_does_not_parse_answers_400(
    client: APIClient, db: None, query: str
) -> None:
    assert client.get(f"{LIST}?{query}").status_code == 400


@pytest.mark.parametrize("n", [1, 7])
def test_lists_cost_the_same_however_long(
    client: APIClient, versions: list[ModelVersion], django_assert_num_queries: Any, n: int
) -> None:
    for i in range(n):
        moves.set_alias(
            name="wine", alias=f"a{i}", version="1", canary=("2", 1.0), shadows=["3", "4"]
        )
        moves.set_alias(name="wine", alias="a0", version=str(i % 2 + 1), canary=None)

    # The user; the aliases with their versions, and all their shadows.
    with django_assert_num_queries(3):
        assert len(client.get(LIST).json()) == n
    with django_assert_num_queries(3):
        assert client.get(LIST + "wine/a0/").status_code == 200
    with django_assert_num_queries(2):
        assert client.get(LIST + "wine/a0/history/").json()
    with django_assert_num_queries(2):
        client.get(LIST + "wine/a0/?at=2100-01-01T00:00:00Z")


# -- who may


def every_write(api: APIClient) -> list[int]:
    return [
        put(api, "2").status_code,
        api.post(URL + "rollback/", {}).status_code,
        api.delete(URL).status_code,
    ]


def test_any_user_reads_and_writes_nothing(
    admin_api: APIClient, client: APIClient, versions: list[ModelVersion]
) -> None:
    put(admin_api)

    assert [client.get(path).status_code for path in (LIST, URL, URL + "history/")] == [200] * 3
    assert every_write(client) == [403] * 3
    assert every_write(api_client()) == [401] * 3
    assert api_client().get(URL).status_code == 401


@pytest.mark.parametrize(
    ("codename", "statuses"),
    [
        ("add_alias", [403, 403, 403]),
        ("change_alias", [200, 200, 403]),
        ("delete_alias", [403, 403, 204]),
    ],
)
def test_a_permission_grants_what_it_says(
    client: APIClient, user: User, versions: list[ModelVersion], codename: str, statuses: list[int]
) -> None:
    moves.set_alias(name="wine", alias="champion", version="1")
    user.user_permissions.add(Permission.objects.get(codename=codename))

    assert every_write(client) == statuses


# -- many at once


@pytest.mark.django_db(transaction=True)
def test_promotions_at_once_are_all_answered(manager: User, versions: list[ModelVersion]) -> None:
    def move(i: int) -> int:
        try:
            return put(api_client(manager), str(i % 4 + 1)).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(N_THREADS) as pool:
        statuses = list(pool.map(move, range(N_THREADS)))

    assert sorted(statuses) == [200] * (N_THREADS - 1) + [201]
    numbers = AliasMove.objects.order_by("number").values_list("number", flat=True)
    assert list(numbers) == list(range(1, len(numbers) + 1))
    last = AliasMove.objects.latest("number")
    assert Alias.objects.get().version_id == last.to_version_id
