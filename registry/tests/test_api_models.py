"""Versions: listed, read, changed and deleted, by those who may."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from predictions.models import Prediction
from registry.models import ModelVersion
from registry.testing.fixtures import Artifact, api_client

URL = "/api/v1/models/"
NEW = {"name": "new", "version": "1", "framework": "sklearn"}
CHANGEABLE = ["description", "metrics", "tags", "is_active"]
FIXED = ["id", "name", "version", "framework", "created_at", "created_by"]
TOLD_BY_THE_FILE = ["signature", "sha256", "size_bytes", "libraries"]

MakeVersion = Callable[..., ModelVersion]


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["name"] for row in response.json()]


# -- reading


def test_a_version_is_read_with_all_its_fields(client: APIClient, iris: ModelVersion) -> None:
    response = client.get(f"{URL}{iris.pk}/")

    assert response.status_code == 200
    assert sorted(response.json()) == sorted(CHANGEABLE + FIXED + TOLD_BY_THE_FILE)
    assert response.json()["sha256"] == iris.sha256


def test_an_inactive_version_is_still_read(client: APIClient, iris: ModelVersion) -> None:
    iris.update(is_active=False)

    assert client.get(f"{URL}{iris.pk}/").json()["is_active"] is False


@pytest.mark.parametrize("pk", [999, 10**19 - 1])
def test_an_unknown_version_answers_404(client: APIClient, pk: int) -> None:
    response = client.get(f"{URL}{pk}/")

    assert response.status_code == 404
    assert response.json()["detail"] == f"Model {pk} not found"


@pytest.mark.parametrize("pk", ["abc", "1.0", "-1", "1e3"])
def test_an_id_that_is_no_number_answers_404(client: APIClient, pk: str) -> None:
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
    ("query", "named"),
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
def test_a_parameter_that_does_not_parse_answers_400(
    client: APIClient, query: str, named: str
) -> None:
    response = client.get(f"{URL}?{query}")

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [named]


@pytest.mark.parametrize("n", [1, 7])
def test_the_list_costs_one_query_and_the_users(
    client: APIClient,
    make_version: MakeVersion,
    user: User,
    django_assert_num_queries: Any,
    n: int,
) -> None:
    for i in range(n):
        make_version("m", version=str(i), created_by=user)

    with django_assert_num_queries(2):
        assert len(client.get(URL).json()) == n


def test_reading_a_version_costs_one_query_and_the_users(
    client: APIClient, iris: ModelVersion, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(2):
        client.get(f"{URL}{iris.pk}/")


def test_every_route_answers_without_its_trailing_slash(
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


# -- changing


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"accuracy": 0.5}},
        {"metrics": None},
        {"description": "new"},
        {"tags": {"a": [1, None]}},
        {"is_active": False},
        {"is_active": False, "description": ""},
        {},
    ],
)
def test_what_may_change_is_changed_and_nothing_else(
    admin_api: APIClient, iris: ModelVersion, change: dict[str, Any]
) -> None:
    before = admin_api.get(f"{URL}{iris.pk}/").json()

    response = admin_api.patch(f"{URL}{iris.pk}/", change)

    assert response.status_code == 200
    assert response.json() == before | change
    assert admin_api.get(f"{URL}{iris.pk}/").json() == before | change


@pytest.mark.parametrize("field", [*FIXED, *TOLD_BY_THE_FILE, "artifact"])
def test_what_never_changes_answers_400(
    admin_api: APIClient, iris: ModelVersion, field: str
) -> None:
    before = admin_api.get(f"{URL}{iris.pk}/").json()

    response = admin_api.patch(f"{URL}{iris.pk}/", {field: "2", "description": "new"})

    assert response.status_code == 400
    assert response.json()["errors"] == {field: ["Unknown field."]}
    assert admin_api.get(f"{URL}{iris.pk}/").json() == before


@pytest.mark.parametrize(
    "change",
    [
        {"is_active": None},
        {"is_active": "perhaps"},
        {"tags": None},
        {"tags": []},
        {"metrics": 1},
        {"description": "a" * 5001},
    ],
    ids=lambda change: str(change)[:30],
)
def test_a_change_that_does_not_fit_answers_400(
    admin_api: APIClient, iris: ModelVersion, change: dict[str, Any]
) -> None:
    response = admin_api.patch(f"{URL}{iris.pk}/", change)

    assert response.status_code == 400
    assert list(response.json()["errors"]) == list(change)


def test_replacing_a_version_is_not_offered(admin_api: APIClient, iris: ModelVersion) -> None:
    assert admin_api.put(f"{URL}{iris.pk}/", NEW).status_code == 405


# -- deleting


@pytest.mark.django_db(transaction=True)
def test_an_unused_version_is_deleted_with_its_file(
    admin_api: APIClient, iris: ModelVersion, model_path: Path
) -> None:
    response = admin_api.delete(f"{URL}{iris.pk}/")

    assert (response.status_code, response.content) == (204, b"")
    assert ModelVersion.objects.count() == 0
    assert list(model_path.iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_deleting_one_version_keeps_the_files_of_others(
    admin_api: APIClient,
    iris: ModelVersion,
    make_version: MakeVersion,
    iris_artifact: Artifact,
    model_path: Path,
) -> None:
    other = make_version("iris", iris_artifact, version="2")

    admin_api.delete(f"{URL}{iris.pk}/")

    assert (model_path / other.artifact).exists()


def test_a_version_without_a_file_is_deleted(
    admin_api: APIClient, make_version: MakeVersion
) -> None:
    assert admin_api.delete(f"{URL}{make_version('bare').pk}/").status_code == 204


def test_deleting_an_unknown_version_answers_404(admin_api: APIClient) -> None:
    assert admin_api.delete(f"{URL}999/").status_code == 404


def use(version: ModelVersion, n: int) -> None:
    Prediction.objects.bulk_create(
        Prediction(model=version, input_data={"features": [1]}, prediction=1.0) for _ in range(n)
    )


def test_a_used_version_is_kept_and_answers_409(
    admin_api: APIClient, iris: ModelVersion, model_path: Path
) -> None:
    use(iris, 1)

    response = admin_api.delete(f"{URL}{iris.pk}/")

    assert response.status_code == 409
    assert "deactivate it instead" in response.json()["detail"]
    assert ModelVersion.objects.get() == iris
    assert (model_path / iris.artifact).exists()
    assert Prediction.objects.count() == 1


def test_refusing_a_deletion_reads_a_bounded_number_of_keys(
    admin_api: APIClient, iris: ModelVersion
) -> None:
    use(iris, 100)

    with CaptureQueriesContext(connection) as captured:
        admin_api.delete(f"{URL}{iris.pk}/")

    selects = [query["sql"] for query in captured if re.search(r'FROM "predictions"', query["sql"])]
    assert len(selects) == 1
    assert re.search(r'^SELECT "predictions"\."id"( AS \S+)? FROM', selects[0])
    assert re.search(r"LIMIT \d\d?$", selects[0])


# -- who may


def every_write(api: APIClient, pk: int) -> list[int]:
    return [
        api.post(URL, NEW).status_code,
        api.patch(f"{URL}{pk}/", {"description": "x"}).status_code,
        api.put(f"{URL}{pk}/artifact/", {}, format="multipart").status_code,
        api.delete(f"{URL}{pk}/").status_code,
    ]


def test_any_user_reads_and_writes_nothing(client: APIClient, iris: ModelVersion) -> None:
    assert client.get(URL).status_code == 200
    assert client.get(f"{URL}{iris.pk}/").status_code == 200
    assert every_write(client, iris.pk) == [403] * 4
    assert ModelVersion.objects.get().description == ""


def test_nobody_without_a_token_reads_or_writes(iris: ModelVersion) -> None:
    api = api_client()

    assert api.get(URL).status_code == 401
    assert api.get(f"{URL}{iris.pk}/").status_code == 401
    assert every_write(api, iris.pk) == [401] * 4


@pytest.mark.parametrize(
    ("codename", "statuses"),
    [
        ("add_modelversion", [201, 403, 403, 403]),
        ("change_modelversion", [403, 200, 400, 403]),
        ("delete_modelversion", [403, 403, 403, 204]),
    ],
)
def test_a_group_grants_its_members_what_its_permissions_say(
    client: APIClient, user: User, iris: ModelVersion, codename: str, statuses: list[int]
) -> None:
    group = Group.objects.create(name="trainers")
    group.permissions.add(Permission.objects.get(codename=codename))
    user.groups.add(group)

    assert every_write(client, iris.pk) == statuses


def test_the_token_of_a_deactivated_user_ends(client: APIClient, user: User) -> None:
    User.objects.update(is_active=False)

    assert client.get(URL).status_code == 401


@pytest.mark.parametrize("path", ["{}/", "{}/predictions/"])
def test_an_id_that_no_database_can_hold_is_404(client: APIClient, path: str) -> None:
    assert client.get(URL + path.format("1" * 5000)).status_code == 404


def test_a_change_is_json_alone(admin_api: APIClient, iris: ModelVersion) -> None:
    # A form leaves booleans out that are false, and would deactivate the version.
    response = admin_api.patch(f"{URL}{iris.pk}/", {"description": "new"}, format="multipart")

    iris.refresh_from_db()
    assert response.status_code == 415
    assert iris.is_active
