"""POST /api/v1/models/ without a file: names, frameworks, and JSON that is kept exactly."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from rest_framework.test import APIClient

from registry.models import ModelVersion
from registry.testing.clients import api_client

URL = "/api/v1/models/"
MINIMAL = {"name": "iris", "version": "1", "framework": "sklearn"}
# The deepest value allowed inside metrics: the body and metrics are levels too.
DEEP = "[" * 98 + "]" * 98


def post_raw(client: APIClient, body: str) -> Any:
    return client.post(URL, data=body, content_type="application/json")


def with_metrics(value: str) -> str:
    return json.dumps(MINIMAL)[:-1] + f', "metrics": {value}}}'


def test_a_version_can_be_registered_before_its_artifact(admin_api: APIClient) -> None:
    response = admin_api.post(
        URL,
        {
            **MINIMAL,
            "metrics": {"accuracy": 0.97},
            "description": "Three species",
            "tags": {"team": "botany"},
        },
    )

    row = ModelVersion.objects.get()
    body = response.json()
    assert response.status_code == 201
    assert body.pop("created_at") == row.created_at.isoformat().replace("+00:00", "Z")
    assert body == {
        "id": row.pk,
        "name": "iris",
        "version": "1",
        "framework": "sklearn",
        "metrics": {"accuracy": 0.97},
        "is_active": True,
        "description": "Three species",
        "tags": {"team": "botany"},
        "signature": None,
        "sha256": "",
        "size_bytes": None,
        "libraries": {},
        "max_concurrency": None,
        "timeout_seconds": None,
        "quarantined_at": None,
        "quarantine_reason": "",
        "created_by": "grace",
    }


def test_omitted_fields_have_defaults(admin_api: APIClient) -> None:
    body = admin_api.post(URL, MINIMAL).json()

    assert (body["metrics"], body["tags"], body["description"]) == (None, {}, "")


def test_an_existing_version_answers_409(admin_api: APIClient) -> None:
    admin_api.post(URL, MINIMAL)

    response = admin_api.post(URL, {**MINIMAL, "framework": "onnx"})

    assert response.status_code == 409
    assert response.json()["detail"] == "Model iris:1 already exists"
    assert ModelVersion.objects.get().framework == "sklearn"


def test_the_same_version_of_another_name_can_be_registered(admin_api: APIClient) -> None:
    admin_api.post(URL, MINIMAL)

    assert admin_api.post(URL, {**MINIMAL, "name": "wine"}).status_code == 201
    assert admin_api.post(URL, {**MINIMAL, "version": "2"}).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_one_of_several_simultaneous_registrations_succeeds(manager: User) -> None:
    barrier = Barrier(8)

    def register(_: int) -> int:
        api = api_client(manager)
        barrier.wait(timeout=20)
        try:
            return api.post(URL, MINIMAL).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(register, range(8)))

    assert statuses == [201] + [409] * 7
    assert ModelVersion.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../x"),
        ("name", "a/b"),
        ("name", ".hidden"),
        ("name", ""),
        ("name", "a" * 101),
        ("name", "iris\n"),
        ("name", " iris"),
        ("name", None),
        ("name", ["iris"]),
        ("version", ""),
        ("version", "1" * 51),
        ("version", "1 "),
        ("version", "../1"),
        ("framework", "pickle"),
        ("framework", ""),
        ("description", "a" * 5001),
        ("tags", ["a"]),
        ("tags", None),
        ("metrics", [0.9]),
        ("metrics", "good"),
        ("is_active", False),
        ("artifact", "not a file"),
        ("example", [[1]]),
        ("signature", {"inputs": []}),
        ("metrcis", {}),
    ],
)
def test_an_invalid_field_answers_400_and_is_reported(
    admin_api: APIClient, field: str, value: object
) -> None:
    response = admin_api.post(URL, {**MINIMAL, field: value})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]
    assert ModelVersion.objects.count() == 0


@pytest.mark.parametrize("missing", ["name", "framework"])
def test_a_missing_field_answers_400_and_is_reported(admin_api: APIClient, missing: str) -> None:
    body = {key: value for key, value in MINIMAL.items() if key != missing}

    response = admin_api.post(URL, body)

    assert response.status_code == 400
    assert response.json()["errors"] == {missing: ["This field is required."]}


def test_the_longest_names_are_accepted(admin_api: APIClient) -> None:
    response = admin_api.post(URL, {**MINIMAL, "name": "a" * 100, "version": "1" * 50})

    assert response.status_code == 201


def test_the_error_for_an_unknown_framework_lists_the_supported_ones(admin_api: APIClient) -> None:
    response = admin_api.post(URL, {**MINIMAL, "framework": "keras"})

    [message] = response.json()["errors"]["framework"]
    assert "keras" in message
    assert all(name in message for name in ("sklearn", "onnx", "xgboost", "lightgbm", "catboost"))


@pytest.mark.parametrize("body", ["", "[]", '"iris"', "null", "{", '{"name": }', "\ufeff{}"])
def test_a_body_that_is_not_an_object_answers_400(admin_api: APIClient, body: str) -> None:
    assert post_raw(admin_api, body).status_code == 400


@pytest.mark.parametrize(
    "value",
    [
        '{"x": NaN}',
        '{"x": Infinity}',
        '{"x": 1e400}',
        '{"x": -1e400}',
        '{"x": 18446744073709551616}',
        '{"x": 18446744073709551617}',
        '{"x": -9223372036854775809}',
        '{"x": "\\u0000"}',
        '{"\\u0000": 1}',
        '{"x": "\\ud800"}',
        '{"\\udfff": 1}',
        f'{{"x": [{DEEP}]}}',
        '{"x": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"x": ' + "1" * 5000 + "}",
        f'{{"x": "{"a" * 65_536}"}}',
    ],
    ids=lambda value: value[:30],
)
def test_metrics_that_a_database_cannot_store_answer_400(admin_api: APIClient, value: str) -> None:
    response = post_raw(admin_api, with_metrics(value))

    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert ModelVersion.objects.count() == 0


@pytest.mark.parametrize(
    "value",
    [
        "1e20",
        "100000000000000000000.0",
        "1e300",
        "-0.0",
        "0",
        "1e17",
        "100000000000000000",
        "18446744073709551615",
        "-9223372036854775808",
        "9007199254740993",
        "0.1",
        "5e-324",
        "1.7976931348623157e308",
        "true",
        '"1.0"',
        '"\U0001f600 é"',
        DEEP,
    ],
    ids=lambda value: value[:30],
)
def test_metrics_are_read_back_exactly(admin_api: APIClient, value: str) -> None:
    created = post_raw(admin_api, with_metrics(f'{{"x": {value}}}'))
    assert created.status_code == 201, created.content

    read = admin_api.get(f"{URL}{created.json()['id']}/")

    # Compared as text, because 1 == 1.0 and 0.0 == -0.0.
    sent = json.dumps(json.loads(value))
    assert json.dumps(json.loads(read.content)["metrics"]["x"]) == sent
    assert json.dumps(json.loads(created.content)["metrics"]["x"]) == sent


def test_an_unsupported_media_type_answers_415(admin_api: APIClient) -> None:
    response = admin_api.post(URL, data="name: iris", content_type="application/yaml")

    assert response.status_code == 415


@pytest.mark.parametrize("name", ["../../x.onnx", "/etc/x.onnx", "..\\x.onnx"])
def test_a_file_name_that_is_a_path_is_refused(
    admin_api: APIClient, model_path: Path, name: str
) -> None:
    lines = [
        "--limit",
        f'Content-Disposition: form-data; name="artifact"; filename="{name}"',
        "",
        "content",
        "--limit--",
        "",
    ]

    response = admin_api.generic(
        "POST", URL, "\r\n".join(lines), content_type="multipart/form-data; boundary=limit"
    )

    assert response.status_code == 400
    assert "must not be a path" in response.json()["detail"]
    assert not model_path.exists()
