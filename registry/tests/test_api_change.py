"""Versions are changed and deleted, by users with the permission."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from rest_framework.test import APIClient

from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client

URL = "/api/v1/models/"
NEW = {"name": "new", "version": "1", "framework": "sklearn"}
FIXED = ["id", "name", "version", "framework", "created_at", "created_by"]
FROM_THE_FILE = ["signature", "sha256", "size_bytes", "libraries"]

MakeVersion = Callable[..., ModelVersion]


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"accuracy": 0.5}},
        {"metrics": None},
        {"description": "new"},
        {"tags": {"a": [1, None]}},
        {"is_active": False},
        {"is_active": False, "description": ""},
        {"max_concurrency": 4, "timeout_seconds": 2.5},
        {"max_concurrency": None, "timeout_seconds": None},
        {},
    ],
)
def test_only_the_given_fields_are_changed(
    admin_api: APIClient, iris: ModelVersion, change: dict[str, Any]
) -> None:
    before = admin_api.get(f"{URL}{iris.pk}/").json()

    response = admin_api.patch(f"{URL}{iris.pk}/", change)

    assert response.status_code == 200
    assert response.json() == before | change
    assert admin_api.get(f"{URL}{iris.pk}/").json() == before | change


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_concurrency", 0),
        ("max_concurrency", 10_001),
        ("max_concurrency", 1.5),
        ("timeout_seconds", 0),
        ("timeout_seconds", -1),
        ("timeout_seconds", 86_401),
        ("timeout_seconds", "nan"),
        ("timeout_seconds", "inf"),
    ],
)
def test_a_limit_out_of_range_answers_400(
    admin_api: APIClient, iris: ModelVersion, field: str, value: object
) -> None:
    response = admin_api.patch(f"{URL}{iris.pk}/", {field: value})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]
    iris.refresh_from_db()
    assert getattr(iris, field) is None


@pytest.mark.parametrize("field", [*FIXED, *FROM_THE_FILE, "artifact"])
def test_changing_a_fixed_field_answers_400(
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
def test_an_invalid_change_answers_400(
    admin_api: APIClient, iris: ModelVersion, change: dict[str, Any]
) -> None:
    response = admin_api.patch(f"{URL}{iris.pk}/", change)

    assert response.status_code == 400
    assert list(response.json()["errors"]) == list(change)


def test_a_version_cannot_be_replaced(admin_api: APIClient, iris: ModelVersion) -> None:
    assert admin_api.put(f"{URL}{iris.pk}/", NEW).status_code == 405


def test_a_change_must_be_json(admin_api: APIClient, iris: ModelVersion) -> None:
    # A form omits false booleans, so it would deactivate the version.
    response = admin_api.patch(f"{URL}{iris.pk}/", {"description": "new"}, format="multipart")

    iris.refresh_from_db()
    assert response.status_code == 415
    assert iris.is_active


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


# -- permissions


def try_all_writes(api: APIClient, pk: int) -> list[int]:
    return [
        api.post(URL, NEW).status_code,
        api.patch(f"{URL}{pk}/", {"description": "x"}).status_code,
        api.put(f"{URL}{pk}/artifact/", {}, format="multipart").status_code,
        api.delete(f"{URL}{pk}/").status_code,
    ]


def test_a_user_without_permissions_can_only_read(client: APIClient, iris: ModelVersion) -> None:
    assert client.get(URL).status_code == 200
    assert client.get(f"{URL}{iris.pk}/").status_code == 200
    assert try_all_writes(client, iris.pk) == [403] * 4
    assert ModelVersion.objects.get().description == ""


def test_without_a_token_nothing_can_be_read_or_written(iris: ModelVersion) -> None:
    api = api_client()

    assert api.get(URL).status_code == 401
    assert api.get(f"{URL}{iris.pk}/").status_code == 401
    assert try_all_writes(api, iris.pk) == [401] * 4


@pytest.mark.parametrize(
    ("codename", "statuses"),
    [
        ("add_modelversion", [201, 403, 403, 403]),
        ("change_modelversion", [403, 200, 400, 403]),
        ("delete_modelversion", [403, 403, 403, 204]),
    ],
)
def test_a_group_grants_its_permissions_to_its_members(
    client: APIClient, user: User, iris: ModelVersion, codename: str, statuses: list[int]
) -> None:
    group = Group.objects.create(name="trainers")
    group.permissions.add(Permission.objects.get(codename=codename))
    user.groups.add(group)

    assert try_all_writes(client, iris.pk) == statuses


def test_the_token_of_a_deactivated_user_is_refused(client: APIClient, user: User) -> None:
    User.objects.update(is_active=False)

    assert client.get(URL).status_code == 401
