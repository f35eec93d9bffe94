"""Registering versions in the admin, with the same checks as through the API."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from registry.artifacts import proof
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.clients import form_errors
from registry.testing.folders import files_below

URL = "/admin/registry/modelversion/"
EMPTY = {
    "framework": "",
    "description": "",
    "metrics": "null",
    "tags": "{}",
    "is_active": "on",
    "declared_signature": "",
    "example": "",
}
ADDED = {**EMPTY, "name": "iris", "version": "1"}

MakeVersion = Callable[..., ModelVersion]

pytestmark = pytest.mark.usefixtures("cached_proofs", "model_path")


def add(browser: Client, **fields: Any) -> Any:
    return browser.post(f"{URL}add/", {**ADDED, **fields})


def test_an_upload_registers_a_version_with_its_file(
    admin_client: Client, iris_artifact: Artifact, model_path: Path
) -> None:
    response = add(
        admin_client, model_file=iris_artifact.upload(), metrics='{"accuracy": 1e20}', tags="{}"
    )

    version = ModelVersion.objects.get()
    assert response.status_code == 302
    assert (version.name, version.version, version.framework) == ("iris", "1", "sklearn")
    assert (version.metrics, version.is_active) == ({"accuracy": 1e20}, True)
    assert version.created_by is not None
    assert version.created_by.username == "root"
    assert version.signature == iris_artifact.proof.signature
    assert files_below(model_path) == [version.artifact]


def test_a_version_can_be_registered_inactive(
    admin_client: Client, iris_artifact: Artifact
) -> None:
    fields = {key: value for key, value in ADDED.items() if key != "is_active"}

    admin_client.post(f"{URL}add/", {**fields, "model_file": iris_artifact.upload()})

    assert not ModelVersion.objects.get().is_active


def test_a_version_can_be_registered_before_its_file(admin_client: Client) -> None:
    assert add(admin_client, framework="onnx").status_code == 302
    assert not ModelVersion.objects.get().has_artifact


def test_example_rows_and_a_signature_are_accepted(
    admin_client: Client, diabetes_artifact: Artifact
) -> None:
    add(
        admin_client,
        model_file=diabetes_artifact.upload(),
        declared_signature=json.dumps(diabetes_artifact.declared),
        example=json.dumps([diabetes_artifact.row]),
    )

    [tensor] = ModelVersion.objects.get().signature["inputs"]
    assert tensor["features"][:2] == ["age", "sex"]


@pytest.mark.parametrize(
    ("fields", "reported"),
    [
        ({"name": "../x"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"version": "1/2"}, "version"),
        ({"metrics": "{"}, "metrics"),
        ({"metrics": "[1]"}, "metrics"),
        ({"metrics": '{"x": NaN}'}, "metrics"),
        ({"metrics": '{"x": 18446744073709551617}'}, "metrics"),
        ({"metrics": '{"x": "\\u0000"}'}, "metrics"),
        ({"metrics": "[" * 100_000}, "metrics"),
        ({"tags": '{"x": 1e400}'}, "tags"),
        ({"description": "a" * 5001}, "description"),
        ({"framework": "keras"}, "framework"),
        ({"framework": "onnx"}, "framework"),
        ({"declared_signature": '{"input": 1}'}, "declared_signature"),
        ({"declared_signature": "[" * 100_000}, "declared_signature"),
        ({"example": "[]"}, "example"),
        ({"example": "[[1, 2, 3]]"}, "example"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_an_invalid_field_is_reported_and_nothing_is_written(
    admin_client: Client,
    iris_artifact: Artifact,
    model_path: Path,
    fields: dict[str, str],
    reported: str,
) -> None:
    response = add(admin_client, **{"model_file": iris_artifact.upload(), **fields})

    assert list(form_errors(response)) == [reported]
    assert ModelVersion.objects.count() == 0
    assert files_below(model_path) == []


def test_a_rejected_file_is_reported_at_its_field_and_nothing_is_written(
    admin_client: Client, model_path: Path
) -> None:
    response = add(admin_client, model_file=SimpleUploadedFile("a.skops", b"\x80\x04abc"))

    assert "pickle" in form_errors(response)["model_file"][0]
    assert ModelVersion.objects.count() == 0
    assert files_below(model_path) == []


def test_a_version_needs_a_file_or_a_framework(admin_client: Client) -> None:
    assert list(form_errors(add(admin_client))) == ["framework"]


def test_a_taken_version_is_reported(
    admin_client: Client, iris: ModelVersion, iris_artifact: Artifact, model_path: Path
) -> None:
    before = files_below(model_path)

    response = add(admin_client, model_file=iris_artifact.upload())

    assert "already exists" in str(form_errors(response))
    assert ModelVersion.objects.count() == 1
    assert files_below(model_path) == before


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_an_upload_is_proved(
    admin_client: Client,
    iris_artifact: Artifact,
    make_version: MakeVersion,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_transaction: list[bool] = []

    def prove(path: Path, **arguments: Any) -> proof.Proof:
        in_transaction.append(connection.in_atomic_block)
        return iris_artifact.proof

    monkeypatch.setattr(proof, "prove", prove)
    without_file = make_version("no-file")

    add(admin_client, model_file=iris_artifact.upload())
    admin_client.post(
        f"{URL}{without_file.pk}/change/", {**EMPTY, "model_file": iris_artifact.upload()}
    )

    assert in_transaction == [False, False]
    assert ModelVersion.objects.exclude(artifact="").count() == 2
