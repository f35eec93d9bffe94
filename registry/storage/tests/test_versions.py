"""Versions whose artifacts are in object storage: registered, served, downloaded, deleted."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import transaction
from rest_framework.test import APIClient

from registry import services
from registry.artifacts.errors import StorageUnavailable
from registry.loading import loader
from registry.loading.errors import ModelNotReady
from registry.management.reproof import reprove
from registry.models import ModelVersion
from registry.signatures.synthetic_rows import synthesize_arrays
from registry.storage import files
from registry.storage.stores.base import Store
from registry.testing.artifacts import Artifact
from registry.testing.folders import files_below
from registry.testing.object_storage.fixtures import forget_clients
from registry.testing.processes import python

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("cached_proofs"),
]

URL = "/api/v1/models/"


@pytest.fixture
def register(in_bucket: str, iris_artifact: Artifact) -> Callable[[], ModelVersion]:
    return lambda: services.register_model(
        name="iris", upload=services.Upload([iris_artifact.content])
    )


def keys() -> list[str]:
    return [entry.key for entry in files.current_store().entries()]


def post(api: APIClient, artifact: Artifact) -> Any:
    body = {"name": "iris", "framework": "sklearn", "artifact": artifact.upload()}
    return api.post(URL, body, format="multipart")


def empty_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a restart, with the cached files of before."""
    monkeypatch.setattr(loader, "cache", loader.ModelCache(loader._load_active, 3))
    monkeypatch.setattr(loader, "_failures_logged", {})
    forget_clients(monkeypatch)


def empty_cache(model_path: Path) -> None:
    for path in (model_path / ".cache").iterdir():
        path.unlink()


def test_a_registered_version_is_served_from_the_storage(
    admin_api: APIClient,
    in_bucket: str,
    iris_artifact: Artifact,
    model_path: Path,
) -> None:
    response = post(admin_api, iris_artifact)

    version = ModelVersion.objects.get()
    assert response.status_code == 201, response.content
    assert version.artifact == f"{in_bucket}/{keys()[0]}"
    # Its file is cached already, and nothing else is left on this machine.
    assert files_below(model_path) == [f".cache/{iris_artifact.sha256}.skops"]
    assert loader.get(version.pk).version == version

    empty_cache(model_path)
    loader.cache.drop([version.pk])
    assert loader.get(version.pk).version == version


def test_versions_with_the_same_content_share_an_object(
    register: Callable[[], ModelVersion], model_path: Path
) -> None:
    first, second = register(), register()
    assert first.artifact == second.artifact

    services.delete_version(model_id=second.pk)

    empty_cache(model_path)
    assert loader.get(first.pk).version == first
    services.delete_version(model_id=first.pk)
    assert keys() == []


def test_the_last_deletion_removes_the_object(register: Callable[[], ModelVersion]) -> None:
    version = register()

    services.delete_version(model_id=version.pk)

    assert keys() == []


def test_a_deletion_does_not_remove_what_is_being_registered(
    register: Callable[[], ModelVersion],
) -> None:
    version = register()

    # Another registration of the same content has found the object, and commits its row later.
    with files.claimed(version.artifact):
        services.delete_version(model_id=version.pk)

    assert len(keys()) == 1


