"""A version on another server, through the API: registration, predictions, and outages."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from predictions.models import Prediction
from registry.models import ModelVersion
from registry.testing.remote_server import Reply, StubServer, stub_server

MODELS, PREDICTIONS = "/api/v1/models/", "/api/v1/predictions/"

pytestmark = [pytest.mark.usefixtures("model_path"), pytest.mark.django_db]


@pytest.fixture
def server(settings: LazySettings) -> Iterator[StubServer]:
    with stub_server() as server:
        settings.REMOTE_ORIGINS = [server.origin]
        yield server


def register(admin_api: APIClient, document: dict[str, Any], **fields: Any) -> Any:
    file = SimpleUploadedFile("remote.json", json.dumps(document).encode())
    body = {"name": "remote", "version": "1", "framework": "open-inference", "artifact": file}
    return admin_api.post(MODELS, body | fields, format="multipart")


@pytest.fixture
def version(admin_api: APIClient, server: StubServer) -> ModelVersion:
    response = register(admin_api, server.document())
    assert response.status_code == 201, response.content
    return ModelVersion.objects.get()


def predict(client: APIClient, version: ModelVersion, row: Any = (1.0, 2.5)) -> Any:
    body = {"model_id": version.pk, "input_data": {"features": list(row)}}
    return client.post(PREDICTIONS, body)


def test_a_remote_model_is_registered_and_predicts(
    client: APIClient, version: ModelVersion, server: StubServer
) -> None:
    response = predict(client, version)

    assert response.status_code == 201
    assert response.json()["prediction"] == 3.5
    assert version.libraries == {"stub": "9"}
    assert version.signature["inputs"] == server.metadata["inputs"]
    assert Prediction.objects.get().status == "succeeded"


def test_a_batch_makes_one_call(
    client: APIClient, version: ModelVersion, server: StubServer
) -> None:
    n_before = server.n_infer_calls
    body = {"model_id": version.pk, "inputs": [{"features": [i, 0.5]} for i in range(100)]}

    response = client.post(f"{PREDICTIONS}batch/", body)

    assert [row["prediction"] for row in response.json()] == [i + 0.5 for i in range(100)]
    assert server.n_infer_calls == n_before + 1


@pytest.mark.parametrize("origins", [[], ["http://127.0.0.1:1"]])
def test_an_origin_that_is_not_listed_is_400_and_not_contacted(
    admin_api: APIClient, server: StubServer, settings: LazySettings, origins: list[str]
) -> None:
    settings.REMOTE_ORIGINS = origins

    response = register(admin_api, server.document())

    assert response.status_code == 400
    assert "REMOTE_ORIGINS" in response.json()["errors"]["artifact"][0]
    assert server.connections == 0
    assert not ModelVersion.objects.exists()


def test_an_origin_that_is_no_longer_listed_is_503_and_not_contacted(
    client: APIClient, version: ModelVersion, server: StubServer, settings: LazySettings
) -> None:
    n_requests = len(server.requests)
    settings.REMOTE_ORIGINS = []

    response = predict(client, version)

    assert response.status_code == 503
    assert len(server.requests) == n_requests


def test_secrets_reach_only_the_proof_and_the_server(
    admin_api: APIClient, client: APIClient, server: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLAPI_REMOTE_KEY", "open sesame")
    document = server.document(headers={"X-Key": "MLAPI_REMOTE_KEY"})

    response = register(admin_api, document)

    assert response.status_code == 201
    predict(client, ModelVersion.objects.get())
    assert {headers["X-Key"] for _, _, headers, _ in server.requests} == {"open sesame"}
    assert "sesame" not in response.content.decode()


def test_a_header_cannot_name_other_variables(
    admin_api: APIClient, server: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = register(admin_api, server.document(headers={"X-Key": "SECRET_KEY"}))

    assert response.status_code == 400
    assert "must be the name of an environment variable" in str(response.json()["errors"])
    assert server.connections == 0


def test_probabilities_are_declared_and_recorded(
    admin_api: APIClient, client: APIClient, server: StubServer
) -> None:
    server.metadata = {
        "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}],
    }
    answer = {"name": "p", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]}
    server.replies["infer"] = Reply(body=json.dumps({"outputs": [answer]}).encode())
    outputs = [{"name": "p", "kind": "probabilities", "classes": ["no", "yes"]}]

    register(admin_api, server.document(), signature=json.dumps({"outputs": outputs}))

    body = predict(client, ModelVersion.objects.get()).json()
    assert (body["prediction"], body["confidence"]) == (1.0, 0.75)
    assert body["output"] == {"label": "yes", "probabilities": {"no": 0.25, "yes": 0.75}}


def test_an_error_of_the_server_is_422_and_recorded(
    client: APIClient, version: ModelVersion, server: StubServer
) -> None:
    server.replies["infer"] = Reply(500, b'{"error": "singular matrix"}')

    response = predict(client, version)

    assert response.status_code == 422
    assert "singular matrix" in response.json()["detail"]
    assert Prediction.objects.get().error == "singular matrix"


def test_a_server_that_is_down_is_503_and_recorded(
    client: APIClient, version: ModelVersion, server: StubServer
) -> None:
    predict(client, version)
    server.stop()

    response = predict(client, version)

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    failed = Prediction.objects.get(status="failed")
    assert response.json()["prediction_ids"] == [failed.pk]
    server.start()
    assert predict(client, version).status_code == 201


def test_a_batch_contacts_a_server_that_is_down_only_once(
    client: APIClient, version: ModelVersion, server: StubServer
) -> None:
    server.hang_up = True
    n_before = server.n_infer_calls
    body = {"model_id": version.pk, "inputs": [{"features": [i, 0.5]} for i in range(20)]}

    response = client.post(f"{PREDICTIONS}batch/", body)

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert server.n_infer_calls == n_before + 1
    assert Prediction.objects.filter(status="failed").count() == 20
