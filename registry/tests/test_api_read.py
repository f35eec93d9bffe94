"""GET /api/v1/models/: versions are listed, filtered and read."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from registry.models import ModelVersion

URL = "/api/v1/models/"
NEW = {"name": "new", "version": "1", "framework": "sklearn"}
CHANGEABLE = [
    *["description", "metrics", "tags", "is_active"],
    *["max_concurrency", "timeout_seconds"],
]
FIXED = ["id", "name", "version", "framework", "created_at", "created_by"]
HEALTH = ["quarantined_at", "quarantine_reason"]
FROM_THE_FILE = ["signature", "sha256", "size_bytes", "libraries"]

MakeVersion = Callable[..., ModelVersion]


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["name"] for row in response.json()]


def test_a_version_is_read_with_all_its_fields(client: APIClient, iris: ModelVersion) -> None:
    response = client.get(f"{URL}{iris.pk}/")

    assert response.status_code == 200
    assert sorted(response.json()) == sorted(CHANGEABLE + FIXED + HEALTH + FROM_THE_FILE)
    assert response.json()["sha256"] == iris.sha256


def test_an_inactive_version_can_still_be_read(client: APIClient, iris: ModelVersion) -> None:
    iris.update(is_active=False)

    assert client.get(f"{URL}{iris.pk}/").json()["is_active"] is False


@pytest.mark.parametrize("pk", [999, 10**19 - 1])
def test_an_unknown_version_answers_404(client: APIClient, pk: int) -> None:
    response = client.get(f"{URL}{pk}/")

    assert response.status_code == 404
    assert response.json()["detail"] == f"Model {pk} not found"


@pytest.mark.parametrize("pk", ["abc", "1.0", "-1", "1e3"])
def test_an_id_that_is_not_a_number_answers_404(client: APIClient, pk: str) -> None:
    assert client.get(f"{URL}{pk}/").status_code == 404


def test_the_list_is_newest_first(client: APIClient, make_version: MakeVersion) -> None:
    first = make_version("first")
    make_version("second")
    make_version("oldest", created_at=first.created_at - timedelta(days=1))
    make_version("twin", created_at=first.created_at)

    assert names(client.get(URL)) == ["second", "twin", "first", "oldest"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["b", "a", "a"]),
        ("?active_only=true", ["b", "a", "a"]),
        ("?active_only=false", ["gone", "b", "a", "a"]),
        ("?name=a", ["a", "a"]),
        ("?name=A", []),
        ("?framework=onnx", ["b", "a"]),
        ("?framework=onnx&name=a", ["a"]),
        ("?name=gone", []),
        ("?name=gone&active_only=0", ["gone"]),
        ("?limit=1", ["b"]),
        ("?skip=1&limit=1", ["a"]),
        ("?skip=99", []),
    ],
)
def test_the_list_is_filtered(
    client: APIClient, make_version: MakeVersion, query: str, expected: list[str]
) -> None:
    make_version("a", version="1")
    make_version("a", version="2", framework="onnx")
    make_version("b", framework="onnx")
    make_version("gone", is_active=False)

    assert names(client.get(URL + query)) == expected


@pytest.mark.parametrize(
    ("query", "reported"),
    [
        ("active_only=zzz", "active_only"),
        ("active_only=", "active_only"),
        ("active=true", "active"),
        ("name=a&name=b", "name"),
        ("name=", "name"),
        ("name=%00", "name"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("skip=-1", "skip"),
        ("skip=10001", "skip"),
        ("cursor=zzz", "cursor"),
    ],
)
def test_an_invalid_parameter_answers_400(client: APIClient, query: str, reported: str) -> None:
    response = client.get(f"{URL}?{query}")

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [reported]


@pytest.mark.parametrize("n", [1, 7])
def test_the_list_takes_one_query_besides_authentication(
    client: APIClient,
    make_version: MakeVersion,
    user: User,
    django_assert_num_queries: Any,
    n: int,
) -> None:
    for i in range(n):
        make_version("m", version=str(i), created_by=user)

    # The user, and the two kinds of permissions.
    with django_assert_num_queries(1 + 3):
        assert len(client.get(URL).json()) == n


def test_reading_a_version_takes_one_query_besides_authentication(
    client: APIClient, iris: ModelVersion, django_assert_num_queries: Any
) -> None:
    # The user, and the two kinds of permissions.
    with django_assert_num_queries(1 + 3):
        client.get(f"{URL}{iris.pk}/")


def test_every_route_works_without_a_trailing_slash(
    admin_api: APIClient, iris: ModelVersion
) -> None:
    assert admin_api.get("/api/v1/models").status_code == 200
    assert admin_api.get(f"/api/v1/models/{iris.pk}").status_code == 200
    assert admin_api.post("/api/v1/models", NEW).status_code == 201
    assert admin_api.patch(f"/api/v1/models/{iris.pk}", {}).status_code == 200
    assert (
        admin_api.put(f"/api/v1/models/{iris.pk}/artifact", {}, format="multipart").status_code
        == 400
    )
    assert admin_api.delete(f"/api/v1/models/{iris.pk}").status_code == 204


@pytest.mark.parametrize("path", ["{}/", "{}/predictions/"])
def test_an_id_too_large_for_the_database_answers_404(client: APIClient, path: str) -> None:
    assert client.get(URL + path.format("1" * 5000)).status_code == 404
