"""The routes of /v2 other than infer: health, metadata, the repository index and statistics."""

from pathlib import Path
from typing import Any, NoReturn

import pytest
from django.conf import LazySettings
from django.db import OperationalError
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.open_inference import statistics
from registry.models import Alias, ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client
from registry.testing.versions import MakeVersion

# -- the server


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "body"), [("live", {"live": True}), ("ready", {"ready": True})])
def test_health_needs_no_token(path: str, body: object) -> None:
    response = APIClient().get(f"/v2/health/{path}")

    assert (response.status_code, response.json()) == (200, body)


def raise_operational_error() -> NoReturn:
    raise OperationalError("gone")


def test_a_server_without_its_database_is_not_ready(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlapi.health.database.probe_connection", raise_operational_error)

    response = APIClient().get("/v2/health/ready")

    assert (response.status_code, response.json()) == (503, {"ready": False})


def test_the_server_lists_its_extensions(client: APIClient, settings: LazySettings) -> None:
    for path in ("/v2", "/v2/"):
        assert client.get(path).json() == {
            "name": "mlapi",
            "version": settings.VERSION,
            "extensions": ["binary_tensor_data", "model_repository", "statistics", "parameters"],
        }


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/v2", "/v2/models/iris", "/v2/models/iris/ready", "/v2/models/iris/stats"]
)
def test_other_routes_need_a_token(path: str) -> None:
    response = api_client().get(path)

    assert response.status_code == 401
    assert list(response.json()) == ["error"]


# -- models


def test_the_metadata_of_a_model_is_its_signature(
    client: APIClient, champion: Alias, make_version: MakeVersion, iris_artifact: Artifact
) -> None:
    make_version("iris", iris_artifact, version="2")
    make_version("iris", version="3")
    make_version("iris", iris_artifact, version="4", is_active=False)

    assert client.get("/v2/models/iris").json() == {
        "name": "iris",
        "versions": ["2", "1"],
        "platform": "sklearn_skops",
        "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, 4]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, 3]},
        ],
    }


@pytest.mark.parametrize("name", ["iris", "diabetes", "mixed", "pair"])
def test_responses_match_the_metadata(
    client: APIClient, make_version: MakeVersion, request: pytest.FixtureRequest, name: str
) -> None:
    artifact = request.getfixturevalue(f"{name}_artifact")
    make_version(name, artifact)
    path = f"/v2/models/{name}/versions/1"
    metadata = client.get(path).json()
    row = artifact.row.get("features") or list(artifact.row.values())
    values = iter(row)
    inputs = []
    for tensor in metadata["inputs"]:
        shape = [1, *tensor["shape"][1:]]
        size = shape[1] if len(shape) > 1 else 1
        data = [next(values) for _ in range(size)]
        inputs.append({**tensor, "shape": shape, "data": data})

    response = client.post(f"{path}/infer", {"inputs": inputs}).json()

    assert [
        {
            "name": output["name"],
            "datatype": output["datatype"],
            "shape": [-1, *output["shape"][1:]],
        }
        for output in response["outputs"]
    ] == metadata["outputs"]


def test_a_model_is_ready_while_its_file_exists(
    client: APIClient, champion: Alias, model_path: Path
) -> None:
    for path in ("/v2/models/iris/ready", "/v2/models/iris/versions/1/ready"):
        response = client.get(path)
        assert (response.status_code, response.json()) == (200, {"name": "iris", "ready": True})

    (model_path / champion.version.artifact).unlink()

    response = client.get("/v2/models/iris/ready")
    assert (response.status_code, response.json()) == (503, {"name": "iris", "ready": False})


def test_a_version_without_an_artifact_is_not_ready(
    client: APIClient, make_version: MakeVersion
) -> None:
    make_version("bare")

    assert client.get("/v2/models/bare/versions/1/ready").status_code == 503


