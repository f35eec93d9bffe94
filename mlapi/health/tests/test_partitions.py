"""Readiness and metrics of a log in partitions."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from mlapi import metrics
from mlapi.health import database
from predictions.partitions.catalog import Layout, Partition
from predictions.partitions.errors import PartitionsUnavailable

PARTITIONS = [Partition("a", None, 100, 0, 0), Partition("b", 100, 200, 0, 0)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("last_id", "status", "state"), [(50, 200, "few ahead"), (199, 503, "nearly full")]
)
def test_few_partitions_are_a_warning_and_a_full_one_a_failure(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, last_id: int, status: int, state: str
) -> None:
    layout = Layout(PARTITIONS, last_id)
    monkeypatch.setattr(database, "find_layout", lambda connection: layout)

    response: Any = client.get("/health/ready/")

    assert response.status_code == status
    assert response.json()["partitions"] == state
    assert f"mlapi_log_ids_left {199.0 - last_id}" in metrics.exposition().decode()


@pytest.mark.django_db
def test_partitions_of_another_kind_are_a_warning(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(connection: object) -> None:
        raise PartitionsUnavailable("The partition rest is not one of a range of ids, but DEFAULT")

    monkeypatch.setattr(database, "find_layout", refuse)

    response: Any = client.get("/health/ready/")

    assert response.json()["partitions"] == "unmanaged"
    assert response.status_code == 200
    assert "The partition rest" in caplog.text
