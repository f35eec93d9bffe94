"""Bodies that are cut off, on every route that takes one."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from rest_framework.test import APIClient

from mlapi.bodies.tests.calls import CALLS, CSV, as_json, error_of, send
from predictions.models import Outcome, Prediction
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.folders import files_below


@pytest.mark.parametrize("name", CALLS)
def test_a_body_shorter_than_its_length_is_refused(
    client: APIClient, model: ModelVersion, name: str
) -> None:
    call = CALLS[name]
    length = len(call.body)

    response = send(client, call, model, CONTENT_LENGTH=str(length + 3))

    assert response.status_code == 400
    assert f"after {length} of the {length + 3} bytes" in error_of(response)
    assert not Prediction.objects.exists()


def test_csv_that_is_cut_inside_its_last_number_is_not_recorded(
    client: APIClient, model: ModelVersion
) -> None:
    call = CALLS["csv"]._replace(body=CSV.replace(b"0.2", b"2.3"))
    cut = call._replace(body=call.body[:-2])

    response = send(client, cut, model, CONTENT_LENGTH=str(len(call.body)))

    assert response.status_code == 400
    assert not Prediction.objects.exists()
    # Without its last line break it is still complete.
    assert send(client, call, model).status_code == 200


def test_outcomes_that_are_cut_off_are_not_recorded(client: APIClient, model: ModelVersion) -> None:
    send(client, CALLS["predict"], model)
    outcome = {"prediction_id": Prediction.objects.get().pk, "value": 1}
    call = as_json("/api/v1/outcomes/", outcome)

    response = send(client, call, model, CONTENT_LENGTH=str(len(call.body) + 1))

    assert response.status_code == 400
    assert not Outcome.objects.exists()


@pytest.mark.usefixtures("cached_proofs")
@pytest.mark.parametrize("end", [-1, -60, -5000], ids=["boundary", "fields", "file"])
def test_a_form_that_is_cut_off_registers_nothing(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path, end: int
) -> None:
    fields = {"artifact": iris_artifact.upload(), "name": "iris", "framework": "sklearn"}
    body = encode_multipart(BOUNDARY, fields)
    environ: Any = {"wsgi.input": io.BytesIO(body[:end]), "CONTENT_LENGTH": str(len(body))}

    response = admin_api.post("/api/v1/models/", body, content_type=MULTIPART_CONTENT, **environ)

    assert response.status_code == 400
    assert not ModelVersion.objects.exists()
    assert files_below(model_path) == []


@pytest.mark.usefixtures("cached_proofs")
def test_an_admin_form_that_is_cut_off_registers_nothing(
    admin_client: Any, iris_artifact: Artifact, model_path: Path
) -> None:
    fields = {"name": "iris", "framework": "sklearn", "artifact": iris_artifact.upload()}
    body = encode_multipart(BOUNDARY, fields)
    admin_client.raise_request_exception = False

    response = admin_client.generic(
        "POST",
        "/admin/registry/modelversion/add/",
        body,
        content_type=MULTIPART_CONTENT,
        **{"wsgi.input": io.BytesIO(body[:-5000]), "CONTENT_LENGTH": str(len(body))},
    )

    assert response.status_code == 400
    assert not ModelVersion.objects.exists()
    assert files_below(model_path) == []
