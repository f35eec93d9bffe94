"""Which versions are in memory before anyone asks for them."""

import logging
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from registry.aliases import moves
from registry.aliases.validation import MoveRefused
from registry.loading import loader, warming
from registry.loading.cache import LoadedModel, ModelCache
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion


def model_of(pk: int, size_bytes: int = 0) -> LoadedModel:
    version = ModelVersion(pk=pk, name=f"m{pk}", version="1", size_bytes=size_bytes)
    return LoadedModel(version, runtime=None, signature=None)  # type: ignore[arg-type]


def ids(cache: ModelCache) -> list[int]:
    return [model.version.pk for model in cache.models()]


def test_the_cache_is_bounded_in_bytes() -> None:
    # Each model takes twice the size of its file.
    cache = ModelCache(lambda pk: model_of(pk, 100), capacity=10, capacity_bytes=450)

    for pk in (1, 2, 3):
        cache.get(pk)

    assert ids(cache) == [2, 3]


def test_a_model_larger_than_the_cache_is_still_served() -> None:
    cache = ModelCache(lambda pk: model_of(pk, 1000), capacity=10, capacity_bytes=1)

    cache.get(1)

    assert ids(cache) == [1]


def test_what_is_live_is_never_evicted(caplog: pytest.LogCaptureFixture) -> None:
    cache = ModelCache(model_of, capacity=2)
    cache.keep([1, 2, 3])

    for pk in (1, 2, 3, 4, 5):
        cache.get(pk)

    assert ids(cache) == [1, 2, 3, 5]
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "MODEL_CACHE_SIZE is 2" in warnings[0].getMessage()


def test_what_is_not_live_any_longer_can_be_evicted() -> None:
    cache = ModelCache(model_of, capacity=1)
    cache.keep([1])
    cache.get(1)
    cache.keep([])

    cache.get(2)

    assert ids(cache) == [2]


@pytest.mark.django_db(transaction=True)
def test_live_versions_are_loaded_before_newer_ones(
    make_version: MakeVersion, iris_artifact: Artifact, settings: Any
) -> None:
    for number in ("1", "2", "3"):
        make_version("iris", iris_artifact, version=number)
    moves.set_alias(name="iris", alias="champion", version="1", canary=("2", 10.0), shadows=["3"])
    for name in ("newer", "newest"):
        make_version(name, iris_artifact)
    loader.cache.drop([model.version.pk for model in loader.cache.models()])

    warming.preload()

    assert loader.loaded_specifiers() == ["iris:1", "iris:2", "iris:3"]


@pytest.mark.django_db(transaction=True)
def test_a_version_that_an_alias_gets_is_loaded_beside_the_running_server(
    make_version: MakeVersion, iris_artifact: Artifact
) -> None:
    make_version("iris", iris_artifact)
    warming.preload()
    make_version("iris", iris_artifact, version="2")
    moves.set_alias(name="iris", alias="champion", version="2")
    # As another worker, which did not move the alias.
    loader.cache.drop([model.version.pk for model in loader.cache.models()])

    warming.refresh()

    assert loader.loaded_specifiers() == ["iris:2"]
    assert warming.unloaded_live_versions() == []


@pytest.mark.django_db(transaction=True)
def test_an_inactive_version_is_unloaded(iris: ModelVersion) -> None:
    loader.get(iris.pk)
    iris.update(is_active=False)

    warming.refresh()

    assert loader.loaded_specifiers() == []


@pytest.mark.django_db(transaction=True)
def test_readiness_waits_for_live_versions_but_not_for_broken_ones(
    make_version: MakeVersion,
    iris_artifact: Artifact,
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("broken", "good"):
        make_version(name, iris_artifact)
        moves.set_alias(name=name, alias="champion", version="1")
    (model_path / "broken/1/model.skops").unlink()
    loader.cache.drop([model.version.pk for model in loader.cache.models()])
    monkeypatch.setattr(warming, "_pending", warming._Pending())
    seen: list[list[str]] = []
    load = warming._load

    def watch(version: ModelVersion) -> None:
        seen.append(warming.unloaded_live_versions())
        load(version)

    monkeypatch.setattr(warming, "_load", watch)

    warming.refresh()
    warming.refresh()

    assert seen == [["good:1", "broken:1"], ["broken:1"]]
    assert warming.unloaded_live_versions() == []
    assert loader.loaded_specifiers() == ["good:1"]


def test_an_alias_does_not_move_to_a_version_that_cannot_be_loaded(
    iris: ModelVersion, model_path: Path
) -> None:
    (model_path / iris.artifact).unlink()

    with pytest.raises(MoveRefused, match="its artifact is missing"):
        moves.set_alias(name="iris", alias="champion", version="1")


def test_a_missing_artifact_logs_one_line_without_a_traceback(
    client: APIClient, iris: ModelVersion, model_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (model_path / iris.artifact).unlink()
    body = {"model_id": iris.pk, "input_data": {"features": [5.1, 3.5, 1.4, 0.2]}}

    statuses = [client.post("/api/v1/predictions/", body).status_code for _ in range(3)]

    assert statuses == [503, 503, 503]
    lines = [r for r in caplog.records if "iris:1" in r.getMessage()]
    assert len(lines) == 1
    assert lines[0].exc_info is None


@pytest.mark.django_db(transaction=True)
def test_a_version_whose_library_fails_does_not_keep_others_from_being_loaded(
    make_version: MakeVersion, iris_artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("good", "odd"):
        make_version(name, iris_artifact)
        moves.set_alias(name=name, alias="champion", version="1")
    loader.cache.drop([model.version.pk for model in loader.cache.models()])
    monkeypatch.setattr(warming, "_pending", warming._Pending())
    get = loader.get

    def fail(model_id: int) -> LoadedModel:
        model = get(model_id)
        if model.version.name == "odd":
            raise RuntimeError("what no library documents")
        return model

    monkeypatch.setattr(loader, "get", fail)

    warming.refresh()

    assert "good:1" in loader.loaded_specifiers()
    assert warming.unloaded_live_versions() == []
