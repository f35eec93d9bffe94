import logging
from typing import Any, ClassVar

import pytest
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.test import RequestFactory
from rest_framework.exceptions import Throttled, ValidationError
from rest_framework.request import Request
from rest_framework.test import APIClient

from mlapi import problems
from registry.loading.errors import ModelNotReady
from registry.models import ModelNotFound

MODELS = "/api/v1/models/"
FIELDS = {"type", "title", "status", "detail", "request_id"}


def handle(error: Exception) -> HttpResponse:
    request = RequestFactory().get("/")
    return problems.exception_handler(error, {"request": Request(request)})


def body(response: Any) -> dict[str, Any]:
    """The problem document of a response; asserts its format."""
    assert response["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert set(problem) - {"errors"} == FIELDS
    assert problem["status"] == response.status_code
    return problem


@pytest.mark.parametrize("method", ["get", "post"])
def test_unknown_url_answers_404(client: APIClient, method: str) -> None:
    response = getattr(client, method)("/api/v1/nothing")

    assert response.status_code == 404
    assert body(response)["detail"] == "There is nothing at /api/v1/nothing"


def test_debug_does_not_change_errors(client: APIClient, settings: Any) -> None:
    settings.DEBUG = True

    assert body(client.get("/api/v1/nothing"))["status"] == 404
    assert body(client.get(MODELS))["status"] == 401


def test_missing_token_answers_401_with_a_challenge(client: APIClient) -> None:
    response = client.get(MODELS)

    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    body(response)


def test_unsupported_method_answers_405_with_allow(authorized: APIClient) -> None:
    response = authorized.put("/api/v1/predictions/")

    assert response.status_code == 405
    assert "POST" in response["Allow"]
    body(response)


def test_unsupported_media_type_answers_415(authorized: APIClient) -> None:
    response = authorized.post("/api/v1/predictions/", b"<a/>", content_type="text/xml")

    assert response.status_code == 415
    body(response)


def test_oversized_body_answers_413(authorized: APIClient, settings: Any) -> None:
    settings.MAX_REQUEST_BYTES = 1024

    response = authorized.post("/api/v1/predictions/", {"input_data": "x" * 1025})

    assert response.status_code == 413
    assert "1024" in body(response)["detail"]


def test_oversized_form_outside_the_api_answers_413(client: APIClient, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100

    response = client.post(
        "/admin/login/", "a=" + "x" * 200, content_type="application/x-www-form-urlencoded"
    )

    assert response.status_code == 413
    body(response)


def test_csrf_failure_answers_403(db: None) -> None:
    client = APIClient(enforce_csrf_checks=True)

    response = client.post("/admin/login/", {"username": "a"}, format="multipart")

    assert response.status_code == 403
    assert "CSRF" in body(response)["detail"]


def test_unknown_host_answers_400(client: APIClient) -> None:
    response = client.get("/admin/login/", HTTP_HOST="evil.example.com")

    assert response.status_code == 400
    assert "evil" not in body(response)["detail"]


@pytest.mark.parametrize("url", ["/api/v1/auth/verify/", "/health/"])
def test_response_to_an_unexpected_exception_hides_internals(
    client: APIClient, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("mlapi.health.monitor.state", fail)
    monkeypatch.setattr("mlapi.auth.VerifyView.get_serializer", fail)

    response = client.post(url, {"token": "x"}) if "auth" in url else client.get(url)

    assert response.status_code == 500
    body(response)
    assert b"hunter2" not in response.content
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "hunter2" in str(errors[0].exc_info)


@pytest.mark.parametrize("error", [OperationalError("db=10.0.0.1"), InterfaceError("closed")])
def test_unavailable_database_answers_503_and_is_logged_once(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    response = handle(error)

    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    assert b"10.0.0.1" not in response.content
    assert len(caplog.records) == 1


def test_unavailable_database_outside_the_api_answers_503(
    client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", fail)
    client.cookies["sessionid"] = "a" * 32

    response = client.get("/admin/")

    assert response.status_code == 503
    assert response["Retry-After"] == "1"


def test_domain_exception_answers_with_its_message() -> None:
    response = handle(ModelNotFound("Model 7 not found"))

    assert response.status_code == 404
    assert b'"type":"urn:mlapi:problem:model-not-found"' in response.content
    assert b'"detail":"Model 7 not found"' in response.content


def test_domain_exception_may_set_retry_after() -> None:
    response = handle(ModelNotReady("Model 7: not now"))

    assert response.status_code == 503
    assert response["Retry-After"] == str(ModelNotReady.retry_after)


def test_domain_exception_may_name_fields() -> None:
    class FieldNotFound(ModelNotFound):
        errors: ClassVar = {"model_id": ["No such model"]}

    response = handle(FieldNotFound("No such model"))

    assert b'"errors":{"model_id":["No such model"]}' in response.content


def test_every_domain_status_is_an_error_status() -> None:
    assert all(400 <= status < 600 for status in problems.DOMAIN_STATUSES.values())


@pytest.mark.parametrize(
    ("detail", "errors"),
    [
        (["wrong"], {"non_field_errors": ["wrong"]}),
        ({"age": ["a", "b"]}, {"age": ["a", "b"]}),
        ({"non_field_errors": ["wrong"]}, {"non_field_errors": ["wrong"]}),
        ({"rows": [{}, {"age": ["low"]}]}, {"rows[1].age": ["low"]}),
        ({"tags": {"a": {"b": ["no"]}}}, {"tags.a.b": ["no"]}),
        ({"signature": {"non_field_errors": ["no"]}}, {"signature": ["no"]}),
        ({"rows": {0: ["low"]}}, {"rows.0": ["low"]}),
    ],
)
def test_validation_errors_are_flattened_to_paths(detail: Any, errors: Any) -> None:
    problem = problems._problem_of(ValidationError(detail))

    assert problem.errors == errors
    assert all(message in problem.detail for messages in errors.values() for message in messages)


def test_throttled_answers_429_with_retry_after() -> None:
    response = handle(Throttled(wait=7))

    assert response.status_code == 429
    assert response["Retry-After"] == "7"


def test_body_above_djangos_limit_answers_413() -> None:
    assert handle(RequestDataTooBig()).status_code == 413