def test_a_registration_that_fails_leaves_no_object(
    register: Callable[[], ModelVersion], model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(services, "promote_first_version", fail)

    with pytest.raises(RuntimeError):
        register()

    assert keys() == []
    assert ModelVersion.objects.count() == 0
    assert files_below(model_path / ".incoming") == []


def test_no_transaction_is_open_while_an_object_is_put(
    register: Callable[[], ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_atomic = []

    def put(store: Store, *args: object) -> None:
        is_atomic.append(transaction.get_connection().in_atomic_block)
        raise StorageUnavailable("no")

    monkeypatch.setattr(files, "_put", put)

    with pytest.raises(StorageUnavailable):
        register()

    assert is_atomic == [False]


def test_registering_without_the_storage_answers_503_and_leaves_nothing(
    admin_api: APIClient,
    in_bucket: str,
    iris_artifact: Artifact,
    model_path: Path,
    without_storage: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    without_storage()

    response = post(admin_api, iris_artifact)

    assert response.status_code == 503
    assert response["Retry-After"] == "30"
    assert response.json()["type"] == "urn:mlapi:problem:storage-unavailable"
    assert "127.0.0.1" not in response.content.decode()
    assert "Cannot use s3://" in caplog.text
    assert ModelVersion.objects.count() == 0
    assert files_below(model_path) == []


def test_cached_models_are_served_without_the_storage_after_a_restart_too(
    register: Callable[[], ModelVersion],
    without_storage: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = register()
    without_storage()
    empty_memory(monkeypatch)

    assert loader.get(version.pk).version == version


def test_a_model_that_is_not_cached_answers_503_without_the_storage(
    client: APIClient,
    register: Callable[[], ModelVersion],
    model_path: Path,
    without_storage: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    version = register()
    empty_cache(model_path)
    without_storage()
    body = {"model_id": version.pk, "input_data": {"features": [5.1, 3.5, 1.4, 0.2]}}

    responses = [client.post("/api/v1/predictions/", body) for _ in range(2)]

    assert [response.status_code for response in responses] == [503, 503]
    assert responses[0]["Retry-After"] == "10"
    assert "cannot be fetched" in responses[0].json()["detail"]
    lines = [record for record in caplog.records if "iris:1" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].exc_info is None


def test_a_damaged_object_is_refused_with_its_reason(
    register: Callable[[], ModelVersion], model_path: Path
) -> None:
    version = register()
    empty_cache(model_path)
    store = files.current_store()
    wrong = model_path / "wrong"
    wrong.write_bytes(b"x" * (version.size_bytes or 0))
    store._send(wrong, keys()[0])  # type: ignore[attr-defined]

    with pytest.raises(ModelNotReady, match="has changed in the object storage"):
        loader.get(version.pk)


def test_a_version_is_downloaded_from_the_storage(
    admin_api: APIClient,
    register: Callable[[], ModelVersion],
    iris_artifact: Artifact,
    model_path: Path,
    without_storage: Callable[[], None],
) -> None:
    version = register()
    url = f"{URL}{version.pk}/artifact/"
    empty_cache(model_path)

    head = admin_api.head(url)
    assert files_below(model_path) == []
    whole = b"".join(admin_api.get(url).streaming_content)  # type: ignore[attr-defined]
    empty_cache(model_path)
    without_storage()
    refused = admin_api.get(url)

    assert int(head["Content-Length"]) == len(iris_artifact.content)
    assert "iris-1.skops" in head["Content-Disposition"]
    assert whole == iris_artifact.content
    assert refused.status_code == 503


def test_v2_tells_whether_a_version_can_be_had(
    client: APIClient,
    register: Callable[[], ModelVersion],
    model_path: Path,
    without_storage: Callable[[], None],
) -> None:
    register()
    empty_cache(model_path)

    assert client.get("/v2/models/iris/ready").status_code == 200
    without_storage()
    began_at = time.monotonic()
    assert client.get("/v2/models/iris/ready").status_code == 503
    assert client.get("/v2/models/iris/ready").status_code == 503
    assert time.monotonic() - began_at < 20


def test_an_isolated_scorer_fetches_the_file_each_time_it_starts(
    register: Callable[[], ModelVersion], model_path: Path, settings: LazySettings
) -> None:
    settings.MODEL_ISOLATION = "always"
    version = register()
    model = loader.get(version.pk)
    inputs = synthesize_arrays(model.signature, {}, 1, guess="constant")
    model.runtime.predict(inputs)

    model.runtime.close()  # type: ignore[attr-defined]
    empty_cache(model_path)
    model.runtime.predict(inputs)

    assert files_below(model_path) == [f".cache/{version.sha256}.skops"]
    model.runtime.close()  # type: ignore[attr-defined]


def test_a_version_in_the_storage_can_be_proved_again(
    register: Callable[[], ModelVersion], model_path: Path
) -> None:
    version = register()
    empty_cache(model_path)

    assert reprove(version).batching == "joined"


def test_a_version_of_the_folder_is_served_beside_those_in_the_storage(
    iris: ModelVersion, settings: LazySettings, in_bucket: str
) -> None:
    assert not iris.artifact.startswith("s3://")

    assert loader.get(iris.pk).version == iris


def test_a_process_has_one_client_for_each_bucket(in_bucket: str) -> None:
    store = files.store_at(in_bucket)

    assert files.store_at(in_bucket) is store
    assert files.locate(f"{in_bucket}/sha256/ab/abc.onnx") == (store, "sha256/ab/abc.onnx")


def test_no_client_is_made_before_it_is_needed() -> None:
    """Workers are forked, and obstore's threads do not survive that."""
    script = (
        "import sys, mlapi.wsgi; from django.conf import settings;"
        "assert settings.MODEL_STORAGE == 's3://models/production';"
        "assert 'obstore' not in sys.modules"
    )

    result = python(script, MODEL_STORAGE="s3://models/production")

    assert result.returncode == 0, result.stderr
