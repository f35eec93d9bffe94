"""Lists of aliases, and the permissions of the alias endpoints."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from registry.aliases import moves
from registry.models import ModelVersion
from registry.testing.aliases import put
from registry.testing.aliases import versions as versions
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client
from registry.testing.versions import MakeVersion

LIST = "/api/v1/aliases/"
URL = "/api/v1/aliases/wine/champion/"


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
def test_an_invalid_parameter_answers_400(client: APIClient, db: None, query: str) -> None:
    assert client.get(f"{LIST}?{query}").status_code == 400


@pytest.mark.parametrize("n", [1, 7])
def test_the_number_of_queries_does_not_depend_on_the_number_of_rows(
    client: APIClient, versions: list[ModelVersion], django_assert_num_queries: Any, n: int
) -> None:
    for i in range(n):
        moves.set_alias(
            name="wine", alias=f"a{i}", version="1", canary=("2", 1.0), shadows=["3", "4"]
        )
        moves.set_alias(name="wine", alias="a0", version=str(i % 2 + 1), canary=None)

    # The user; two for permissions; the aliases with their versions, and all their shadows.
    with django_assert_num_queries(5):
        assert len(client.get(LIST).json()) == n
    with django_assert_num_queries(5):
        assert client.get(LIST + "wine/a0/").status_code == 200
    with django_assert_num_queries(4):
        assert client.get(LIST + "wine/a0/history/").json()
    with django_assert_num_queries(4):
        client.get(LIST + "wine/a0/?at=2100-01-01T00:00:00Z")


# -- permissions


def every_write(api: APIClient) -> list[int]:
    return [
        put(api, "2").status_code,
        api.post(URL + "rollback/", {}).status_code,
        api.delete(URL).status_code,
    ]


def test_a_user_without_permissions_can_only_read(
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
def test_each_permission_allows_its_own_writes_only(
    client: APIClient, user: User, versions: list[ModelVersion], codename: str, statuses: list[int]
) -> None:
    moves.set_alias(name="wine", alias="champion", version="1")
    user.user_permissions.add(Permission.objects.get(codename=codename))

    assert every_write(client) == statuses
