"""Files of multipart requests: written once, and discarded unless they are placed."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.files import uploadedfile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from rest_framework.test import APIClient

from registry.artifacts.staging import StagedFile, StagingWriter
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client
from registry.testing.folders import files_below

URL = "/api/v1/models/"
ADMIN_URL = "/admin/registry/modelversion/add/"
MINIMAL = {"name": "iris", "version": "1", "framework": "sklearn"}

pytestmark = pytest.mark.usefixtures("cached_proofs", "model_path")


def form(**fields: Any) -> bytes:
    return encode_multipart(BOUNDARY, {**MINIMAL, **fields})


def post_body(client: APIClient, body: bytes, **extra: Any) -> Any:
    client.raise_request_exception = False
    return client.post(URL, body, content_type=MULTIPART_CONTENT, **extra)


class FailingStream(io.RawIOBase):
    """The body of a client whose connection is reset after the first bytes."""

    def __init__(self, first: bytes) -> None:
        self._first = first

    def read(self, size: int = -1, /) -> bytes:
        if not self._first:
            raise ConnectionResetError
        part, self._first = self._first[:size], self._first[size:]
        return part


@pytest.fixture
def bytes_written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the writes to staged files; fails if Django makes a temporary file."""
    sizes = []
    write = os.write

    def count(descriptor: int, data: bytes) -> int:
        sizes.append(write(descriptor, data))
        return sizes[-1]

    def fail(*args: object, **kwargs: object) -> None:
        pytest.fail("Django copied the upload to a temporary file")

    monkeypatch.setattr(os, "write", count)
    monkeypatch.setattr(uploadedfile.TemporaryUploadedFile, "__init__", fail)
    return sizes


@pytest.fixture
def staged_inodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of the files that are staged."""
    inodes = []
    finish = StagingWriter.finish

    def remember(writer: StagingWriter) -> StagedFile:
        staged = finish(writer)
        inodes.append(staged.path.stat().st_ino)
        return staged

    monkeypatch.setattr(StagingWriter, "finish", remember)
    return inodes


def test_a_registration_through_the_api_writes_the_file_once(
    admin_api: APIClient,
    iris_artifact: Artifact,
    model_path: Path,
    bytes_written: list[int],
    staged_inodes: list[int],
) -> None:
    response = admin_api.post(
        URL, {**MINIMAL, "artifact": iris_artifact.upload()}, format="multipart"
    )

    assert response.status_code == 201
    assert sum(bytes_written) == len(iris_artifact.content)
    [stored] = files_below(model_path)
    assert [(model_path / stored).stat().st_ino] == staged_inodes


def test_an_upload_through_the_admin_writes_the_file_once(
    admin_client: Client,
    iris_artifact: Artifact,
    model_path: Path,
    bytes_written: list[int],
    staged_inodes: list[int],
) -> None:
    fields = {"name": "iris", "metrics": "null", "tags": "{}", "model_file": iris_artifact.upload()}

    response = admin_client.post(ADMIN_URL, fields)

    assert response.status_code == 302
    assert sum(bytes_written) == len(iris_artifact.content)
    [stored] = files_below(model_path)
    assert [(model_path / stored).stat().st_ino] == staged_inodes


def test_a_file_above_the_limit_is_not_written_beyond_it(
    admin_api: APIClient, model_path: Path, settings: LazySettings, bytes_written: list[int]
) -> None:
    settings.MAX_ARTIFACT_BYTES = 100_000
    file = SimpleUploadedFile("model.skops", b"x" * 1_000_000)

    response = admin_api.post(URL, {**MINIMAL, "artifact": file}, format="multipart")

    assert response.status_code == 413
    assert sum(bytes_written) <= 100_000
    assert files_below(model_path) == []


def test_other_errors_are_reported_before_the_size_of_the_file(
    admin_api: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.MAX_ARTIFACT_BYTES = 100

    def post(**fields: str) -> Any:
        file = SimpleUploadedFile("model.skops", b"x" * 101)
        return admin_api.post(URL, {**MINIMAL, **fields, "artifact": file}, format="multipart")

    assert post(name="../x").status_code == 400
    assert post().status_code == 409
    assert post(version="2").status_code == 413


def test_a_body_that_ends_early_leaves_nothing(
    admin_api: APIClient,
    make_version: Callable[..., ModelVersion],
    iris_artifact: Artifact,
    model_path: Path,
) -> None:
    version = make_version("iris")
    body = encode_multipart(BOUNDARY, {"artifact": iris_artifact.upload()})
    part = body[: body.index(iris_artifact.content) + 1000]

    response = admin_api.put(f"{URL}{version.pk}/artifact/", part, content_type=MULTIPART_CONTENT)

    assert response.status_code == 400
    assert files_below(model_path) == []


def test_a_connection_that_is_reset_leaves_nothing(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path
) -> None:
    body = form(artifact=iris_artifact.upload())
    stream = FailingStream(body[: body.index(iris_artifact.content) + 1000])

    post_body(admin_api, body, **{"wsgi.input": stream})

    assert files_below(model_path) == []
    assert not ModelVersion.objects.exists()


def test_an_unacceptable_form_leaves_nothing(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path
) -> None:
    named_like_a_path = SimpleUploadedFile("x", b"x")
    body = form(artifact=iris_artifact.upload(), second=named_like_a_path)
    body = body.replace(b'filename="x"', b'filename="../x"')

    response = post_body(admin_api, body)

    assert response.status_code == 400
    assert files_below(model_path) == []


def test_a_file_in_an_unknown_field_leaves_nothing(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path
) -> None:
    body = form(artifact=iris_artifact.upload(), other=iris_artifact.upload())

    response = post_body(admin_api, body)

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["other"]
    assert files_below(model_path) == []


@pytest.mark.parametrize("is_logged_in", [False, True])
def test_without_permission_nothing_is_written(
    user: User,
    iris_artifact: Artifact,
    model_path: Path,
    bytes_written: list[int],
    is_logged_in: bool,
) -> None:
    client = api_client(user if is_logged_in else None)

    response = post_body(client, form(artifact=iris_artifact.upload()))

    assert response.status_code == (403 if is_logged_in else 401)
    assert bytes_written == []
    assert not model_path.exists()


def test_an_admin_upload_without_a_csrf_token_leaves_nothing(
    db: None, iris_artifact: Artifact, model_path: Path
) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("root"))

    response = browser.post(ADMIN_URL, {"name": "iris", "model_file": iris_artifact.upload()})

    assert response.status_code == 403
    assert files_below(model_path) == []


def test_an_unwritable_models_folder_is_an_error_that_shows_no_path(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path, settings: LazySettings
) -> None:
    model_path.parent.mkdir(parents=True, exist_ok=True)
    model_path.write_bytes(b"")

    response = post_body(admin_api, form(artifact=iris_artifact.upload()))

    assert response.status_code == 503
    assert str(model_path) not in response.content.decode()
    assert not ModelVersion.objects.exists()