@pytest.mark.parametrize("path", ["", "/ready", "/stats"])
@pytest.mark.parametrize("model", ["wine", "iris/versions/9", "iris@none"])
def test_unknown_models_answer_404(
    client: APIClient, champion: Alias, model: str, path: str
) -> None:
    response = client.get(f"/v2/models/{model}{path}")

    assert response.status_code == 404
    assert "not found or inactive" in response.json()["error"]


def test_an_inactive_version_answers_404(client: APIClient, iris: ModelVersion) -> None:
    iris.update(is_active=False)

    assert client.get("/v2/models/iris/versions/1").status_code == 404


# -- the repository's index


def test_the_index_lists_every_version(
    client: APIClient, champion: Alias, make_version: MakeVersion, iris_artifact: Artifact
) -> None:
    make_version("bare")
    make_version("iris", iris_artifact, version="2", is_active=False)

    everything = client.post("/v2/repository/index").json()
    ready = client.post("/v2/repository/index", {"ready": True}).json()

    iris = {"name": "iris", "version": "1", "state": "READY", "reason": ""}
    assert everything == [
        {"name": "iris", "version": "2", "state": "UNAVAILABLE", "reason": "inactive"},
        {"name": "bare", "version": "1", "state": "UNAVAILABLE", "reason": "no artifact yet"},
        iris,
    ]
    assert ready == [iris]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready": 1}', b'"x"'])
def test_an_invalid_index_request_answers_400(client: APIClient, body: Any) -> None:
    response = client.generic("POST", "/v2/repository/index", body)

    assert response.status_code == 400
    assert list(response.json()) == ["error"]


def test_the_index_costs_two_queries(
    client: APIClient,
    champion: Alias,
    make_version: MakeVersion,
    django_assert_num_queries: Any,
) -> None:
    for i in range(5):
        make_version(f"bare{i}")

    # The user, two for permissions, and the versions.
    with django_assert_num_queries(4):
        client.post("/v2/repository/index")


# -- statistics


def test_statistics_are_computed_from_the_log(client: APIClient, champion: Alias) -> None:
    Prediction.objects.create(model=champion.version, input_data={}, latency_ms=1.5)
    Prediction.objects.create(model=champion.version, input_data={}, latency_ms=0.5)
    last = Prediction.objects.create(
        model=champion.version, input_data={}, latency_ms=3, status="failed", error="no"
    )

    [model] = client.get("/v2/models/iris/stats").json()["model_stats"]

    nothing = {"count": 0, "ns": 0}
    stats = model.pop("inference_stats")
    assert model == {
        "name": "iris",
        "version": "1",
        "last_inference": round(last.created_at.timestamp() * 1000),
        "inference_count": 2,
        "execution_count": 2,
        "batch_stats": [],
    }
    assert stats.pop("success") == stats.pop("compute_infer") == {"count": 2, "ns": 2_000_000}
    assert stats.pop("fail") == {"count": 1, "ns": 3_000_000}
    assert stats == {
        "queue": nothing,
        "compute_input": nothing,
        "compute_output": nothing,
        "cache_hit": nothing,
        "cache_miss": nothing,
    }


def test_statistics_of_a_version_without_predictions(client: APIClient, iris: ModelVersion) -> None:
    [model] = client.get("/v2/models/iris/versions/1/stats").json()["model_stats"]

    assert (model["last_inference"], model["inference_count"]) == (0, 0)


def test_statistics_read_only_the_newest_predictions(
    client: APIClient, iris: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "NEWEST", 3)
    for _ in range(5):
        Prediction.objects.create(model=iris, input_data={}, latency_ms=1)

    [model] = client.get("/v2/models/iris/versions/1/stats").json()["model_stats"]

    assert model["inference_count"] == 3


def test_statistics_cost_five_queries(
    client: APIClient, champion: Alias, django_assert_num_queries: Any
) -> None:
    # The user, two for permissions, the version and its predictions.
    with django_assert_num_queries(5):
        client.get("/v2/models/iris/stats")
