"""Readiness by whether the artifacts of live versions are available."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlapi.health.storage import artifact_state
from registry import services
from registry.loading import availability, loader
from registry.models import ModelVersion
from registry.storage import files
from registry.testing.artifacts import Artifact
from registry.testing.object_storage.server import S3Server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def version(in_bucket: str, cached_proofs: None, iris_artifact: Artifact) -> ModelVersion:
    return services.register_model(name="iris", upload=services.Upload([iris_artifact.content]))


def empty_cache(model_path: Path) -> None:
    for path in (model_path / ".cache").iterdir():
        path.unlink()


def test_a_folder_without_one_of_its_artifacts_is_not_ready(
    iris: ModelVersion,
    diabetes: ModelVersion,
    model_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert artifact_state([iris, diabetes]) == "ok"

    (model_path / iris.artifact).unlink()
    assert [artifact_state([iris, diabetes]) for _ in range(2)] == ["missing", "missing"]
    assert caplog.text.count("not available: iris:1") == 1

    (model_path / diabetes.artifact).write_bytes(b"other size")
    assert artifact_state([iris, diabetes]) == "unavailable"


def test_a_folder_without_live_versions_is_ready(model_path: Path) -> None:
    assert artifact_state([]) == "ok"


@pytest.mark.slow
def test_an_object_that_can_be_fetched_is_ready(version: ModelVersion, model_path: Path) -> None:
    empty_cache(model_path)

    assert artifact_state([version]) == "ok"


@pytest.mark.slow
def test_an_object_that_is_gone_is_not_ready(version: ModelVersion, model_path: Path) -> None:
    store, key = files.locate(version.artifact)
    store.delete(key)

    # Its file is cached.
    assert artifact_state([version]) == "ok"
    empty_cache(model_path)
    assert artifact_state([version]) == "unavailable"


@pytest.mark.slow
def test_cached_and_loaded_models_are_ready_without_the_storage(
    version: ModelVersion,
    model_path: Path,
    without_storage: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    loader.get(version.pk)
    without_storage()

    assert [artifact_state([version]) for _ in range(3)] == ["cached"] * 3
    assert caplog.text.count("Models are loaded from the cache") == 1
    empty_cache(model_path)
    assert artifact_state([version]) == "cached"

    loader.cache.drop([version.pk])
    assert artifact_state([version]) == "unavailable"


@pytest.mark.slow
def test_a_storage_that_hangs_is_not_asked_each_time(
    version: ModelVersion, model_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_cache(model_path)
    monkeypatch.setattr(availability, "UNUSABLE_SECONDS", 600.0)
    with s3.hanging():
        assert artifact_state([version]) == "unavailable"
        began_at = time.monotonic()
        assert artifact_state([version]) == "unavailable"
        assert time.monotonic() - began_at < 2
