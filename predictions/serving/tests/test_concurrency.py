"""Concurrent callers: each gets the answer to its own input, stored in the row with its id."""

import time
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.serving import services
from predictions.serving.questions import Caller, Question
from predictions.serving.records import Record
from registry.exact_json.values import JSONObject
from registry.loading import loader
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.databases import pool_limits, postgresql

# Each thread keeps a connection, and the tests' pool has more of them than this.
N_THREADS = 16


@pytest.fixture(autouse=True)
def room_for_all(settings: LazySettings) -> None:
    # As `serve` sets it for its threads: on a busy machine, a call may count as slow.
    settings.MAX_CONCURRENT_PER_MODEL = 2 * N_THREADS


@pytest.fixture
def pool() -> Any:
    """Threads that keep their connections, as a server's threads do."""
    with ThreadPoolExecutor(N_THREADS) as threads:
        yield threads
        barrier = Barrier(N_THREADS)

        def disconnect(_: int) -> None:
            barrier.wait(timeout=20)
            connections.close_all()

        list(threads.map(disconnect, range(N_THREADS)))


def predict(version: ModelVersion, row: JSONObject) -> Prediction | Record:
    """The recorded prediction, even if the model failed."""
    try:
        return services.predict(Question(model_id=version.pk), row)
    except services.PredictionFailed as failed:
        return Prediction.objects.get(pk=failed.extensions["prediction_ids"][0])


def random_row(model: str, random: Random, fraction: float) -> JSONObject:
    """A row for one of the three models; `fraction`, from 0 to 1, makes it unique."""
    if model == "iris":
        return {
            "features": [
                random.uniform(4, 8),
                random.uniform(2, 4.5),
                random.uniform(1, 7),
                fraction,
            ]
        }
    if model == "diabetes":
        return {"features": [random.uniform(-0.1, 0.1) for _ in range(10)]}
    # The pipeline raises for a city that is not in its training data.
    city = random.choice(["Oslo", "Rome", "Atlantis"])
    return {"city": city, "age": fraction * 50, "income": 1.0}


@pytest.mark.django_db(transaction=True)
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), count=st.integers(200, 400))
def test_answers_are_never_mixed_up(
    pool: ThreadPoolExecutor,
    iris: ModelVersion,
    diabetes: ModelVersion,
    mixed: ModelVersion,
    iris_artifact: Artifact,
    diabetes_artifact: Artifact,
    seed: int,
    count: int,
) -> None:
    random = Random(seed)  # noqa: S311
    versions = {version.name: version for version in (iris, diabetes, mixed)}
    inputs: list[tuple[ModelVersion, JSONObject]] = []
    for number in range(count):
        name = random.choice(list(versions))
        inputs.append((versions[name], random_row(name, random, number / count)))

    records = list(pool.map(lambda item: predict(*item), inputs))

    assert len({record.pk for record in records}) == count
    predictions = Prediction.objects.in_bulk([record.pk for record in records])
    for (version, row), record in zip(inputs, records, strict=True):
        stored = predictions[record.pk]
        assert (stored.model_id, stored.input_data) == (version.pk, row)
        assert (stored.prediction, stored.output) == (record.prediction, record.output)
        assert (stored.status == "failed") == (row.get("city") == "Atlantis")
        if version == iris:
            [expected] = iris_artifact.model.predict_proba([row["features"]])
            probabilities = list(stored.output["probabilities"].values())
            assert probabilities == pytest.approx(expected, abs=1e-9)
        if version == diabetes:
            [expected] = diabetes_artifact.model.predict([row["features"]])
            assert stored.prediction == pytest.approx(expected, abs=1e-9)


@pytest.mark.django_db(transaction=True)
def test_concurrent_callers_each_get_their_own_committed_row(
    iris: ModelVersion, user: User
) -> None:
    barrier = Barrier(N_THREADS)

    def call(i: int) -> Record:
        barrier.wait(timeout=20)
        try:
            question = Question(
                caller=Caller(user.pk, f"request-{i}"), model_id=iris.pk, metadata={"caller": i}
            )
            return services.predict(question, {"features": [float(i), 3.5, 1.4, 0.2]})
        finally:
            connections.close_all()

    with ThreadPoolExecutor(N_THREADS) as pool:
        records = list(pool.map(call, range(N_THREADS)))

    for i, record in enumerate(records):
        stored = Prediction.objects.get(pk=record.pk)
        assert stored.metadata == {"caller": i}
        assert stored.request_id == f"request-{i}"
        assert stored.input_data["features"][0] == i
        assert (stored.prediction, stored.output) == (record.prediction, record.output)
    assert Prediction.objects.count() == N_THREADS


@postgresql
@pytest.mark.django_db(transaction=True)
def test_one_connection_is_enough_for_all_kinds_of_calls_while_the_model_loads(
    iris: ModelVersion,
    client: APIClient,
    monkeypatch: pytest.MonkeyPatch,
    settings: LazySettings,
) -> None:
    settings.MAX_CONCURRENT_PER_MODEL = N_THREADS

    def load(model_id: int) -> loader.LoadedModel:
        # Long enough for all other callers to make their queries and wait.
        time.sleep(0.5)
        return loader._load_active(model_id)

    monkeypatch.setattr(loader, "cache", loader.ModelCache(load, 1))
    by_id: dict[str, Any] = {"model_id": iris.pk}
    by_name: dict[str, Any] = {"model": "iris:1"}
    calls: list[tuple[dict[str, Any], dict[str, str]]] = [
        (by_id, {}),
        (by_name, {}),
        (by_id, {"Idempotency-Key": "a"}),
        (by_name, {}),
    ]
    row = {"features": [5.1, 3.5, 1.4, 0.2]}

    def call(i: int) -> int:
        target, headers = calls[i % len(calls)]
        time.sleep(0.01 * i)
        try:
            body = {**target, "input_data": row}
            return client.post("/api/v1/predictions/", body, headers=headers).status_code
        finally:
            connections.close_all()

    with pool_limits(1, timeout_seconds=5), ThreadPoolExecutor(N_THREADS) as threads:
        codes = list(threads.map(call, range(N_THREADS)))

    assert set(codes) <= {200, 201}
