"""Downloading artifacts: whole, in part, or not at all."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from rest_framework.test import APIClient

from registry.models import AuditEvent, Grant, ModelVersion, RegisteredModel
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client, text_of


def url(version: ModelVersion) -> str:
    return f"/api/v1/models/{version.pk}/artifact/"


def content(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def downloads() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action="artifact_downloaded").order_by("id"))


@pytest.fixture
def api(user: User) -> APIClient:
    """A user who may view versions."""
    user.user_permissions.add(Permission.objects.get(codename="view_modelversion"))
    return api_client(user)


def test_an_artifact_is_downloaded_with_its_digest(
    api: APIClient, user: User, iris: ModelVersion, iris_artifact: Artifact
) -> None:
    response = api.get(url(iris))

    body = content(response)
    assert (response.status_code, body) == (200, iris_artifact.content)
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert response["Repr-Digest"] == f"sha-256=:{digest}:"
    assert response["Content-Length"] == str(len(body))
    assert response["Content-Disposition"] == 'attachment; filename="iris-1.skops"'
    assert response["Content-Type"] == "application/octet-stream"
    [event] = downloads()
    assert (event.user, event.model, event.target) == (user, "iris", "iris:1")
    assert event.details["sha256"] == iris.sha256


def test_head_tells_of_the_file_without_sending_it(api: APIClient, iris: ModelVersion) -> None:
    response = api.head(url(iris))

    assert (response.status_code, response.content) == (200, b"")
    assert response["Content-Length"] == str(iris.size_bytes)
    assert response["ETag"] == f'"{iris.sha256}"'
    assert downloads() == []


def test_a_client_that_has_the_file_gets_304(api: APIClient, iris: ModelVersion) -> None:
    response = api.get(url(iris), headers={"If-None-Match": f'"{iris.sha256}"'})

    assert (response.status_code, response.content) == (304, b"")
    assert downloads() == []


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=10-", 10, None),
        ("bytes=-5", -5, None),
        ("bytes=0-99999999999", 0, None),
    ],
)
def test_a_part_is_downloaded(
    api: APIClient,
    iris: ModelVersion,
    iris_artifact: Artifact,
    asked: str,
    first: int,
    last: int | None,
) -> None:
    response = api.get(url(iris), headers={"Range": asked})

    size = len(iris_artifact.content)
    first, end = first % size, size if last is None else last + 1
    expected = iris_artifact.content[first:end]
    is_part = len(expected) < size
    assert content(response) == expected
    assert response.status_code == (206 if is_part else 200)
    assert response["Content-Length"] == str(len(expected))
    if is_part:
        assert response["Content-Range"] == f"bytes {first}-{end - 1}/{size}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=-", "bytes=9-3", "lines=1-2", "x"])
def test_other_ranges_are_ignored(api: APIClient, iris: ModelVersion, asked: str) -> None:
    response = api.get(url(iris), headers={"Range": asked})

    assert (response.status_code, len(content(response))) == (200, iris.size_bytes)


def test_a_range_of_another_file_is_ignored(api: APIClient, iris: ModelVersion) -> None:
    headers = {"Range": "bytes=0-1", "If-Range": '"other"'}

    assert len(content(api.get(url(iris), headers=headers))) == iris.size_bytes


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_a_range_after_the_end_is_refused(api: APIClient, iris: ModelVersion, asked: str) -> None:
    response = api.get(url(iris), headers={"Range": asked})

    assert response.status_code == 416
    assert response["Content-Range"] == f"bytes */{iris.size_bytes}"


def test_a_version_without_a_file_answers_409(api: APIClient, db: None) -> None:
    version = ModelVersion.objects.create(name="m", version="1", framework="sklearn")

    assert api.get(url(version)).status_code == 409
    assert api.get("/api/v1/models/999999/artifact/").status_code == 404


def test_a_missing_or_shorter_file_answers_503(
    api: APIClient, iris: ModelVersion, model_path: Path
) -> None:
    file = model_path / iris.artifact
    file.write_bytes(b"other")
    shorter = api.get(url(iris))
    file.unlink()
    missing = api.get(url(iris))

    assert (shorter.status_code, missing.status_code) == (503, 503)
    assert "changed on disk" in shorter.json()["detail"]
    assert "missing" in missing.json()["detail"]
    assert downloads() == []


def test_a_changed_file_of_the_same_size_is_cut_off(
    api: APIClient, iris: ModelVersion, iris_artifact: Artifact, model_path: Path
) -> None:
    changed = bytes(reversed(iris_artifact.content))
    (model_path / iris.artifact).write_bytes(changed)
    response = api.get(url(iris))

    with pytest.raises(OSError, match="changed on disk"):
        content(response)
    response.close()


def test_downloads_need_a_right(client: APIClient, user: User, iris: ModelVersion) -> None:
    assert api_client().get(url(iris)).status_code == 401
    assert client.get(url(iris)).status_code == 403

    model = RegisteredModel.objects.get(name="iris")
    Grant.objects.create(registered_model=model, user=user, manage_versions=True)
    assert len(content(client.get(url(iris)))) == iris.size_bytes


def test_the_admin_links_to_the_file(admin_client: Client, iris: ModelVersion) -> None:
    page = f"/admin/registry/modelversion/{iris.pk}"

    assert f'href="{page}/artifact/"' in text_of(admin_client.get(f"{page}/change/"))
    assert len(content(admin_client.get(f"{page}/artifact/"))) == iris.size_bytes
    assert len(downloads()) == 1
    assert admin_client.get("/admin/registry/modelversion/9999/artifact/").status_code == 404


def test_the_admin_needs_the_permission_too(user: User, iris: ModelVersion) -> None:
    User.objects.filter(pk=user.pk).update(is_staff=True)
    browser = Client()
    browser.force_login(user)

    path = f"/admin/registry/modelversion/{iris.pk}/artifact/"
    assert browser.get(path).status_code == 403
