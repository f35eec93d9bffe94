"""Setting and reading the reference of a version over HTTP."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from rest_framework.test import APIClient

from predictions.evaluation.references import scoring
from predictions.models import Outcome, Reference, StaleHour
from predictions.testing.counting import churn, create_random
from predictions.testing.rows import NOON
from registry.models import AuditEvent, ModelVersion
from registry.testing.clients import api_client, permit

WINDOW = {"from": NOON.isoformat(), "to": (NOON + timedelta(hours=3)).isoformat()}


def url(version: ModelVersion) -> str:
    return f"/api/v1/models/{version.pk}/reference/"


@pytest.fixture
def owner(user: User) -> APIClient:
    return api_client(permit(user, "change_modelversion"))


def iris_rows(n_rows: int = 60) -> str:
    rng = np.random.default_rng(1)
    lines = ["features[0],features[1],features[2],features[3],species"]
    for row in rng.uniform(1, 7, (n_rows, 4)).round(2).tolist():
        lines.append(",".join(map(str, [*row, "setosa" if row[2] < 3 else "virginica"])))
    return "\n".join(lines) + "\n"


def put_file(
    client: APIClient, version: ModelVersion, content: str, name: str = "rows.csv", **fields: Any
) -> Any:
    file = SimpleUploadedFile(name, content.encode())
    return client.put(url(version), {"file": file, **fields}, format="multipart")


def test_a_file_becomes_the_reference(owner: APIClient, iris: ModelVersion) -> None:
    response = put_file(
        owner, iris, iris_rows(), label_column="species", description="training data"
    )

    assert response.status_code == 200, response.json()
    body = response.json()
    assert body["source"] == "file"
    assert (body["rows"], body["labelled_rows"]) == (60, 60)
    variables = {variable["key"]: variable for variable in body["variables"]}
    assert set(variables) == {f"input:features[{i}]" for i in range(4)} | {
        "prediction",
        "confidence",
    }
    assert 1 <= variables["input:features[0]"]["numbers"]["quantiles"]["0.5"] <= 7
    assert sum(variables["prediction"]["categories"]["values"].values()) == 60
    assert body["quality"] is not None
    assert owner.get(url(iris)).json() == body
    row = Reference.objects.get()
    assert row.background[0].keys() == {"features"}
    event = AuditEvent.objects.get(action="reference_set")
    assert event.details == {"source": "file", "rows": 60, "digest": row.digest}


def test_the_same_rows_again_change_nothing(owner: APIClient, iris: ModelVersion) -> None:
    first = put_file(owner, iris, iris_rows()).json()
    again = put_file(owner, iris, iris_rows()).json()
    other = put_file(owner, iris, iris_rows(61)).json()

    assert again["id"] == first["id"]
    assert other["id"] != first["id"]
    assert owner.get(url(iris)).json()["id"] == other["id"]
    assert AuditEvent.objects.filter(action="reference_set").count() == 2


@pytest.mark.parametrize(
    ("content", "fields", "status", "message"),
    [
        ("a,b\n1,2\n", {}, 400, "The file has no column 'features'"),
        (iris_rows(0), {}, 400, "The file has no rows"),
        (iris_rows(2) + "1,2,3,,x\n", {}, 400, "line 4: features[3]: Must not be null"),
        (iris_rows(1), {"label_column": "truth"}, 400, "The file has no column 'truth'"),
        (
            iris_rows(1) + "1,2,3,4,rose\n",
            {"label_column": "species"},
            400,
            "row 2: the label 'rose' is not one of the version's classes",
        ),
        (iris_rows(1), {"name": "rows.txt"}, 400, "The name of the file must end with .parquet"),
        (iris_rows(1), {"labels": "x"}, 400, "Unknown field."),
    ],
)
def test_files_that_cannot_be_a_reference(
    owner: APIClient,
    iris: ModelVersion,
    content: str,
    fields: dict[str, Any],
    status: int,
    message: str,
) -> None:
    response = put_file(owner, iris, content, **fields)

    assert response.status_code == status
    assert message in response.content.decode()
    assert not Reference.objects.exists()


def test_files_that_are_too_large(
    owner: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.MAX_REFERENCE_ROWS = 50
    response = put_file(owner, iris, iris_rows(51))
    assert response.status_code == 413
    assert "The file has more than 50 rows" in response.json()["detail"]

    settings.MAX_REFERENCE_BYTES = 100
    response = put_file(owner, iris, iris_rows())
    assert response.status_code == 413
    assert "a request may send 100" in response.json()["detail"]


def test_one_file_at_a_time(owner: APIClient, iris: ModelVersion) -> None:
    with scoring._request_lock:
        response = put_file(owner, iris, iris_rows())

    assert response.status_code == 503
    assert response["Retry-After"] == "5"


def test_a_window_of_the_log_becomes_the_reference(owner: APIClient) -> None:
    version = churn()
    rows = create_random(version, 1, 1000)
    Outcome.objects.create(prediction=rows[0], label="no")
    Outcome.objects.create(prediction=rows[0], label="yes")

    response = owner.put(url(version), {**WINDOW, "description": "January"}, format="json")

    assert response.status_code == 200, response.json()
    body = response.json()
    assert body["source"] == "log"
    assert (body["rows"], body["labelled_rows"]) == (1000, 1)
    assert body["from"] == "2026-01-01T12:00:00Z"
    keys = {variable["key"] for variable in body["variables"]}
    assert {"latency", "input:plan", "input:review#words", "prediction", "confidence"} <= keys
    assert StaleHour.objects.filter(model=version).count() == 3
    # By reference, so that what is deleted from the log is not kept.
    assert set(Reference.objects.get().background) <= {row.pk for row in rows}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (WINDOW, "The window has 10 rows; a reference needs 1000 or more"),
        ({**WINDOW, "to": "2100-01-01T00:00:00Z"}, "The window must have ended"),
        ({"from": WINDOW["to"], "to": WINDOW["from"]}, "Must be before `to`."),
        ({"from": WINDOW["from"]}, "This field is required."),
        ({**WINDOW, "rows": 1}, "Unknown field."),
    ],
)
def test_windows_that_cannot_be_a_reference(
    owner: APIClient, body: dict[str, Any], message: str
) -> None:
    version = churn()
    create_random(version, 1, 10)

    response = owner.put(url(version), body, format="json")

    assert response.status_code == 400
    assert message in response.content.decode()
    assert not Reference.objects.exists()


def test_a_window_with_too_many_rows(owner: APIClient, settings: LazySettings) -> None:
    settings.MAX_REFERENCE_ROWS = 1000
    version = churn()
    create_random(version, 1, 1001)

    response = owner.put(url(version), WINDOW, format="json")

    assert response.status_code == 400
    assert "more than 1000 rows" in response.json()["detail"]


def test_a_window_with_too_many_bytes(owner: APIClient, settings: LazySettings) -> None:
    settings.MAX_REFERENCE_BYTES = 100_000
    version = churn()
    create_random(version, 1, 1000)

    response = owner.put(url(version), WINDOW, format="json")

    assert response.status_code == 400
    assert "more than 100000 bytes" in response.json()["detail"]
    assert not Reference.objects.exists()


def test_a_version_without_a_reference(owner: APIClient) -> None:
    response = owner.get(url(churn()))

    assert response.status_code == 404
    assert "has no reference" in response.json()["detail"]


def test_a_version_without_a_file_cannot_have_one(owner: APIClient) -> None:
    version = ModelVersion.objects.create(name="m", version="1", framework="sklearn")

    response = put_file(owner, version, iris_rows())

    assert response.status_code == 400
    assert "has no signature yet" in response.json()["detail"]


def test_those_who_only_read_cannot_set_it(client: APIClient, iris: ModelVersion) -> None:
    assert put_file(client, iris, iris_rows()).status_code == 403
    assert client.get(url(iris)).status_code == 404


def test_profiles_hold_no_subject_that_could_be_recognised(owner: APIClient) -> None:
    version = churn()
    create_random(version, 1, 1000)
    owner.put(url(version), WINDOW, format="json")
    first = Reference.objects.get()

    # The same rows of other subjects: the profile depends on which rows belong together, not on
    # whose they are.
    for row in list(version.predictions.all()):
        if row.subject is not None:
            row.subject = f"another {row.subject}"
            row.save()
    owner.put(url(version), WINDOW, format="json")

    assert Reference.objects.get() == first


def test_the_admin_shows_references(
    admin_client: Client, owner: APIClient, iris: ModelVersion
) -> None:
    put_file(owner, iris, iris_rows())
    row = Reference.objects.get()

    page = admin_client.get(f"/admin/predictions/reference/{row.pk}/change/").content.decode()
    listed = admin_client.get("/admin/predictions/reference/").content.decode()
    version_page = admin_client.get(
        f"/admin/registry/modelversion/{iris.pk}/change/"
    ).content.decode()

    assert "input:features[0]" in page
    assert row.digest in page
    assert "iris:1" in listed
    assert f"/admin/predictions/reference/?model__id__exact={iris.pk}" in version_page
