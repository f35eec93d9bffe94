import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import resolve, reverse
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from mlapi.pages import documentation
from mlapi.rest.schema import PROBLEM_REFERENCE, PROTOCOL_ERROR_REFERENCE

GRANT_ERROR_REFERENCE = {"$ref": "#/components/schemas/GrantError"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    result: dict[str, Any] = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return result


@pytest.mark.django_db
def test_schema_is_valid_and_without_warnings(tmp_path: Any) -> None:
    GENERATOR_STATS.reset()

    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "s.yml"))


def test_each_path_appears_once_with_a_trailing_slash(schema: dict[str, Any]) -> None:
    assert "/api/v1/models/{id}/" in schema["paths"]
    assert all(path.endswith("/") and "?" not in path for path in schema["paths"])


def test_every_error_documents_its_format(schema: dict[str, Any]) -> None:
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            errors = {code: r for code, r in operation["responses"].items() if code >= "400"}
            assert {"500", "503"} <= errors.keys()
            if "ready" in str(operation["responses"].get("200")):
                # "Not ready" may take the place of the error.
                assert (
                    PROTOCOL_ERROR_REFERENCE
                    in errors.pop("503")["content"]["application/json"]["schema"]["anyOf"]
                )
            for code, response in errors.items():
                if path.startswith(("/v1/", "/v2/")):
                    content = {"application/json": {"schema": PROTOCOL_ERROR_REFERENCE}}
                else:
                    content = {"application/problem+json": {"schema": PROBLEM_REFERENCE}}
                if (path, code) == ("/api/v1/auth/token/", "400"):
                    # Errors of the form are those of OAuth2.
                    content["application/json"] = {"schema": GRANT_ERROR_REFERENCE}
                assert response["content"] == content


def test_operations_that_require_a_token_document_401(schema: dict[str, Any]) -> None:
    operation = schema["paths"]["/api/v1/models/"]["get"]

    assert operation["security"] == [{"bearerAuth": []}, {"passwordAuth": []}]
    assert "401" in operation["responses"]


@pytest.mark.parametrize("path", ["/api/v1/predictions/", "/api/v1/predictions/batch/"])
def test_predictions_document_the_errors_of_the_model(schema: dict[str, Any], path: str) -> None:
    operation = schema["paths"][path]["post"]

    assert {"404", "409", "422"} <= operation["responses"].keys()


@pytest.mark.parametrize(
    ("path", "is_written"),
    [
        ("/api/v1/models/", True),
        ("/api/v1/predictions/batch/", True),
        ("/api/v1/predictions/", False),
        ("/api/v1/auth/token/", False),
    ],
)
def test_bodies_document_what_is_refused_before_they_are_read(
    schema: dict[str, Any], path: str, is_written: bool
) -> None:
    statuses = schema["paths"][path]["post"]["responses"].keys()

    assert {"408", "411", "413", "415"} <= statuses
    assert ("507" in statuses) is is_written


def test_lists_document_their_parameters(schema: dict[str, Any]) -> None:
    parameters = {p["name"]: p for p in schema["paths"]["/api/v1/models/"]["get"]["parameters"]}

    assert {"skip", "limit", "cursor", "active_only", "name", "framework"} <= parameters.keys()
    assert parameters["active_only"]["schema"] == {"type": "boolean", "default": True}


@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/api/v1/auth/token",
        "/api/v1/auth/refresh",
        "/api/v1/auth/verify",
        "/api/v1/models",
        "/api/v1/models/1",
        "/api/v1/models/1/artifact",
        "/api/v1/aliases",
        "/api/v1/aliases/wine/champion",
        "/api/v1/aliases/wine/champion/history",
        "/api/v1/aliases/wine/champion/rollback",
        "/api/v1/models/1/predictions",
        "/api/v1/predictions",
        "/api/v1/predictions/1",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/wine",
        "/v2/models/wine@live/ready",
        "/v2/models/wine/infer",
        "/v2/models/wine/stats",
        "/v2/models/wine/versions/1",
        "/v2/models/wine/versions/1/ready",
        "/v2/models/wine/versions/1/infer",
        "/v2/models/wine/versions/1/stats",
        "/v2/repository/index",
        "/api/schema",
        "/api/docs",
        "/api/redoc",
    ],
)
def test_routes_match_with_and_without_a_trailing_slash(path: str) -> None:
    match = resolve(path)

    assert match.url_name != "unmatched"
    assert resolve(f"{path}/").url_name == match.url_name


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/vnd.oai.openapi"),
        ("application/vnd.oai.openapi+json", "application/vnd.oai.openapi+json"),
    ],
)
def test_schema_is_served_in_both_formats(client: APIClient, accept: str, media_type: str) -> None:
    response = client.get("/api/schema/", HTTP_ACCEPT=accept)

    assert response.status_code == 200
    assert response["Content-Type"].partition(";")[0] == media_type


@pytest.mark.parametrize("page", ["docs", "redoc"])
def test_documentation_pages_load_nothing_from_other_hosts(client: APIClient, page: str) -> None:
    response = client.get(reverse(page))

    assert response.status_code == 200
    assert b"/static/drf_spectacular_sidecar/" in response.content
    assert b"https://" not in response.content
    assert b"//cdn" not in response.content


def test_assets_are_served_without_collectstatic(client: APIClient, db: None) -> None:
    response = client.get("/static/admin/css/base.css")

    assert response.status_code == 200
    response.close()


def test_root_redirects_to_the_documentation(client: APIClient) -> None:
    assert client.get("/")["Location"] == reverse("docs")


def test_unknown_fields_are_documented_as_errors(schema: dict[str, Any]) -> None:
    components = schema["components"]["schemas"]

    assert components["PredictionRequest"]["additionalProperties"] is False
    assert components["AliasRequest"]["additionalProperties"] is False
    assert "additionalProperties" not in components["ModelVersion"]


def test_schema_is_generated_once_even_for_many_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    generated: list[object] = []

    def get_schema(self: object, request: object = None, public: bool = False) -> object:
        generated.append(request)
        # Long enough for the others to come.
        time.sleep(0.1)
        return {"openapi": "3.0.3"}

    monkeypatch.setattr(documentation, "_documents", {})
    monkeypatch.setattr(SchemaGenerator, "get_schema", get_schema)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: APIClient().get("/api/schema/?format=json"), range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.content for answer in answers} == {answers[0].content}
    assert len(generated) == 1


def test_schema_is_kept_for_each_prefix(client: APIClient) -> None:
    def servers(prefix: str) -> object:
        return client.get("/api/schema/?format=json", SCRIPT_NAME=prefix).json().get("servers")

    assert servers("/ml") == [{"url": "/ml"}]
    assert servers("") is None
    assert servers("/other") == [{"url": "/other"}]
