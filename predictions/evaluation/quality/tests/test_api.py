"""The quality endpoint: windows, buckets and coverage."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.testing.rows import (
    NOON,
    REGRESSOR_SIGNATURE,
    TWO_OUTPUT_SIGNATURE,
    add_labels,
    add_values,
    classifier_signature,
    create_predictions,
    make_version,
)
from registry.models import ModelVersion
from registry.testing.clients import api_client

WINDOW = "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z"


def url(version: ModelVersion, query: str = WINDOW) -> str:
    return f"/api/v1/models/{version.pk}/quality/?{query}"


@pytest.fixture
def regressor(db: None) -> ModelVersion:
    return make_version(REGRESSOR_SIGNATURE)


def test_a_regressor_has_error_figures(client: APIClient, regressor: ModelVersion) -> None:
    rows = create_predictions(regressor, [1.0, 2.0, 3.0, 4.0])
    Prediction.objects.filter(pk=rows[3].pk).update(prediction=None, status="failed", error="no")
    add_values(rows[:2], [0.0, 4.0])

    body = client.get(url(regressor)).json()

    counts = [body[name] for name in ("rows", "failed", "with_outcome", "scored", "coverage")]
    assert counts == [4, 1, 2, 2, 0.5]
    assert (body["task"], body["classification"], body["buckets"]) == ("regression", None, None)
    figures = body["regression"]
    assert (figures["mae"], figures["bias"], figures["r2"]) == (1.5, -0.5, 1 - 5 / 8)


def test_a_classifier_has_class_figures(client: APIClient, db: None) -> None:
    version = make_version(classifier_signature(["a", "b"]))
    add_labels(create_predictions(version, [0.0, 1.0], confidence=0.75), ["a", "a"])

    body = client.get(url(version)).json()

    assert body["regression"] is None
    assert body["classification"]["accuracy"] == 0.5
    assert body["classification"]["log_loss"] is None
    assert [row["support"] for row in body["classes"]] == [2, 0]
    assert body["calibration"][7] == {
        "low": 0.7,
        "high": 0.8,
        "rows": 2,
        "mean_confidence": 0.75,
        "accuracy": 0.5,
    }


@pytest.mark.parametrize(
    ("bucket", "starts"),
    [
        ("hour", ["2026-01-01T12:00:00Z", "2026-01-02T12:00:00Z", "2026-01-03T12:00:00Z"]),
        ("day", ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]),
        ("week", ["2025-12-29T00:00:00Z"]),
        ("month", ["2026-01-01T00:00:00Z"]),
    ],
)
def test_buckets_begin_in_utc(
    client: APIClient, regressor: ModelVersion, bucket: str, starts: list[str]
) -> None:
    for day in range(3):
        rows = create_predictions(regressor, [1.0, 2.0], created_at=NOON + timedelta(days=day))
        if day == 1:
            add_values(rows, [1.0, 3.0])

    body = client.get(url(regressor, f"{WINDOW}&bucket={bucket}")).json()

    assert [row["start"] for row in body["buckets"]] == starts
    assert sum(row["rows"] for row in body["buckets"]) == body["rows"] == 6
    assert sum(row["scored"] for row in body["buckets"]) == body["scored"] == 2
    if bucket == "day":
        figures = [row["regression"] and row["regression"]["mae"] for row in body["buckets"]]
        assert figures == [None, 0.5, None]


def test_a_window_includes_its_start_but_not_its_end(
    client: APIClient, regressor: ModelVersion
) -> None:
    create_predictions(regressor, [1.0, 2.0, 3.0])

    query = "from=2026-01-01T12:00:00Z&to=2026-01-01T12:02:00Z"

    assert client.get(url(regressor, query)).json()["rows"] == 2


def test_the_default_window_is_the_last_thirty_days(
    client: APIClient, regressor: ModelVersion
) -> None:
    create_predictions(regressor, [1.0], created_at=timezone.now() - timedelta(days=29))
    create_predictions(regressor, [1.0], created_at=timezone.now() - timedelta(days=31))

    assert client.get(url(regressor, "")).json()["rows"] == 1


def test_without_rows_there_are_no_figures(client: APIClient, regressor: ModelVersion) -> None:
    body = client.get(url(regressor, f"{WINDOW}&bucket=day")).json()

    assert (body["rows"], body["coverage"], body["regression"]) == (0, None, None)
    assert body["buckets"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
        ("from=x", "from"),
        ("to=0001-01-01T00:00:00%2B14:00", "to"),
        ("from=2200-01-01T00:00:00Z", "from"),
        ("from=2025-01-01T00:00:00Z&to=2026-01-01T00:00:00Z&bucket=hour", "bucket"),
        ("bucket=year", "bucket"),
        ("since=2026-01-01T00:00:00Z", "since"),
        ("bucket=day&bucket=day", "bucket"),
    ],
)
def test_an_invalid_query_names_its_parameter(
    client: APIClient, regressor: ModelVersion, query: str, field: str
) -> None:
    response = client.get(url(regressor, query))

    assert response.status_code == 400, response.content
    assert list(response.json()["errors"]) == [field]


@pytest.mark.parametrize("signature", [None, TWO_OUTPUT_SIGNATURE])
def test_a_version_without_a_single_output_has_no_quality(
    client: APIClient, db: None, signature: Any
) -> None:
    response = client.get(url(make_version(signature)))

    assert response.status_code == 409
    assert response.json()["type"] == "urn:mlapi:problem:no-quality"


def test_an_unknown_version_answers_404(client: APIClient, db: None) -> None:
    assert client.get("/api/v1/models/99/quality/").status_code == 404


def test_quality_requires_a_token(regressor: ModelVersion) -> None:
    assert api_client().get(url(regressor)).status_code == 401


def test_the_number_of_queries_does_not_depend_on_the_rows(
    client: APIClient, regressor: ModelVersion
) -> None:
    add_values(create_predictions(regressor, [1.0] * 30), [1.0] * 30)

    with CaptureQueriesContext(connection) as queries:
        assert client.get(url(regressor, f"{WINDOW}&bucket=day")).status_code == 200

    # User and version; means and sums of answered and shadow rows; the row count.
    assert len(queries) == 7 + 2  # of permissions
