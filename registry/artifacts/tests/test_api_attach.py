"""Attaching an artifact to a version that was registered without one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from rest_framework.test import APIClient

from registry.loading import loader
from registry.models import ModelVersion
from registry.storage.stores.folder import Folder
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client
from registry.testing.folders import files_below

URL = "/api/v1/models/"

pytestmark = pytest.mark.usefixtures("cached_proofs", "model_path")


def put_file(client: APIClient, pk: int, file: Any) -> Any:
    return client.put(f"{URL}{pk}/artifact/", {"artifact": file}, format="multipart")


@pytest.fixture
def without_file(make_version: Callable[..., ModelVersion]) -> ModelVersion:
    return make_version("iris")


def test_an_artifact_is_attached_later(
    admin_api: APIClient, without_file: ModelVersion, iris_artifact: Artifact, model_path: Path
) -> None:
    response = put_file(admin_api, without_file.pk, iris_artifact.upload())

    without_file.refresh_from_db()
    assert response.status_code == 200
    assert response.json()["sha256"] == iris_artifact.sha256 == without_file.sha256
    assert files_below(model_path) == [without_file.artifact]


def test_sending_the_same_artifact_again_changes_nothing(
    admin_api: APIClient, iris: ModelVersion, iris_artifact: Artifact, model_path: Path
) -> None:
    response = put_file(admin_api, iris.pk, iris_artifact.upload())

    assert response.status_code == 200
    assert response.json()["sha256"] == iris.sha256
    assert files_below(model_path) == [iris.artifact]


def test_a_different_artifact_answers_409(
    admin_api: APIClient, iris: ModelVersion, diabetes_artifact: Artifact, model_path: Path
) -> None:
    response = put_file(admin_api, iris.pk, diabetes_artifact.upload())

    iris.refresh_from_db()
    assert response.status_code == 409
    assert "register a new version" in response.json()["detail"]
    assert files_below(model_path) == [iris.artifact]
    assert loader.get(iris.pk).version == iris


def test_after_a_rejected_artifact_another_can_be_attached(
    admin_api: APIClient, without_file: ModelVersion, iris_artifact: Artifact, model_path: Path
) -> None:
    assert (
        put_file(admin_api, without_file.pk, SimpleUploadedFile("a.skops", b"?")).status_code == 400
    )
    assert files_below(model_path) == []

    assert put_file(admin_api, without_file.pk, iris_artifact.upload()).status_code == 200


def test_an_artifact_of_another_framework_answers_400(
    admin_api: APIClient, make_version: Callable[..., ModelVersion], iris_artifact: Artifact
) -> None:
    version = make_version("iris", framework="onnx")

    response = put_file(admin_api, version.pk, iris_artifact.upload())

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["framework"]


def test_an_artifact_for_an_unknown_version_answers_404(
    admin_api: APIClient, iris_artifact: Artifact
) -> None:
    response = put_file(admin_api, 999, iris_artifact.upload())

    assert response.status_code == 404
    assert response.json()["detail"] == "Model 999 not found"


def test_attaching_without_a_file_answers_400(
    admin_api: APIClient, without_file: ModelVersion
) -> None:
    response = admin_api.put(f"{URL}{without_file.pk}/artifact/", {}, format="multipart")

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["artifact"]


@pytest.mark.django_db(transaction=True)
def test_one_of_two_simultaneous_artifacts_is_attached(
    manager: User,
    without_file: ModelVersion,
    iris_artifact: Artifact,
    pair_artifact: Artifact,
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both_proved = Barrier(2)
    put_file_of_store = Folder.put

    def put_together(*args: Any) -> None:
        both_proved.wait(timeout=20)
        put_file_of_store(*args)

    monkeypatch.setattr(Folder, "put", put_together)

    def put(artifact: Artifact) -> int:
        try:
            response = put_file(api_client(manager), without_file.pk, artifact.upload())
            return int(response.status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(put, [iris_artifact, pair_artifact]))

    without_file.refresh_from_db()
    winner = iris_artifact if statuses[0] == 200 else pair_artifact
    assert sorted(statuses) == [200, 409]
    assert without_file.sha256 == winner.sha256
    assert files_below(model_path) == [without_file.artifact]
    assert (model_path / without_file.artifact).read_bytes() == winner.content
