"""A version whose process crashes: what callers see, and how it is refused and released."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from prometheus_client import REGISTRY
from rest_framework.test import APIClient

from predictions.models import Prediction
from registry.isolation import runtime
from registry.loading import loader, quarantine, warming
from registry.models import ModelVersion

PREDICTIONS = "/api/v1/predictions/"
CRASH = 1e30
FLOWER = [5.1, 3.5, 1.4, 0.2]
# The scorer for tests, which dies of the value CRASH; it belongs to the tests of another room.
HOSTILE_SCORER = "registry.isolation.tests.hostile_scorer"


@pytest.fixture
def suspect(iris: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> ModelVersion:
    """A version that is scored in a process of its own, and crashes it on a certain input."""
    monkeypatch.setattr(runtime, "SCORER", HOSTILE_SCORER)
    # On a busy machine, its process takes long to start again.
    ModelVersion.objects.filter(pk=iris.pk).update(is_suspect=True, timeout_seconds=300)
    return iris


@pytest.fixture
def quarantined(iris: ModelVersion) -> ModelVersion:
    for _ in range(quarantine.MAX_CRASHES):
        quarantine.count_crash(iris.pk, "died of SIGSEGV")
    iris.refresh_from_db()
    return iris


def predict(client: APIClient, model_id: int, first: float = FLOWER[0]) -> Any:
    row = {"features": [first, *FLOWER[1:]]}
    return client.post(PREDICTIONS, {"model_id": model_id, "input_data": row})


def test_two_crashes_end_in_quarantine(
    client: APIClient, suspect: ModelVersion, caplog: pytest.LogCaptureFixture
) -> None:
    first = predict(client, suspect.pk, CRASH)
    between = predict(client, suspect.pk)
    second = predict(client, suspect.pk, CRASH)
    refused = predict(client, suspect.pk)

    assert first.status_code == second.status_code == 422
    assert "died of SIGSEGV" in first.json()["detail"]
    assert between.status_code == 201
    assert refused.status_code == 503
    assert refused.json()["type"] == "urn:mlapi:problem:model-quarantined"
    assert "its process died of SIGSEGV, for the second time" in refused.json()["detail"]
    assert list(Prediction.objects.order_by("pk").values_list("status", flat=True)) == [
        "failed",
        "succeeded",
        "failed",
    ]
    messages = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert any("iris:1 is in quarantine" in message for message in messages)
    assert REGISTRY.get_sample_value("mlapi_model_crashes_total", {"model": "iris:1"})


def test_a_batch_with_poison_ends_after_the_second_crash(
    client: APIClient, suspect: ModelVersion
) -> None:
    rows = [{"features": [CRASH, *FLOWER[1:]]}] * 20

    response = client.post(f"{PREDICTIONS}batch/", {"model_id": suspect.pk, "inputs": rows})

    assert response.status_code == 503
    suspect.refresh_from_db()
    assert suspect.crashes == quarantine.MAX_CRASHES


def test_poison_beside_other_rows_is_one_crash(client: APIClient, suspect: ModelVersion) -> None:
    rows = [{"features": [first, *FLOWER[1:]]} for first in (5.0, CRASH, 6.0)]

    response = client.post(f"{PREDICTIONS}batch/", {"model_id": suspect.pk, "inputs": rows})

    assert response.status_code == 422
    assert list(response.json()["errors"]) == ["inputs[1]"]
    suspect.refresh_from_db()
    assert suspect.crashes == 1
    assert predict(client, suspect.pk).status_code == 201


V2_BODY = {"inputs": [{"name": "features", "datatype": "FP64", "shape": [1, 4], "data": FLOWER}]}


@pytest.mark.parametrize(
    "send",
    [
        lambda c, pk: predict(c, pk),
        lambda c, pk: c.post(PREDICTIONS, {"model": "iris:1", "input_data": {"features": FLOWER}}),
        lambda c, pk: c.post(
            f"{PREDICTIONS}batch/", {"model_id": pk, "inputs": [{"features": FLOWER}]}
        ),
        lambda c, pk: c.post("/v2/models/iris/versions/1/infer", V2_BODY),
        lambda c, pk: c.post("/v1/models/iris:1:predict", {"instances": [FLOWER]}),
        lambda c, pk: c.post(f"/api/v1/models/{pk}/invocations/", {"inputs": [FLOWER]}),
        lambda c, pk: c.generic(
            "POST",
            f"{PREDICTIONS}batch/?model_id={pk}",
            '{"features": [5.1, 3.5, 1.4, 0.2]}\n',
            content_type="application/x-ndjson",
        ),
        lambda c, pk: c.get("/v2/models/iris/versions/1/ready"),
    ],
    ids=["predict", "specifier", "batch", "v2", "v1", "invocations", "ndjson", "v2-ready"],
)
def test_a_version_in_quarantine_is_refused(
    send: Callable[[APIClient, int], Any], client: APIClient, quarantined: ModelVersion
) -> None:
    response = send(client, quarantined.pk)

    assert response.status_code == 503, response.content
    assert not Prediction.objects.exists()


def test_the_command_releases_a_version(
    client: APIClient, quarantined: ModelVersion, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("release_model", "iris:1")

    assert "Released iris:1" in capsys.readouterr().out
    quarantined.refresh_from_db()
    assert (quarantined.crashes, quarantined.quarantined_at) == (0, None)
    # It stays a suspect: the next crash must not cost other callers.
    assert quarantined.is_suspect


def test_the_admin_shows_and_releases_a_version(
    admin_client: Client, quarantined: ModelVersion
) -> None:
    page = f"/admin/registry/modelversion/{quarantined.pk}/change/"
    assert "in quarantine since" in admin_client.get(page).content.decode()

    response = admin_client.post(
        "/admin/registry/modelversion/",
        {"action": "release", "_selected_action": [quarantined.pk]},
        follow=True,
    )

    assert "1 version released from quarantine." in response.content.decode()
    quarantined.refresh_from_db()
    assert quarantined.quarantined_at is None


def test_the_api_shows_the_quarantine(client: APIClient, quarantined: ModelVersion) -> None:
    body = client.get(f"/api/v1/models/{quarantined.pk}/").json()

    assert body["quarantined_at"]
    assert "died of SIGSEGV" in body["quarantine_reason"]


def test_other_workers_forget_a_version_in_quarantine(
    client: APIClient, iris: ModelVersion
) -> None:
    loader.get(iris.pk)
    ModelVersion.objects.filter(pk=iris.pk).update(
        quarantined_at=iris.created_at, quarantine_reason="elsewhere"
    )

    warming._forget_unusable()

    assert loader.loaded_specifiers() == []
    assert predict(client, iris.pk).status_code == 503
    assert REGISTRY.get_sample_value("mlapi_quarantined_models") == 1


def test_an_alias_does_not_move_to_a_version_in_quarantine(
    admin_api: APIClient, quarantined: ModelVersion
) -> None:
    response = admin_api.put("/api/v1/aliases/iris/champion/", {"version": "1"})

    assert response.status_code == 409
    assert "is in quarantine: its process died of SIGSEGV" in response.json()["detail"]
