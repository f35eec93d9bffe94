"""A version with predictions cannot be deleted."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from predictions.models import Prediction
from registry.models import ModelVersion

URL = "/api/v1/models/"
ADMIN_URL = "/admin/registry/modelversion/"


def record(version: ModelVersion, n: int) -> None:
    Prediction.objects.bulk_create(
        Prediction(model=version, input_data={"features": [1]}, prediction=1.0) for _ in range(n)
    )


def delete_in_admin(browser: Client, version: ModelVersion, by: str) -> Any:
    if by == "page":
        return browser.post(f"{ADMIN_URL}{version.pk}/delete/", {"post": "yes"})
    data = {"action": "delete_selected", "_selected_action": [version.pk], "post": "yes"}
    return browser.post(ADMIN_URL, data)


def test_deleting_a_version_with_predictions_answers_409(
    admin_api: APIClient, iris: ModelVersion, model_path: Path
) -> None:
    record(iris, 1)

    response = admin_api.delete(f"{URL}{iris.pk}/")

    assert response.status_code == 409
    assert "deactivate it instead" in response.json()["detail"]
    assert ModelVersion.objects.get() == iris
    assert (model_path / iris.artifact).exists()
    assert Prediction.objects.count() == 1


def test_refusing_a_deletion_reads_a_limited_number_of_keys(
    admin_api: APIClient, iris: ModelVersion
) -> None:
    record(iris, 100)

    with CaptureQueriesContext(connection) as captured:
        admin_api.delete(f"{URL}{iris.pk}/")

    selects = [query["sql"] for query in captured if re.search(r'FROM "predictions"', query["sql"])]
    assert len(selects) == 1
    assert re.search(r'^SELECT "predictions"\."id"( AS \S+)? FROM', selects[0])
    assert re.search(r"LIMIT \d\d?$", selects[0])


@pytest.mark.parametrize("by", ["page", "action"])
def test_the_admin_does_not_delete_a_version_with_predictions(
    admin_client: Client, iris: ModelVersion, model_path: Path, by: str
) -> None:
    record(iris, 30)

    response = delete_in_admin(admin_client, iris, by)

    page = response.content.decode()
    assert response.status_code == 200
    assert "Cannot delete" in page
    assert page.count("/admin/predictions/prediction/") <= 20 + 1
    assert ModelVersion.objects.get() == iris
    assert (model_path / iris.artifact).exists()
