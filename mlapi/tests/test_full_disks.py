"""A disk without room, or a folder that cannot be written, is 507 or 503 and leaves no file."""

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.folders import files_below

NDJSON = "application/x-ndjson"
MODELS = "/api/v1/models/"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cached_proofs")]


def fail_with(code: int) -> Callable[..., None]:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def register(api: APIClient, artifact: Artifact) -> Any:
    body = {"name": "new", "framework": "sklearn", "artifact": artifact.upload()}
    return api.post(MODELS, body, format="multipart")


@pytest.mark.parametrize(
    ("call", "code", "status"),
    [
        ("registry.artifacts.staging._write_all", errno.ENOSPC, 507),
        ("registry.artifacts.staging._write_all", errno.EDQUOT, 507),
        ("registry.artifacts.staging._write_all", errno.EROFS, 503),
        ("os.fsync", errno.EIO, 503),
        ("os.link", errno.ENOSPC, 507),
        ("os.link", errno.EACCES, 503),
    ],
)
def test_an_upload_that_cannot_be_written_leaves_nothing(
    admin_api: APIClient,
    model_path: Path,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
    status: int,
) -> None:
    admin_api.raise_request_exception = False

    with monkeypatch.context() as patch:
        patch.setattr(call, fail_with(code))
        refused = register(admin_api, iris_artifact)

    assert refused.status_code == status, refused.content
    assert refused["Retry-After"] == "30"
    assert files_below(model_path) == []
    assert not ModelVersion.objects.exists()
    assert register(admin_api, iris_artifact).status_code == 201


def test_a_missing_folder_that_cannot_be_made_is_503(
    admin_api: APIClient, model_path: Path, iris_artifact: Artifact, settings: Any
) -> None:
    admin_api.raise_request_exception = False
    model_path.write_text("a file is in the way")

    refused = register(admin_api, iris_artifact)

    assert refused.status_code == 503
    assert refused.json()["detail"] == (
        "The folder of the artifacts cannot be written. Try again later."
    )


def test_the_admins_form_answers_507_too(
    admin_client: Client,
    model_path: Path,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admin_client.raise_request_exception = False
    monkeypatch.setattr("registry.artifacts.staging._write_all", fail_with(errno.ENOSPC))

    refused = admin_client.post(
        "/admin/registry/modelversion/add/", {"name": "a", "artifact": iris_artifact.upload()}
    )

    assert refused.status_code == 507
    assert files_below(model_path) == []


def stream(client: APIClient, version: ModelVersion, artifact: Artifact) -> Any:
    client.raise_request_exception = False
    line = json.dumps(dict(artifact.row)) + "\n"
    url = f"/api/v1/predictions/batch/?model_id={version.pk}"
    return client.generic("POST", url, line, content_type=NDJSON)


def test_an_ndjson_body_without_room_is_507(
    authorized: APIClient,
    iris: ModelVersion,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Every write to it fails for want of room.
    full = Path("/dev/full").open("r+b", buffering=0)  # noqa: SIM115 -- the view closes it
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: full)

    response = stream(authorized, iris, iris_artifact)

    assert response.status_code == 507
    assert response["Retry-After"] == "30"
    assert full.closed


def test_without_a_temporary_folder_ndjson_is_503(
    authorized: APIClient,
    iris: ModelVersion,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", fail_with(errno.ENOENT))

    response = stream(authorized, iris, iris_artifact)

    assert response.status_code == 503
    assert response.json()["detail"] == "The temporary folder cannot be written. Try again later."
