"""Compressed bodies, and bodies without a length, on every route that takes one."""

import gzip
from typing import Any

import pytest
from django.conf import LazySettings
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from rest_framework.test import APIClient

from mlapi.bodies.tests.calls import (
    CALLS,
    COMPRESS,
    NDJSON,
    assert_answered,
    encoded,
    error_of,
    send,
)
from predictions.models import Prediction
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact


@pytest.mark.parametrize("coding", COMPRESS)
@pytest.mark.parametrize("name", CALLS)
def test_a_compressed_body_is_answered_as_the_plain_one(
    client: APIClient, model: ModelVersion, name: str, coding: str
) -> None:
    assert_answered(name, send(client, encoded(CALLS[name], coding), model))


@pytest.mark.parametrize("name", CALLS)
def test_a_body_that_is_not_what_its_coding_says_is_refused(
    client: APIClient, model: ModelVersion, name: str
) -> None:
    compressed = gzip.compress(CALLS[name].body)
    for body in (CALLS[name].body, compressed[:-1], compressed + b"x"):
        response = send(client, encoded(CALLS[name], "gzip", body), model)

        assert response.status_code == 400, body
        assert "gzip" in error_of(response)
    assert not Prediction.objects.exists()


@pytest.mark.parametrize("name", CALLS)
def test_an_unknown_coding_answers_415_with_the_known_ones(
    client: APIClient, model: ModelVersion, name: str
) -> None:
    call = CALLS[name]
    response = send(client, call._replace(headers={"Content-Encoding": "br"}), model)

    assert response.status_code == 415
    assert response["Accept-Encoding"] == "gzip, deflate, zstd"
    assert "gzip, deflate, zstd" in error_of(response)


@pytest.mark.parametrize("name", CALLS)
def test_a_body_that_grows_beyond_the_limit_answers_413(
    client: APIClient, model: ModelVersion, settings: LazySettings, name: str
) -> None:
    settings.MAX_REQUEST_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 5000
    settings.MAX_NDJSON_BYTES = 5000
    body = gzip.compress(CALLS[name].body + b" " * 5000)
    assert len(body) < 1000

    response = send(client, encoded(CALLS[name], "gzip", body), model)

    assert response.status_code == 413
    assert not Prediction.objects.exists()


def test_a_compressed_key_names_the_same_request(client: APIClient, model: ModelVersion) -> None:
    call = CALLS["predict"]._replace(headers={"Idempotency-Key": "k"})

    assert send(client, call, model).status_code == 201
    assert send(client, encoded(call, "zstd"), model).status_code == 200


@pytest.mark.usefixtures("cached_proofs")
def test_a_compressed_form_registers_its_file(
    admin_api: APIClient, iris_artifact: Artifact, settings: LazySettings
) -> None:
    fields = {"artifact": iris_artifact.upload(), "name": "iris", "framework": "sklearn"}
    body = gzip.compress(encode_multipart(BOUNDARY, fields))

    def register() -> Any:
        return admin_api.post(
            "/api/v1/models/",
            body,
            content_type=MULTIPART_CONTENT,
            headers={"Content-Encoding": "gzip"},
        )

    response = register()
    assert response.status_code == 201, response.content
    assert response.json()["sha256"] == iris_artifact.sha256
    settings.MAX_ARTIFACT_BYTES, settings.MAX_REQUEST_BYTES = len(iris_artifact.content) - 50, 10
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert register().status_code == 413
    assert ModelVersion.objects.count() == 1


# -- without a length


CHUNKED: dict[str, Any] = {
    "HTTP_TRANSFER_ENCODING": "chunked",
    "CONTENT_LENGTH": "",
    "wsgi.input_terminated": True,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_chunked_body_is_answered_if_it_cannot_be_cut_off_unnoticed(
    client: APIClient, model: ModelVersion, name: str
) -> None:
    call = CALLS[name]

    response = send(client, call, model, **CHUNKED)

    if call.content_type in (NDJSON, "text/csv"):
        assert response.status_code == 411
        response = send(client, encoded(call, "gzip"), model, **CHUNKED)
    assert_answered(name, response)


@pytest.mark.parametrize("name", CALLS)
def test_a_chunked_body_that_is_cut_off_is_refused(
    client: APIClient, model: ModelVersion, name: str
) -> None:
    call = CALLS[name]
    calls = [encoded(call, "gzip")]
    if call.content_type not in (NDJSON, "text/csv"):
        calls.append(call)

    for sent in calls:
        response = send(client, sent._replace(body=sent.body[:-1]), model, **CHUNKED)

        assert response.status_code == 400
    assert not Prediction.objects.exists()


@pytest.mark.parametrize("name", CALLS)
def test_a_chunked_body_over_the_limit_answers_413(
    client: APIClient, model: ModelVersion, settings: LazySettings, name: str
) -> None:
    call = CALLS[name]
    settings.MAX_REQUEST_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 5000
    settings.MAX_NDJSON_BYTES = 5000
    body = call.body + b" " * 5000

    response = send(client, encoded(call, "gzip", gzip.compress(body)), model, **CHUNKED)

    assert response.status_code == 413


@pytest.mark.parametrize("name", CALLS)
def test_a_chunked_body_is_refused_if_the_server_does_not_end_it(
    client: APIClient, model: ModelVersion, name: str
) -> None:
    environ = {**CHUNKED, "wsgi.input_terminated": False}

    assert send(client, CALLS[name], model, **environ).status_code == 411
