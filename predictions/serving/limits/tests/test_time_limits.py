"""Slow and hung models: callers are answered by their deadline, and others keep their threads."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from django.db import connections
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.serving.limits import bulkheads
from predictions.testing.fake_models import ROW, VALUE, FakeRuntime, MakeFake, all_faces
from predictions.testing.fake_models import fake_version as fake_version
from registry.loading import loader
from registry.loading.limits import refresh_limits
from registry.models import ModelVersion
from registry.runtimes.base import DeadlineExceeded, Outputs

URL = "/api/v1/predictions/"
TIMEOUT_SECONDS = 20
Call = Callable[..., Any]


def values(n_rows: int) -> dict[str, Any]:
    return {"value": np.ones(n_rows)}


class Hanging:
    """A model that hangs until it is released."""

    def __init__(self) -> None:
        self.is_called = threading.Event()
        self._released = threading.Event()

    def __call__(self, n_rows: int) -> dict[str, Any]:
        self.is_called.set()
        assert self._released.wait(TIMEOUT_SECONDS)
        return values(n_rows)

    def release(self) -> None:
        self._released.set()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.release()


@pytest.fixture
def call(client: APIClient) -> Call:
    """POST a prediction from any thread."""

    def call(version: ModelVersion, row: list[float] = ROW, **headers: str) -> Any:
        try:
            body = {"model_id": version.pk, "input_data": {"features": row}}
            return client.post(URL, body, headers=headers)
        finally:
            if threading.current_thread() is not threading.main_thread():
                connections.close_all()

    return call


def results_of(ndjson: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(ndjson.streaming_content).splitlines()]


# -- deadlines


@pytest.mark.parametrize("batching", ["joined", "single"])
@pytest.mark.django_db
def test_a_late_answer_is_a_recorded_failure_on_every_face(
    client: APIClient, fake_version: MakeFake, batching: str
) -> None:
    def predict(n_rows: int) -> dict[str, Any]:
        time.sleep(0.3)
        return values(n_rows)

    version = fake_version([VALUE], predict, batching=batching)
    client.defaults["HTTP_X_REQUEST_TIMEOUT_MS"] = "250"

    responses = all_faces(client, version, 2)

    *lines, end = results_of(responses.pop("ndjson"))
    assert {name: r.status_code for name, r in responses.items()} == dict.fromkeys(responses, 504)
    assert all("No answer within 0.25 s" in r.content.decode() for r in responses.values())
    # A stream keeps what was answered: the first row's call was begun in time.
    assert end["summary"]["failed"] + end["summary"]["succeeded"] == len(lines) == 2
    late = Prediction.objects.filter(status="failed", prediction=None, output__isnull=True)
    assert late.count() == 1 + 4 * 2 + end["summary"]["failed"]
    assert set(late.values_list("error", flat=True)) == {"No answer within 0.25 s"}


@pytest.mark.django_db(transaction=True)
def test_a_caller_in_a_lane_is_answered_while_the_model_hangs(
    call: Call, fake_version: MakeFake, hanging: Hanging
) -> None:
    version = fake_version([VALUE], hanging, batching="joined")

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(call, version, [1.0, 1.0])
        assert hanging.is_called.wait(TIMEOUT_SECONDS)
        started = time.monotonic()
        follower = call(version, [2.0, 2.0], **{"X-Request-Timeout-Ms": "300"})
        assert time.monotonic() - started < TIMEOUT_SECONDS / 2
        assert not leader.done()
        hanging.release()
        assert leader.result(TIMEOUT_SECONDS).status_code == 201

    assert follower.status_code == 504
    assert follower.json()["type"] == "urn:mlapi:problem:prediction-timed-out"
    failed = Prediction.objects.get(status="failed")
    assert follower.json()["prediction_ids"] == [failed.pk]
    assert (failed.input_data, failed.prediction) == ({"features": [2.0, 2.0]}, None)
    assert Prediction.objects.count() == 2


@pytest.mark.django_db
def test_a_versions_own_limit_applies_and_can_be_changed(
    call: Call, fake_version: MakeFake
) -> None:
    def predict(n_rows: int) -> dict[str, Any]:
        time.sleep(0.1)
        return values(n_rows)

    version = fake_version([VALUE], predict)
    version.update(timeout_seconds=0.05)
    assert call(version).status_code == 504
    # It cannot be extended by a request.
    assert call(version, **{"X-Request-Timeout-Ms": "9000"}).status_code == 504

    version.update(timeout_seconds=60)
    refresh_limits()

    assert call(version).status_code == 201


@pytest.mark.django_db
def test_the_setting_applies_to_other_versions(
    call: Call, fake_version: MakeFake, settings: LazySettings
) -> None:
    settings.PREDICTION_TIMEOUT_SECONDS = 0.0001

    response = call(fake_version([VALUE], values))

    assert response.status_code == 504
    assert Prediction.objects.get().error == "No answer within 0.0001 s"


@pytest.mark.django_db
def test_an_interruptible_model_gets_the_time_that_is_left(
    call: Call, fake_version: MakeFake
) -> None:
    given: list[float] = []

    class Interruptible(FakeRuntime):
        def predict_within(self, inputs: Mapping[str, np.ndarray], seconds: float) -> Outputs:
            given.append(seconds)
            if seconds < 10:
                raise DeadlineExceeded("the process was killed")
            return self.predict(inputs)

    version = fake_version([VALUE], values, runtime=Interruptible)

    assert call(version).status_code == 201
    assert call(version, **{"X-Request-Timeout-Ms": "9000"}).status_code == 504
    assert 10 < given[0] <= 30
    assert 0 < given[1] <= 9
    assert Prediction.objects.get(status="failed").error == "the process was killed"


@pytest.mark.parametrize(
    ("timeout", "status"),
    [(1, 504), (0, 200), (60_000_000, 200), ("1s", 400), (-1, 400), (1.5, 400), (True, 400)],
)
@pytest.mark.django_db
def test_the_protocols_timeout_is_in_microseconds(
    client: APIClient, fake_version: MakeFake, timeout: object, status: int
) -> None:
    fake_version([VALUE], values)
    tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": ROW}

    response = client.post(
        "/v2/models/odd/infer", {"inputs": [tensor], "parameters": {"timeout": timeout}}
    )

    assert response.status_code == status


@pytest.mark.django_db
def test_an_invalid_header_answers_400_and_nothing_is_recorded(
    call: Call, fake_version: MakeFake
) -> None:
    response = call(fake_version([VALUE], values), **{"X-Request-Timeout-Ms": "1.5"})

    assert response.status_code == 400
    assert response.json()["detail"].startswith("X-Request-Timeout-Ms: Must be a whole number")
    assert not Prediction.objects.exists()


# -- bulkheads


@pytest.mark.parametrize("batching", ["joined", "single"])
@pytest.mark.django_db(transaction=True)
def test_a_hung_model_costs_only_its_share_of_the_threads(
    client: APIClient,
    call: Call,
    fake_version: MakeFake,
    hanging: Hanging,
    monkeypatch: pytest.MonkeyPatch,
    batching: str,
) -> None:
    monkeypatch.setattr(bulkheads, "PATIENCE_SECONDS", 0.3)
    version = fake_version([VALUE], hanging, batching=batching)
    version.update(max_concurrency=2)
    # Callers that have just waited for the model would count as well.
    loader.get(version.pk)

    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(call, version) for _ in range(6)]
        # Those that came before it was known give up as well.
        refused = [future for future in calls if _is_done_soon(future, 4, calls)]
        responses = all_faces(client, version, 2)
        *lines, end = results_of(responses.pop("ndjson"))
        hanging.release()
        codes = [future.result(TIMEOUT_SECONDS).status_code for future in calls]

    assert len(refused) >= 3
    assert end["summary"]["rejected"] == len(lines) == 2
    assert all("is overloaded" in line["error"] for line in lines)
    assert {name: r.status_code for name, r in responses.items()} == dict.fromkeys(responses, 503)
    assert all(int(r.headers["Retry-After"]) >= 1 for r in responses.values())
    # Two threads and, if two callers came at the same moment, one more.
    assert set(codes) == {201, 503}
    assert codes.count(201) <= 3
    assert Prediction.objects.count() == codes.count(201)
    assert call(version).status_code == 201


def _is_done_soon(future: Any, count: int, all_futures: list[Any]) -> bool:
    """Whether a call has ended, once `count` or nearly as many have."""
    deadline = time.monotonic() + TIMEOUT_SECONDS / 2
    while sum(f.done() for f in all_futures) < count - 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(future.done())


@pytest.mark.django_db(transaction=True)
def test_callers_that_wait_for_a_model_to_load_have_a_deadline_and_a_limit(
    call: Call,
    fake_version: MakeFake,
    monkeypatch: pytest.MonkeyPatch,
    settings: LazySettings,
) -> None:
    settings.MAX_CONCURRENT_PER_MODEL = 2
    monkeypatch.setattr(bulkheads, "PATIENCE_SECONDS", 0.3)
    version = fake_version([VALUE], values)
    is_loading, may_load = threading.Event(), threading.Event()

    def load(model_id: int) -> loader.LoadedModel:
        is_loading.set()
        assert may_load.wait(TIMEOUT_SECONDS)
        return loader._load_active(model_id)

    monkeypatch.setattr(loader, "cache", loader.ModelCache(load, 1))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(call, version)
        assert is_loading.wait(TIMEOUT_SECONDS)
        late = call(version, **{"X-Request-Timeout-Ms": "400"})
        with bulkheads.bulkhead_of(version.pk).place(2):
            refused = call(version)
        may_load.set()
        assert first.result(TIMEOUT_SECONDS).status_code == 201

    assert (late.status_code, refused.status_code) == (503, 503)
    assert "still being loaded" in late.json()["detail"]
    assert "is overloaded" in refused.json()["detail"]
    assert Prediction.objects.count() == 1
