"""Shadows score answered inputs again, and never delay or fail a response."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from predictions.metrics import SHADOWS_DROPPED
from predictions.models import Prediction
from predictions.serving import shadows
from predictions.serving.shadows import Backlog, Input
from registry.models import Alias, AliasShadow, ModelVersion

URL = "/api/v1/predictions/"
ROW = {"features": [5.1, 3.5, 1.4, 0.2]}

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shadow(make_version: Callable[..., ModelVersion], iris_artifact: Any) -> ModelVersion:
    return make_version("iris", iris_artifact, version="2")


@pytest.fixture
def champion(iris: ModelVersion, shadow: ModelVersion) -> Iterator[Alias]:
    alias = Alias.objects.create(name="iris", alias="champion", version=iris)
    AliasShadow.objects.create(alias=alias, version=shadow)
    yield alias
    # Otherwise shadows could write into the next test's database.
    wait_until(lambda: not shadows.backlog._busy)


def predict(client: APIClient, row: Any = ROW, **body: Any) -> Any:
    return client.post(URL, {"model": "iris", "input_data": row, **body})


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def shadow_rows() -> Any:
    return Prediction.objects.filter(arm="shadow")


def n_dropped(version: ModelVersion, reason: str) -> float:
    return float(SHADOWS_DROPPED.labels(str(version.pk), reason)._value.get())


def test_a_shadow_scores_the_answered_input(
    client: APIClient, champion: Alias, shadow: ModelVersion
) -> None:
    body = predict(client, subject="ada", reference="order-7").json()

    wait_until(shadow_rows().exists)
    row = shadow_rows().get()
    assert (row.model_id, row.primary_id, row.alias) == (shadow.pk, body["id"], "champion")
    assert (row.input_data, row.output) == (ROW, body["output"])
    assert (row.subject, row.reference, row.request_id) == ("ada", None, body["request_id"])
    assert body["model_version"] == "1"


def test_batches_are_shadowed_too(client: APIClient, champion: Alias) -> None:
    body = {"model": "iris", "inputs": [ROW] * 150}

    ids = [row["id"] for row in client.post(f"{URL}batch/", body).json()]

    wait_until(lambda: shadow_rows().count() == 150)
    assert sorted(shadow_rows().values_list("primary_id", flat=True)) == ids


def test_a_shadow_that_the_input_does_not_fit_is_recorded_as_failed(
    client: APIClient, champion: Alias, diabetes: ModelVersion
) -> None:
    AliasShadow.objects.update(version=diabetes)

    assert predict(client).status_code == 201

    wait_until(shadow_rows().exists)
    row = shadow_rows().get()
    assert row.status == "failed"
    assert "Must hold 10 values" in row.error


def test_an_inactive_shadow_is_counted_and_does_not_affect_the_response(
    client: APIClient, champion: Alias, shadow: ModelVersion
) -> None:
    ModelVersion.objects.filter(pk=shadow.pk).update(is_active=False)
    n_before = n_dropped(shadow, "unavailable") + n_dropped(shadow, "refused")

    assert predict(client).status_code == 201

    wait_until(
        lambda: n_dropped(shadow, "unavailable") + n_dropped(shadow, "refused") == n_before + 1
    )
    assert not shadow_rows().exists()


def test_deleting_a_prediction_deletes_its_shadow_rows(client: APIClient, champion: Alias) -> None:
    predict(client)
    wait_until(shadow_rows().exists)

    Prediction.objects.filter(primary=None).delete()

    assert not Prediction.objects.exists()


def test_a_response_does_not_wait_for_a_slow_shadow(
    client: APIClient, champion: Alias, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(shadows, "_answer", lambda model, batch: release.wait(20) and 0)

    codes = [predict(client).status_code for _ in range(5)]

    assert not release.is_set()
    release.set()
    assert codes == [201] * 5


# -- the backlog


def inputs(n: int, size_bytes: int = 1) -> list[Input]:
    return [Input(None, size_bytes) for _ in range(n)]  # type: ignore[arg-type]


class BlockedBacklog:
    """A backlog whose `run` blocks until `finish` is called."""

    def __init__(self) -> None:
        self.ran: list[tuple[int, int]] = []
        self.dropped: list[tuple[int, int]] = []
        self._released = threading.Event()
        self.backlog = Backlog(self.run, lambda *drop: self.dropped.append(drop))

    def run(self, model_id: int, batch: list[Input]) -> None:
        self._released.wait(20)
        self.ran.append((model_id, len(batch)))

    def finish(self) -> None:
        self._released.set()
        wait_until(lambda: not self.backlog._busy)


def test_inputs_that_do_not_fit_in_the_backlog_are_dropped_and_counted() -> None:
    blocked = BlockedBacklog()

    blocked.backlog.add(1, inputs(shadows.MAX_WAITING))
    blocked.backlog.add(1, inputs(shadows.MAX_WAITING))

    blocked.finish()
    assert (
        sum(n for _, n in blocked.ran) + sum(n for _, n in blocked.dropped)
        == 2 * shadows.MAX_WAITING
    )
    # Inputs that are being scored no longer wait.
    assert blocked.dropped[0][1] >= shadows.MAX_WAITING - shadows.BATCH_ROWS


def test_waiting_bytes_are_bounded() -> None:
    blocked = BlockedBacklog()
    half = shadows.MAX_WAITING_BYTES // 2

    blocked.backlog.add(1, inputs(shadows.BATCH_ROWS))
    wait_until(lambda: not blocked.backlog._waiting[1])
    blocked.backlog.add(1, inputs(3, half))

    blocked.finish()
    assert blocked.dropped == [(1, 1)]
    assert blocked.backlog._size_bytes == 0


def test_a_slow_shadow_does_not_hold_up_another() -> None:
    blocked = BlockedBacklog()
    ran = threading.Event()
    blocked.backlog._run = lambda model_id, batch: (
        blocked.run(model_id, batch) if model_id == 1 else ran.set()
    )

    blocked.backlog.add(1, inputs(1))
    blocked.backlog.add(2, inputs(1))

    assert ran.wait(20)
    blocked.finish()


def test_more_shadows_than_threads_all_get_their_turn() -> None:
    blocked = BlockedBacklog()

    for model_id in range(3 * shadows.MAX_THREADS):
        blocked.backlog.add(model_id, inputs(1))

    blocked.finish()
    assert sorted(blocked.ran) == [(model_id, 1) for model_id in range(3 * shadows.MAX_THREADS)]


def test_a_shadow_that_keeps_up_still_pauses() -> None:
    ran = []

    def run(model_id: int, batch: list[Input]) -> None:
        ran.append(len(batch))
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass

    backlog = Backlog(run, lambda *drop: None)
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        if not backlog._waiting.get(1):
            backlog.add(1, inputs(1))
        time.sleep(0.001)

    wait_until(lambda: not backlog._busy)
    # A batch takes 0.02 seconds of processor time, followed by a pause of 0.58 seconds.
    assert len(ran) <= 6


def test_a_thread_that_cannot_be_started_does_not_fail_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail_to_start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    blocked = BlockedBacklog()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail_to_start)
        blocked.backlog.add(1, inputs(1))

    blocked.backlog.add(1, inputs(1))

    blocked.finish()
    assert blocked.ran == [(1, 2)]
