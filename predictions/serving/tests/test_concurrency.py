"""Many callers at once: each gets the answer to its own input, and the row with its id holds it."""

import time
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.serving import services
from predictions.serving.questions import Caller, Question
from predictions.serving.records import Record
from registry import loader
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.databases import pool_limits, postgresql

# Fewer than the tests' pool has connections: each thread keeps one.
N_THREADS = 16


@pytest.fixture
def pool() -> Any:
    """Threads that keep their connection, as a server's do."""
    with ThreadPoolExecutor(N_THREADS) as threads:
        yield threads
        barrier = Barrier(N_THREADS)

        def hang_up(_: int) -> None:
            barrier.wait(timeout=20)
            connections.close_all()

        list(threads.map(hang_up, range(N_THREADS)))


def ask(version: ModelVersion, row: dict[str, Any]) -> Prediction | Record:
    """The recorded prediction, of a model that failed too."""
    try:
        return services.predict(Question(model_id=version.pk), row)
    except services.PredictionFailed as failed:
        return Prediction.objects.get(pk=failed.extensions["prediction_ids"][0])


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
    questions: list[tuple[ModelVersion, dict[str, Any]]] = []
    for number in range(count):
        kind = random.choice(["iris", "diabetes", "mixed"])
        if kind == "iris":
            values = [
                random.uniform(4, 8),
                random.uniform(2, 4.5),
                random.uniform(1, 7),
                number / count,
            ]
            questions.append((iris, {"features": values}))
        elif kind == "diabetes":
            questions.append(
                (diabetes, {"features": [random.uniform(-0.1, 0.1) for _ in range(10)]})
            )
        else:
            # The pipeline raises for a city it has not seen.
            city = random.choice(["Oslo", "Rome", "Atlantis"])
            questions.append((mixed, {"city": city, "age": number / 7, "income": 1.0}))

    answers = list(pool.map(lambda question: ask(*question), questions))

    assert len({answer.pk for answer in answers}) == count
    stored = Prediction.objects.in_bulk([answer.pk for answer in answers])
    for (version, row), answer in zip(questions, answers, strict=True):
        kept = stored[answer.pk]
        assert (kept.model_id, kept.input_data) == (version.pk, row)
        assert (kept.prediction, kept.output) == (answer.prediction, answer.output)
        assert (kept.status == "failed") == (row.get("city") == "Atlantis")
        if version == iris:
            [expected] = iris_artifact.model.predict_proba([row["features"]])
            assert list(kept.output["probabilities"].values()) == pytest.approx(expected, abs=1e-9)
        if version == diabetes:
            [expected] = diabetes_artifact.model.predict([row["features"]])
            assert kept.prediction == pytest.approx(expected, abs=1e-9)


@pytest.mark.django_db(transaction=True)
def test_callers_at_once_each_get_their_own_committed_row(iris: ModelVersion, user: User) -> None:
    barrier = Barrier(N_THREADS)

    def ask(i: int) -> Prediction | Record:
        barrier.wait(timeout=20)
        try:
            question = Question(
                caller=Caller(user.pk, f"request-{i}"), model_id=iris.pk, metadata={"caller": i}
            )
            return services.predict(question, {"features": [float(i), 3.5, 1.4, 0.2]})
        finally:
            connections.close_all()

    with ThreadPoolExecutor(N_THREADS) as pool:
        rows = list(pool.map(ask, range(N_THREADS)))

    for i, row in enumerate(rows):
        kept = Prediction.objects.get(pk=row.pk)
        assert kept.metadata == {"caller": i}
        assert kept.request_id == f"request-{i}"
        assert kept.input_data["features"][0] == i
        assert (kept.prediction, kept.output) == (row.prediction, row.output)
    assert Prediction.objects.count() == N_THREADS


@postgresql
@pytest.mark.django_db(transaction=True)
def test_one_connection_is_enough_for_callers_of_every_kind_while_the_model_loads(
    iris: ModelVersion, client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(model_id: int) -> loader.LoadedModel:
        # All the others have made their queries and wait.
        time.sleep(0.5)
        return loader._load_active(model_id)

    monkeypatch.setattr(loader, "cache", loader.ModelCache(load, 1))
    by_id: dict[str, Any] = {"model_id": iris.pk}
    by_name: dict[str, Any] = {"model": "iris:1"}
    kinds: list[tuple[dict[str, Any], dict[str, str]]] = [
        (by_id, {}),
        (by_name, {}),
        (by_id, {"Idempotency-Key": "a"}),
        (by_name, {}),
    ]
    row = {"features": [5.1, 3.5, 1.4, 0.2]}

    def ask(i: int) -> int:
        target, headers = kinds[i % len(kinds)]
        time.sleep(0.01 * i)
        try:
            body = {**target, "input_data": row}
            return client.post("/api/v1/predictions/", body, headers=headers).status_code
        finally:
            connections.close_all()

    with pool_limits(1, timeout_seconds=5), ThreadPoolExecutor(N_THREADS) as threads:
        codes = list(threads.map(ask, range(N_THREADS)))

    assert set(codes) <= {200, 201}
