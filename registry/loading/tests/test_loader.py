"""The cache of loaded models."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from rest_framework.test import APIClient

from registry.loading import loader, warming
from registry.loading.loader import ArtifactMissing, LoadedModel, ModelCache, ModelNotReady
from registry.models import ModelNotFound, ModelVersion
from registry.storage.stores import folder
from registry.testing.artifacts import Artifact

PREDICTIONS = "/api/v1/predictions/"
N_THREADS = 16


def fake_model(pk: int) -> LoadedModel:
    version = ModelVersion(pk=pk, name=f"m{pk}", version="1")
    return LoadedModel(version, runtime=None, signature=None)  # type: ignore[arg-type]


def cached_ids(cache: ModelCache) -> list[int]:
    return [model.version.pk for model in cache.models()]


def test_a_full_cache_drops_the_least_recently_used_model() -> None:
    cache = ModelCache(fake_model, capacity=2)

    for pk in (1, 2, 1, 3):
        cache.get(pk)

    assert cached_ids(cache) == [1, 3]


def test_a_cached_model_is_not_loaded_again() -> None:
    loads = []

    def load(pk: int) -> LoadedModel:
        loads.append(pk)
        return fake_model(pk)

    cache = ModelCache(load, capacity=2)

    assert cache.get(1) is cache.get(1)
    assert loads == [1]


def test_simultaneous_requests_share_one_load() -> None:
    loads = []
    barrier = threading.Barrier(N_THREADS)

    def load(pk: int) -> LoadedModel:
        loads.append(pk)
        time.sleep(0.1)
        return fake_model(pk)

    cache = ModelCache(load, capacity=2)

    def request(_: int) -> LoadedModel:
        barrier.wait(timeout=10)
        return cache.get(1)

    with ThreadPoolExecutor(N_THREADS) as pool:
        models = list(pool.map(request, range(N_THREADS)))

    assert loads == [1]
    assert all(model is models[0] for model in models)


def test_different_models_load_concurrently() -> None:
    both_loading = threading.Barrier(2)

    def load(pk: int) -> LoadedModel:
        both_loading.wait(timeout=10)
        return fake_model(pk)

    cache = ModelCache(load, capacity=2)

    with ThreadPoolExecutor(2) as pool:
        assert len(list(pool.map(cache.get, [1, 2]))) == 2


def test_a_cached_model_is_available_while_another_loads() -> None:
    has_started, may_finish = threading.Event(), threading.Event()

    def load(pk: int) -> LoadedModel:
        if pk == 2:
            has_started.set()
            may_finish.wait(timeout=10)
        return fake_model(pk)

    cache = ModelCache(load, capacity=2)
    cache.get(1)

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(cache.get, 2)
        assert has_started.wait(timeout=10)
        try:
            assert pool.submit(cache.get, 1).result(timeout=5).version.pk == 1
        finally:
            may_finish.set()
        assert slow.result(timeout=10).version.pk == 2


def test_the_old_model_is_evicted_only_after_the_new_one_is_loaded() -> None:
    cached_at_load: list[list[int]] = []

    def load(pk: int) -> LoadedModel:
        cached_at_load.append(cached_ids(cache))
        return fake_model(pk)

    cache = ModelCache(load, capacity=1)

    cache.get(1)
    cache.get(2)

    assert cached_at_load == [[], [1]]
    assert cached_ids(cache) == [2]


def test_a_failed_load_evicts_nothing() -> None:
    def load(pk: int) -> LoadedModel:
        if pk == 2:
            raise ModelNotReady("no")
        return fake_model(pk)

    cache = ModelCache(load, capacity=1)
    cache.get(1)

    with pytest.raises(ModelNotReady):
        cache.get(2)

    assert cached_ids(cache) == [1]


def test_a_failed_load_fails_for_every_waiter_and_is_retried_by_the_next() -> None:
    attempts = []
    barrier = threading.Barrier(N_THREADS)

    def load(pk: int) -> LoadedModel:
        attempts.append(pk)
        if len(attempts) == 1:
            time.sleep(0.2)
            raise ModelNotReady("not now")
        return fake_model(pk)

    cache = ModelCache(load, capacity=2)

    def request(_: int) -> str:
        barrier.wait(timeout=10)
        try:
            return str(cache.get(1).version)
        except ModelNotReady as error:
            return str(error)

    with ThreadPoolExecutor(N_THREADS) as pool:
        assert list(pool.map(request, range(N_THREADS))) == ["not now"] * N_THREADS
    assert str(cache.get(1).version) == "m1:1"
    assert attempts == [1, 1]


@pytest.mark.django_db(transaction=True)
def test_simultaneous_requests_read_the_file_once(
    iris: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    digest, barrier = folder.digest, threading.Barrier(N_THREADS)

    def count(path: Path) -> str:
        digests.append(path)
        time.sleep(0.1)
        return digest(path)

    monkeypatch.setattr(folder, "digest", count)

    def request(_: int) -> LoadedModel:
        barrier.wait(timeout=20)
        try:
            return loader.get(iris.pk)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(N_THREADS) as pool:
        assert len(set(pool.map(request, range(N_THREADS)))) == 1
    assert len(digests) == 1


def test_a_model_in_memory_takes_no_query(
    iris: ModelVersion, django_assert_num_queries: Any
) -> None:
    loader.get(iris.pk)

    with django_assert_num_queries(0):
        loader.get(iris.pk)


def test_a_loaded_model_has_its_proved_signature(
    iris: ModelVersion, iris_artifact: Artifact
) -> None:
    model = loader.get(iris.pk)

    assert model.signature.as_json() == iris_artifact.proof.signature
    assert loader.loaded_specifiers() == ["iris:1"]


@pytest.mark.parametrize("damage", ["changed", "longer", "gone"])
def test_a_changed_artifact_is_refused_and_logged(
    damage: str,
    client: APIClient,
    iris: ModelVersion,
    model_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = model_path / iris.artifact
    content = path.read_bytes()
    path.write_bytes(content + b"x" if damage == "longer" else content[:-1] + b"x")
    if damage == "gone":
        path.unlink()

    response = client.post(
        PREDICTIONS, {"model_id": iris.pk, "input_data": {"features": [5.1, 3.5, 1.4, 0.2]}}
    )

    assert response.status_code == 503
    assert response["Retry-After"] == "10"
    assert f"Model {iris.pk}" in response.json()["detail"]
    assert str(model_path) not in response.content.decode()
    assert any(
        record.levelname == "ERROR" and "iris:1" in record.getMessage() for record in caplog.records
    )


def test_an_artifact_outside_the_models_folder_is_not_loaded(
    iris: ModelVersion, model_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside = model_path.parent / "outside.skops"
    outside.write_bytes((model_path / iris.artifact).read_bytes())
    ModelVersion.objects.update(artifact="../outside.skops")

    with pytest.raises(ModelNotReady):
        loader.get(iris.pk)


def test_a_restored_artifact_can_be_loaded_again(iris: ModelVersion, model_path: Path) -> None:
    path = model_path / iris.artifact
    path.rename(path.with_suffix(".away"))
    with pytest.raises(ModelNotReady):
        loader.get(iris.pk)
    path.with_suffix(".away").rename(path)

    assert loader.get(iris.pk).version == iris


def test_a_version_without_an_artifact_is_not_loaded(
    make_version: Callable[..., ModelVersion],
) -> None:
    version = make_version("no-file")

    with pytest.raises(ArtifactMissing, match=f"Model {version.pk} has no artifact yet"):
        loader.get(version.pk)


def test_an_inactive_version_is_not_loaded(iris: ModelVersion) -> None:
    iris.update(is_active=False)

    with pytest.raises(ModelNotFound):
        loader.get(iris.pk)


@pytest.mark.django_db(transaction=True)
def test_preload_loads_the_newest_active_versions_and_skips_broken_ones(
    make_version: Callable[..., ModelVersion], iris_artifact: Artifact, model_path: Path
) -> None:
    for name in ("oldest", "old", "broken", "newest"):
        make_version(name, iris_artifact)
    make_version("retired", iris_artifact, is_active=False)
    make_version("without-file")
    (model_path / "broken/1/model.skops").unlink()

    warming.preload()

    # The cache holds three. The newest is evicted last.
    assert loader.loaded_specifiers() == ["old:1", "newest:1"]


def test_a_file_whose_outputs_are_read_differently_than_at_registration_is_not_served(
    iris: ModelVersion, client: APIClient, caplog: pytest.LogCaptureFixture
) -> None:
    outputs = [{**output, "kind": "value", "classes": []} for output in iris.signature["outputs"]]
    ModelVersion.objects.filter(pk=iris.pk).update(signature=iris.signature | {"outputs": outputs})
    row = {"features": [5.1, 3.5, 1.4, 0.2]}

    response = client.post(PREDICTIONS, {"model_id": iris.pk, "input_data": row})

    assert response.status_code == 503
    assert "manage.py reprove_models" in caplog.text


def test_a_file_whose_classes_are_read_in_another_order_is_not_served(
    iris: ModelVersion, client: APIClient, caplog: pytest.LogCaptureFixture
) -> None:
    outputs = [
        {**output, "classes": ["versicolor", "setosa", "virginica"]}
        for output in iris.signature["outputs"]
    ]
    ModelVersion.objects.filter(pk=iris.pk).update(signature=iris.signature | {"outputs": outputs})
    row = {"features": [5.1, 3.5, 1.4, 0.2]}

    response = client.post(PREDICTIONS, {"model_id": iris.pk, "input_data": row})

    assert response.status_code == 503
    assert "manage.py reprove_models" in caplog.text
