"""Model files on their way in: with a registration, or later, once."""

import json
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connections
from rest_framework.test import APIClient

from registry import loader, services
from registry.artifacts import store
from registry.models import ModelVersion
from registry.services import Upload, register_model
from registry.testing.fixtures import Artifact, api_client

URL = "/api/v1/models/"
PREDICTIONS = "/api/v1/predictions/"
MINIMAL = {"name": "iris", "version": "1", "framework": "sklearn"}

pytestmark = pytest.mark.usefixtures("proofs_once", "model_path")


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def post_file(client: APIClient, file: Any, **fields: Any) -> Any:
    return client.post(URL, {**MINIMAL, "artifact": file, **fields}, format="multipart")


def put_file(client: APIClient, pk: int, file: Any, **fields: Any) -> Any:
    return client.put(f"{URL}{pk}/artifact/", {"artifact": file, **fields}, format="multipart")


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


def test_a_registered_artifact_predicts_at_once(
    admin_api: APIClient, iris_artifact: Artifact
) -> None:
    pk = post_file(admin_api, iris_artifact.upload()).json()["id"]

    response = admin_api.post(PREDICTIONS, {"model_id": pk, "input_data": iris_artifact.row})

    assert response.status_code == 201
    assert response.json()["output"]["label"] == "setosa"


def test_a_signature_sent_along_names_the_columns(
    admin_api: APIClient, diabetes_artifact: Artifact
) -> None:
    response = post_file(
        admin_api, diabetes_artifact.upload(), signature=json.dumps(diabetes_artifact.declared)
    )

    [tensor] = response.json()["signature"]["inputs"]
    assert tensor["features"][:3] == ["age", "sex", "bmi"]


