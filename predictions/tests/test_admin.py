"""The prediction log in the admin: read-only, and never counted."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from predictions import admin
from predictions.models import Prediction
from registry.models import ModelVersion
from registry.readonly_admin import BoundedPaginator
from registry.testing.clients import text_of

URL = "/admin/predictions/prediction/"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def record(version: ModelVersion, n: int = 1, **fields: Any) -> list[Prediction]:
    return Prediction.objects.bulk_create(
        Prediction(
            **{
                "model": version,
                "input_data": {"i": i},
                "prediction": i + 0.25,
                "created_at": NOON + timedelta(days=i),
                **fields,
            }
        )
        for i in range(n)
    )


def values_of(response: Any) -> list[float | None]:
    assert response.status_code == 200, response.status_code
    return [row.prediction for row in response.context["cl"].result_list]


def test_the_list_shows_every_kind_of_answer(admin_client: Client, iris: ModelVersion) -> None:
    record(iris, prediction=0.0, confidence=0.9312, output={"label": "<b>setosa</b>"})
    record(iris, prediction=1234.5)
    record(iris, prediction=None, output={"y0": 1, "y1": 2})
    record(iris, prediction=None, status="failed", error="no")

    response = admin_client.get(URL)
    page = text_of(response)

    assert "<b>setosa</b>" in page
    assert b"<b>setosa</b>" not in response.content
    assert "93.1 %" in page
    assert "1234.5" in page
    assert "several outputs" in page
    assert f'href="/admin/registry/modelversion/{iris.pk}/change/"' in page


def test_a_prediction_shows_its_input_as_readable_json(
    admin_client: Client, iris: ModelVersion
) -> None:
    [row] = record(iris, input_data={"city": "<script>", "x": 1e20}, metadata={"who": "é"})

    response = admin_client.get(f"{URL}{row.pk}/change/")
    page = text_of(response)

    assert '"city": "<script>"' in page
    assert b'"city": "<script>"' not in response.content
    assert "1e+20" in page
    assert '"who": "é"' in page
    assert iris.sha256 in page


def test_a_failed_prediction_shows_why(admin_client: Client, iris: ModelVersion) -> None:
    [row] = record(iris, prediction=None, status="failed", error="it broke")

    assert "it broke" in text_of(admin_client.get(f"{URL}{row.pk}/change/"))


def test_nothing_can_be_added_changed_or_deleted(admin_client: Client, iris: ModelVersion) -> None:
    [row] = record(iris)
    pages = text_of(admin_client.get(URL)) + text_of(admin_client.get(f"{URL}{row.pk}/change/"))

    for button in (f"{URL}add/", f"{URL}{row.pk}/delete/", 'name="_save"', "delete_selected"):
        assert button not in pages
    assert admin_client.get(f"{URL}add/").status_code == 403
    assert admin_client.post(f"{URL}add/", {}).status_code == 403
    assert admin_client.post(f"{URL}{row.pk}/change/", {"prediction": 1}).status_code == 403
    assert admin_client.post(f"{URL}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    admin_client.post(URL, chosen)
    assert Prediction.objects.get().prediction == 0.25


@pytest.mark.parametrize(
    "query",
    ["", "?p=2", "?status__exact=failed", "?all=", "?before=2026-01-02", "?model__id__exact={pk}"],
)
def test_no_page_counts_the_table(admin_client: Client, iris: ModelVersion, query: str) -> None:
    record(iris, 101)

    with CaptureQueriesContext(connection) as captured:
        text_of(admin_client.get(URL + query.format(pk=iris.pk)))

    on_log = [query["sql"] for query in captured if 'FROM "predictions"' in query["sql"]]
    counts = [sql for sql in on_log if "COUNT(" in sql]
    assert counts
    assert all(re.search(r"LIMIT 10000\b", sql) for sql in counts)


@pytest.mark.parametrize("n", [1, 30])
def test_the_list_takes_the_same_queries_at_any_length(
    admin_client: Client, iris: ModelVersion, django_assert_num_queries: Any, n: int
) -> None:
    record(iris, n)

    # Session, user, choices of the version filter, bounded count, rows, outcomes, audit event.
    with django_assert_num_queries(7):
        assert len(values_of(admin_client.get(URL))) == n


def test_pages_end_at_the_limit_of_the_count(
    admin_client: Client, iris: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedPaginator, "limit", 3)
    monkeypatch.setattr(admin.PredictionAdmin, "list_per_page", 2)
    record(iris, 5)

    first, last = admin_client.get(URL), admin_client.get(f"{URL}?p=2")

    assert values_of(first) == [4.25, 3.25]
    assert values_of(last) == [2.25]
    assert "The list ends after 3 rows" in text_of(last)


def test_a_short_list_does_not_mention_the_limit(admin_client: Client, iris: ModelVersion) -> None:
    record(iris, 2)

    assert "The list ends after" not in text_of(admin_client.get(URL))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("before=2026-01-02", [0.25]),
        ("before=2026-01-01", []),
        ("before=2026-01-09", [2.25, 1.25, 0.25]),
        ("before=", [2.25, 1.25, 0.25]),
        ("before=nonsense", [2.25, 1.25, 0.25]),
        ("before=2026-01-03&status__exact=succeeded", [1.25, 0.25]),
        ("status__exact=failed", []),
    ],
)
def test_the_list_is_filtered(
    admin_client: Client, iris: ModelVersion, query: str, expected: list[float]
) -> None:
    record(iris, 3)

    assert values_of(admin_client.get(f"{URL}?{query}")) == expected


def test_the_date_filter_keeps_the_other_filters(admin_client: Client, iris: ModelVersion) -> None:
    page = text_of(admin_client.get(f"{URL}?status__exact=succeeded&before=2026-01-02"))

    assert '<input type="hidden" name="status__exact" value="succeeded">' in page
    assert 'value="2026-01-02"' in page
