"""Registering a version together with its artifact."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from rest_framework.test import APIClient

from registry import services
from registry.models import ModelVersion
from registry.services import Upload, register_model
from registry.testing.artifacts import Artifact
from registry.testing.folders import files_below

URL = "/api/v1/models/"
PREDICTIONS = "/api/v1/predictions/"
MINIMAL = {"name": "iris", "version": "1", "framework": "sklearn"}

pytestmark = pytest.mark.usefixtures("cached_proofs", "model_path")


def post_file(client: APIClient, file: Any, **fields: Any) -> Any:
    return client.post(URL, {**MINIMAL, "artifact": file, **fields}, format="multipart")


def test_a_version_is_registered_with_its_artifact(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path
) -> None:
    response = post_file(admin_api, iris_artifact.upload(), metrics='{"accuracy": 1e20}')

    body, row = response.json(), ModelVersion.objects.get()
    assert response.status_code == 201
    assert body["sha256"] == iris_artifact.sha256
    assert body["size_bytes"] == len(iris_artifact.content)
    assert body["signature"] == iris_artifact.proof.signature
    assert body["libraries"] == iris_artifact.proof.libraries
    assert body["metrics"] == {"accuracy": 1e20}
    assert files_below(model_path) == [row.artifact]
    assert (model_path / row.artifact).read_bytes() == iris_artifact.content


def test_a_registered_artifact_predicts_immediately(
    admin_api: APIClient, iris_artifact: Artifact
) -> None:
    pk = post_file(admin_api, iris_artifact.upload()).json()["id"]

    response = admin_api.post(PREDICTIONS, {"model_id": pk, "input_data": iris_artifact.row})

    assert response.status_code == 201
    assert response.json()["output"]["label"] == "setosa"


def test_a_declared_signature_names_the_columns(
    admin_api: APIClient, diabetes_artifact: Artifact
) -> None:
    response = post_file(
        admin_api, diabetes_artifact.upload(), signature=json.dumps(diabetes_artifact.declared)
    )

    [tensor] = response.json()["signature"]["inputs"]
    assert tensor["features"][:3] == ["age", "sex", "bmi"]


def test_example_rows_supply_the_types_of_columns(
    admin_api: APIClient, mixed_artifact: Artifact
) -> None:
    response = post_file(
        admin_api, mixed_artifact.upload(), example=json.dumps(mixed_artifact.example)
    )

    inputs = response.json()["signature"]["inputs"]
    assert [(tensor["name"], tensor["datatype"]) for tensor in inputs] == [
        ("city", "BYTES"),
        ("age", "FP64"),
        ("income", "FP64"),
    ]


@pytest.mark.parametrize(
    ("fields", "reported"),
    [
        ({"signature": "{"}, "signature"),
        ({"signature": '{"input": []}'}, "signature"),
        ({"signature": '{"inputs": [{"name": "a", "datatype": "FLOAT"}]}'}, "signature"),
        ({"signature": '{"inputs": [{"name": "b", "datatype": "FP64"}]}'}, "signature"),
        ({"example": "[]"}, "example"),
        ({"example": "{}"}, "example"),
        ({"example": json.dumps([[1]] * 1001)}, "example"),
        ({"example": "[" * 5000}, "example"),
        ({"example": '[["a", 2, 3, 4]]'}, "example[0].features[0]"),
        ({"example": "[[1, 2, 3]]"}, "example[0].features"),
        ({"framework": "onnx"}, "framework"),
        ({"metrics": '{"x": NaN}'}, "metrics"),
        ({"metrics": '{"x": 18446744073709551617}'}, "metrics"),
        ({"tags": "[" * 100_000}, "tags"),
        ({"colour": "red"}, "colour"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_invalid_field_next_to_a_file_answers_400_and_writes_nothing(
    admin_api: APIClient,
    iris_artifact: Artifact,
    model_path: Path,
    fields: dict[str, str],
    reported: str,
) -> None:
    response = post_file(admin_api, iris_artifact.upload(), **fields)

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [reported]
    assert ModelVersion.objects.count() == 0
    assert files_below(model_path) == []


@pytest.mark.parametrize("name", ["model.skops", "model.onnx", "model.ubj"])
def test_a_pickle_is_rejected_whatever_its_name(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path, name: str
) -> None:
    file = SimpleUploadedFile(name, pickle.dumps(iris_artifact.model))

    response = post_file(admin_api, file)

    assert response.status_code == 400
    assert "pickle" in response.json()["errors"]["artifact"][0]
    assert ModelVersion.objects.count() == 0
    assert files_below(model_path) == []


def test_a_truncated_file_is_rejected(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path
) -> None:
    half = iris_artifact.content[: len(iris_artifact.content) // 2]

    response = post_file(admin_api, SimpleUploadedFile("model.skops", half))

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["artifact"]
    assert files_below(model_path) == []


def test_an_empty_file_is_rejected(admin_api: APIClient, model_path: Path) -> None:
    response = post_file(admin_api, SimpleUploadedFile("model.skops", b""))

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["artifact"]
    assert ModelVersion.objects.count() == 0


def test_a_file_above_the_limit_answers_413_with_the_limit(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path, settings: LazySettings
) -> None:
    settings.MAX_ARTIFACT_BYTES = 1000

    response = post_file(admin_api, iris_artifact.upload())

    assert response.status_code == 413
    assert "limit of 1000 bytes" in response.json()["detail"]
    assert ModelVersion.objects.count() == 0
    assert files_below(model_path) == []


def test_a_body_above_the_limit_answers_413_before_it_is_read(
    admin_api: APIClient, model_path: Path, settings: LazySettings
) -> None:
    settings.MAX_ARTIFACT_BYTES, settings.MAX_REQUEST_BYTES = 1000, 1024

    response = post_file(admin_api, SimpleUploadedFile("model.skops", b"x" * 4000))

    assert response.status_code == 413
    assert "the limit is 2024" in response.json()["detail"]
    assert files_below(model_path) == []


@pytest.mark.parametrize("name", ["x.onnx", ".x", "a b&c.skops", "-rf"])
def test_the_name_of_a_file_does_not_determine_where_it_is_stored(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path, name: str
) -> None:
    response = post_file(admin_api, iris_artifact.upload(name))

    assert response.status_code == 201
    [stored] = files_below(model_path)
    assert stored == ModelVersion.objects.get().artifact
    assert Path(stored).name == f"{iris_artifact.sha256}.skops"
    assert files_below(model_path.parent) == [f"models/{stored}"]


def test_a_taken_version_answers_409_and_stores_no_file(
    admin_api: APIClient, iris: ModelVersion, iris_artifact: Artifact, model_path: Path
) -> None:
    before = files_below(model_path)

    assert post_file(admin_api, iris_artifact.upload()).status_code == 409
    assert files_below(model_path) == before


def test_a_row_that_cannot_be_written_leaves_no_file(
    admin_api: APIClient,
    iris_artifact: Artifact,
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(row: ModelVersion, attribution: object) -> None:
        assert files_below(model_path) == [row.artifact]
        raise OperationalError("the disk is full")

    monkeypatch.setattr(services, "promote_first_version", fail)

    response = post_file(admin_api, iris_artifact.upload())

    assert response.status_code == 503
    assert files_below(model_path) == []
    assert ModelVersion.objects.count() == 0


def test_a_file_that_cannot_be_placed_leaves_no_row(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path
) -> None:
    # A file where the folder of all artifacts would be.
    model_path.mkdir()
    (model_path / "sha256").write_bytes(b"")
    admin_api.raise_request_exception = False

    response = post_file(admin_api, iris_artifact.upload())

    assert response.status_code == 503
    assert str(model_path) not in response.content.decode()
    assert files_below(model_path) == ["sha256"]
    assert ModelVersion.objects.count() == 0


def test_an_interrupted_upload_leaves_nothing(
    db: None, model_path: Path, iris_artifact: Artifact
) -> None:
    def interrupted() -> Iterator[bytes]:
        yield iris_artifact.content[:100]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        register_model(name="iris", version="1", upload=Upload(interrupted()))

    assert files_below(model_path) == []
    assert ModelVersion.objects.count() == 0


def test_metrics_of_a_form_may_be_null(admin_api: APIClient, iris_artifact: Artifact) -> None:
    response = post_file(admin_api, iris_artifact.upload(), metrics="null")

    assert response.status_code == 201
    assert response.json()["metrics"] is None
