"""PUT /api/v1/aliases/{name}/{alias}/."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from rest_framework.test import APIClient

from registry.aliases.validation import MoveRefused
from registry.hooks import Extension
from registry.models import MAX_SHADOWS, Alias, AliasMove, ModelVersion
from registry.testing.aliases import N_THREADS, put, summary
from registry.testing.aliases import extend_registry as extend_registry
from registry.testing.aliases import versions as versions
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client
from registry.testing.versions import MakeVersion

LIST = "/api/v1/aliases/"
URL = "/api/v1/aliases/wine/champion/"


def test_an_alias_is_created_moved_and_read(
    admin_api: APIClient, client: APIClient, versions: list[ModelVersion]
) -> None:
    created = put(admin_api)
    moved = put(
        admin_api, "2", canary={"version": "3", "percent": 10}, shadows=["4", "1"], reason="better"
    )

    assert (created.status_code, moved.status_code) == (201, 200)
    assert (created.json()["canary"], created.json()["shadows"]) == (None, [])
    body = moved.json()
    assert client.get(URL).json() == body
    assert body.pop("updated_at").endswith("Z")
    assert body == {
        "name": "wine",
        "alias": "champion",
        **summary(versions[1]),
        "canary": {**summary(versions[2]), "percent": 10.0},
        "shadows": [summary(versions[0]), summary(versions[3])],
    }
    assert put(admin_api, "2", canary=None).json()["canary"] is None


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"version": 3}, "version"),
        ({"version": 3.5}, "version"),
        ({"version": True}, "version"),
        ({"version": None}, "version"),
        ({"version": ""}, "version"),
        ({"version": "1" * 51}, "version"),
        ({"version": ["1"]}, "version"),
        ({"canary": "2"}, "canary"),
        ({"canary": {"version": "2"}}, "canary.percent"),
        ({"canary": {"percent": 2}}, "canary.version"),
        ({"canary": {"version": 2, "percent": 2}}, "canary.version"),
        ({"canary": {"version": "2", "percent": 0}}, "canary.percent"),
        ({"canary": {"version": "2", "percent": 100.01}}, "canary.percent"),
        ({"canary": {"version": "2", "percent": -1}}, "canary.percent"),
        ({"canary": {"version": "2", "percent": "a"}}, "canary.percent"),
        ({"canary": {"version": "2", "percent": 1, "x": 1}}, "canary.x"),
        ({"shadows": "2"}, "shadows"),
        ({"shadows": [2]}, "shadows.0"),
        ({"shadows": None}, "shadows"),
        ({"shadows": ["2", "2"]}, "shadows"),
        ({"shadows": [str(number) for number in range(MAX_SHADOWS + 1)]}, "shadows"),
        ({"reason": "a" * 501}, "reason"),
        ({"force": "perhaps"}, "force"),
        ({"require": 7}, "require"),
        ({"require": None}, "require"),
        ({"model_id": 7}, "model_id"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_invalid_field_answers_400_and_is_named(
    admin_api: APIClient, versions: list[ModelVersion], fields: dict[str, Any], path: str
) -> None:
    response = admin_api.put(URL, {"version": "1", **fields})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [path]
    assert not Alias.objects.exists()


def test_a_numeric_version_answers_that_it_must_be_text(
    admin_api: APIClient, versions: list[ModelVersion]
) -> None:
    assert put(admin_api, 3).json()["errors"] == {"version": ['Must be text, such as "3".']}


def test_a_numeric_reason_answers_that_it_must_be_text(
    admin_api: APIClient, versions: list[ModelVersion]
) -> None:
    response = put(admin_api, "2", reason=0)

    assert response.json()["errors"] == {"reason": ['Must be text, such as "0".']}


@pytest.mark.parametrize("method", ["get", "put", "delete"])
@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("wine/.x/", "alias"),
        ("wine/%00/", "alias"),
        (f"wine/{'a' * 51}/", "alias"),
        ("a:b/x/", "name"),
        (f"{'a' * 101}/x/", "name"),
        ("w%C3%A4/x/", "name"),
    ],
)
def test_an_invalid_name_in_the_path_answers_400(
    admin_api: APIClient, method: str, path: str, parameter: str
) -> None:
    response = getattr(admin_api, method)(LIST + path, *([{"version": "1"}] * (method == "put")))

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [parameter]


@pytest.mark.parametrize("path", ["", "history/", "?at=2026-01-01T00:00:00Z"])
def test_an_unknown_alias_answers_404(client: APIClient, db: None, path: str) -> None:
    response = client.get(URL + path)

    assert response.status_code == 404
    assert response.json()["type"] == "urn:mlapi:problem:model-not-found"
    assert response.json()["detail"].startswith("Model wine@champion not found: ")


def test_an_unknown_version_answers_404(admin_api: APIClient, versions: list[ModelVersion]) -> None:
    response = put(admin_api, "9")

    assert response.status_code == 404
    assert response.json()["detail"] == "Model wine:9 not found"


def test_a_refused_move_answers_409(
    admin_api: APIClient,
    versions: list[ModelVersion],
    make_version: MakeVersion,
    diabetes_artifact: Artifact,
) -> None:
    make_version("wine", diabetes_artifact, version="other")
    put(admin_api)

    response = put(admin_api, "other")

    assert response.status_code == 409
    assert response.json()["type"] == "urn:mlapi:problem:move-refused"
    assert "cannot serve the callers of wine:1" in response.json()["detail"]
    assert put(admin_api, "other", force=True).status_code == 200


def test_a_promotion_passes_the_gate_or_answers_409(
    admin_api: APIClient,
    versions: list[ModelVersion],
    extend_registry: Callable[[Extension], None],
) -> None:
    def gate(from_version_id: int, to_version_id: int, require: Mapping[str, Any]) -> None:
        if require["min_agreement"] > 0.97:
            raise MoveRefused("The replay's agreement is 0.97, below 0.98")

    extend_registry(Extension(promotion_gate=gate))
    put(admin_api)

    refused = put(admin_api, "2", require={"replay": 1, "min_agreement": 0.98})
    passed = put(admin_api, "2", require={"replay": 1, "min_agreement": 0.9})

    assert (refused.status_code, passed.status_code) == (409, 200)
    assert "0.97, below 0.98" in refused.json()["detail"]


@pytest.mark.django_db(transaction=True)
def test_concurrent_promotions_are_all_answered(
    manager: User, versions: list[ModelVersion]
) -> None:
    def move(i: int) -> int:
        try:
            response = put(api_client(manager), str(i % 4 + 1))
            return int(response.status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(N_THREADS) as pool:
        statuses = list(pool.map(move, range(N_THREADS)))

    assert sorted(statuses) == [200] * (N_THREADS - 1) + [201]
    numbers = AliasMove.objects.order_by("number").values_list("number", flat=True)
    assert list(numbers) == list(range(1, len(numbers) + 1))
    last = AliasMove.objects.latest("number")
    assert Alias.objects.get().version_id == last.to_version_id


@pytest.mark.parametrize("force", [0, 1, "true", "yes", [], {}])
def test_force_must_be_a_boolean(admin_api: APIClient, force: object) -> None:
    response = admin_api.put(
        "/api/v1/aliases/wine/champion/", {"version": "1", "force": force}, format="json"
    )

    assert response.status_code == 400
    assert response.json()["errors"]["force"] == ["Must be true or false."]


def test_options_describe_an_alias(admin_api: APIClient) -> None:
    response = admin_api.options("/api/v1/aliases/wine/champion/")

    assert response.status_code == 200
    assert "PUT" in response["Allow"]