def test_example_rows_sent_along_type_the_columns(
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
    ("fields", "named"),
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
def test_what_is_sent_wrong_beside_a_file_answers_400_and_writes_nothing(
    admin_api: APIClient,
    iris_artifact: Artifact,
    model_path: Path,
    fields: dict[str, str],
    named: str,
) -> None:
    response = post_file(admin_api, iris_artifact.upload(), **fields)

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [named]
    assert ModelVersion.objects.count() == 0
    assert files_below(model_path) == []


@pytest.mark.parametrize("name", ["model.skops", "model.onnx", "model.ubj"])
def test_a_pickle_is_refused_whatever_its_name(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path, name: str
) -> None:
    file = SimpleUploadedFile(name, pickle.dumps(iris_artifact.model))

    response = post_file(admin_api, file)

    assert response.status_code == 400
    assert "pickle" in response.json()["errors"]["artifact"][0]
    assert ModelVersion.objects.count() == 0
    assert files_below(model_path) == []


def test_half_a_file_is_refused(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path
) -> None:
    half = iris_artifact.content[: len(iris_artifact.content) // 2]

    response = post_file(admin_api, SimpleUploadedFile("model.skops", half))

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["artifact"]
    assert files_below(model_path) == []


def test_an_empty_file_is_refused(admin_api: APIClient, model_path: Path) -> None:
    response = post_file(admin_api, SimpleUploadedFile("model.skops", b""))

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["artifact"]
    assert ModelVersion.objects.count() == 0


def test_a_file_above_the_limit_answers_413_that_names_it(
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
    assert "2024 are allowed" in response.json()["detail"]
    assert files_below(model_path) == []


@pytest.mark.parametrize("name", ["x.onnx", ".x", "a b&c.skops", "-rf"])
def test_the_name_of_a_file_does_not_decide_where_it_lies(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path, name: str
) -> None:
    response = post_file(admin_api, iris_artifact.upload(name))

    assert response.status_code == 201
    [kept] = files_below(model_path)
    assert kept == ModelVersion.objects.get().artifact
    assert Path(kept).parts[:2] == ("iris", "1")
    assert files_below(model_path.parent) == [f"models/{kept}"]


def test_a_taken_name_is_refused_before_the_file_is_kept(
    admin_api: APIClient, iris: ModelVersion, iris_artifact: Artifact, model_path: Path
) -> None:
    before = files_below(model_path)

    assert post_file(admin_api, iris_artifact.upload()).status_code == 409
    assert files_below(model_path) == before


def test_a_row_that_can_not_be_written_leaves_no_file(
    admin_api: APIClient,
    iris_artifact: Artifact,
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(row: ModelVersion, cause: object) -> None:
        assert files_below(model_path) == [row.artifact]
        raise OperationalError("the disk is full")

    monkeypatch.setattr(services, "promote_first_version", fail)

    response = post_file(admin_api, iris_artifact.upload())

    assert response.status_code == 503
    assert files_below(model_path) == []
    assert ModelVersion.objects.count() == 0


def test_a_file_that_can_not_be_placed_leaves_no_row(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path
) -> None:
    # A file where the folder of the version would be.
    model_path.mkdir()
    (model_path / "iris").write_bytes(b"")
    admin_api.raise_request_exception = False

    response = post_file(admin_api, iris_artifact.upload())

    assert response.status_code == 500
    assert str(model_path) not in response.content.decode()
    assert files_below(model_path) == ["iris"]
    assert ModelVersion.objects.count() == 0


@pytest.fixture
def bare(make_version: Callable[..., ModelVersion]) -> ModelVersion:
    return make_version("iris")


def test_an_artifact_is_attached_later(
    admin_api: APIClient, bare: ModelVersion, iris_artifact: Artifact, model_path: Path
) -> None:
    response = put_file(admin_api, bare.pk, iris_artifact.upload())

    bare.refresh_from_db()
    assert response.status_code == 200
    assert response.json()["sha256"] == iris_artifact.sha256 == bare.sha256
    assert files_below(model_path) == [bare.artifact]


def test_the_same_artifact_again_changes_nothing(
    admin_api: APIClient, iris: ModelVersion, iris_artifact: Artifact, model_path: Path
) -> None:
    response = put_file(admin_api, iris.pk, iris_artifact.upload())

    assert response.status_code == 200
    assert response.json()["sha256"] == iris.sha256
    assert files_below(model_path) == [iris.artifact]


def test_another_artifact_answers_409(
    admin_api: APIClient, iris: ModelVersion, diabetes_artifact: Artifact, model_path: Path
) -> None:
    response = put_file(admin_api, iris.pk, diabetes_artifact.upload())

    iris.refresh_from_db()
    assert response.status_code == 409
    assert "register a new version" in response.json()["detail"]
    assert files_below(model_path) == [iris.artifact]
    assert loader.get(iris.pk).version == iris


def test_a_refused_artifact_leaves_the_version_open_for_another(
    admin_api: APIClient, bare: ModelVersion, iris_artifact: Artifact, model_path: Path
) -> None:
    assert put_file(admin_api, bare.pk, SimpleUploadedFile("a.skops", b"?")).status_code == 400
    assert files_below(model_path) == []

    assert put_file(admin_api, bare.pk, iris_artifact.upload()).status_code == 200


def test_an_artifact_of_another_framework_than_the_version_answers_400(
    admin_api: APIClient, make_version: Callable[..., ModelVersion], iris_artifact: Artifact
) -> None:
    version = make_version("iris", framework="onnx")

    response = put_file(admin_api, version.pk, iris_artifact.upload())

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["framework"]


def test_an_artifact_for_an_unknown_version_answers_404(
    admin_api: APIClient, iris_artifact: Artifact
) -> None:
    response = put_file(admin_api, 999, iris_artifact.upload())

    assert response.status_code == 404
    assert response.json()["detail"] == "Model 999 not found"


def test_attaching_without_a_file_answers_400(admin_api: APIClient, bare: ModelVersion) -> None:
    response = admin_api.put(f"{URL}{bare.pk}/artifact/", {}, format="multipart")

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["artifact"]


@pytest.mark.django_db(transaction=True)
def test_of_two_artifacts_at_once_one_is_attached_and_kept(
    manager: User,
    bare: ModelVersion,
    iris_artifact: Artifact,
    pair_artifact: Artifact,
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proved = Barrier(2)
    place = store.place

    def place_together(*args: Any) -> str:
        proved.wait(timeout=20)
        return place(*args)

    monkeypatch.setattr(store, "place", place_together)

    def put(artifact: Artifact) -> int:
        try:
            return put_file(api_client(manager), bare.pk, artifact.upload()).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(put, [iris_artifact, pair_artifact]))

    bare.refresh_from_db()
    winner = iris_artifact if statuses[0] == 200 else pair_artifact
    assert sorted(statuses) == [200, 409]
    assert bare.sha256 == winner.sha256
    assert files_below(model_path) == [bare.artifact]
    assert (model_path / bare.artifact).read_bytes() == winner.content


def test_an_upload_that_breaks_off_leaves_nothing(
    db: None, model_path: Path, iris_artifact: Artifact
) -> None:
    def broken() -> Iterator[bytes]:
        yield iris_artifact.content[:100]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        register_model(name="iris", version="1", upload=Upload(broken()))

    assert files_below(model_path) == []
    assert ModelVersion.objects.count() == 0
