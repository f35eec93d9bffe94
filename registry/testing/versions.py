"""Versions in the database, with their files below MODEL_PATH."""

from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol

import pytest
from django.conf import LazySettings

from registry.loading import loader
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact


class MakeVersion(Protocol):
    def __call__(
        self, name: str, artifact: Artifact | None = None, **fields: Any
    ) -> ModelVersion: ...


@pytest.fixture
def model_path(tmp_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty MODEL_PATH, with an empty cache of loaded models."""
    settings.MODEL_PATH, settings.MODEL_STORAGE = tmp_path / "models", ""
    cache = loader.ModelCache(loader._load_active, settings.MODEL_CACHE_SIZE)
    monkeypatch.setattr(loader, "cache", cache)
    # Versions of other tests had the same ids.
    monkeypatch.setattr(loader, "_failures_logged", {})
    return tmp_path / "models"


@pytest.fixture
def make_version(db: None, model_path: Path) -> MakeVersion:
    """Create a version, with the file of an Artifact unless there is none."""

    def make(name: str, artifact: Artifact | None = None, **fields: Any) -> ModelVersion:
        version = ModelVersion(name=name, **{"version": "1", "framework": "sklearn", **fields})
        if artifact is not None:
            version.artifact = f"{version.name}/{version.version}/model.skops"
            version.sha256, version.size_bytes = artifact.sha256, len(artifact.content)
            # Copies, because a test may change them, and the artifact serves all tests.
            version.signature = deepcopy(artifact.proof.signature)
            version.libraries = deepcopy(artifact.proof.libraries)
            path = model_path / version.artifact
            path.parent.mkdir(parents=True)
            path.write_bytes(artifact.content)
        version.save()
        return version

    return make


@pytest.fixture
def iris(make_version: MakeVersion, iris_artifact: Artifact) -> ModelVersion:
    return make_version("iris", iris_artifact)


@pytest.fixture
def diabetes(make_version: MakeVersion, diabetes_artifact: Artifact) -> ModelVersion:
    return make_version("diabetes", diabetes_artifact)


@pytest.fixture
def mixed(make_version: MakeVersion, mixed_artifact: Artifact) -> ModelVersion:
    return make_version("mixed", mixed_artifact)
