"""Pages of the list of versions: the paginator and the filters."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from registry.models import ModelVersion
from registry.pagination import MAX_ID, MAX_MICROSECONDS, encode_cursor

URL = "/api/v1/models/"
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def versions(db: None) -> list[int]:
    """IDs of seven versions, newest first; three have the same creation time."""
    seconds = [0, 1, 2, 2, 2, 3, 4]
    rows = ModelVersion.objects.bulk_create(
        ModelVersion(
            name="m",
            version=str(number),
            framework="onnx",
            created_at=START + timedelta(seconds=second, microseconds=123_456),
        )
        for number, second in enumerate(seconds)
    )
    return [row.pk for row in reversed(rows)]


def ids(response: Any) -> list[int]:
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()]


def next_link(response: Any) -> str | None:
    match = re.fullmatch(r'<(.+)>; rel="next"', response.headers.get("Link", ""))
    return match[1] if match else None


def test_lists_are_newest_first(client: APIClient, versions: list[int]) -> None:
    response = client.get(URL)

    assert ids(response) == versions
    assert next_link(response) is None


def test_skip_and_limit(client: APIClient, versions: list[int]) -> None:
    assert ids(client.get(URL, {"skip": 2, "limit": 3})) == versions[2:5]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("url", [URL, URL.rstrip("/")])
def test_following_links_reads_every_row_once(
    client: APIClient, versions: list[int], url: str, limit: int
) -> None:
    listed: list[int] = []
    link: str | None = f"http://testserver{url}?limit={limit}"
    while link:
        assert urlsplit(link).path == url
        response = client.get(link)
        listed += ids(response)
        link = next_link(response)

    assert listed == versions


def test_link_keeps_filters_and_replaces_skip(client: APIClient, versions: list[int]) -> None:
    response = client.get(URL, {"skip": "1", "limit": "2", "name": "m", "active_only": "false"})

    query = parse_qs(urlsplit(next_link(response) or "").query)
    cursor = query.pop("cursor")
    assert query == {"limit": ["2"], "name": ["m"], "active_only": ["false"]}
    assert ids(client.get(URL, {"cursor": cursor[0]})) == versions[3:]


def test_rows_added_between_pages_do_not_shift_them(client: APIClient, versions: list[int]) -> None:
    link = next_link(client.get(URL, {"limit": 2}))
    ModelVersion.objects.create(name="m", version="new", framework="onnx")

    assert link
    assert ids(client.get(link)) == versions[2:4]


def test_rows_are_never_counted(client: APIClient, versions: list[int]) -> None:
    with CaptureQueriesContext(connection) as queries:
        client.get(URL, {"limit": 2})

    assert len(queries) == 4  # the user of the token, two for permissions, the page
    assert not any("COUNT" in query["sql"] for query in queries)


@pytest.mark.parametrize("cursor", [(MAX_MICROSECONDS, MAX_ID), (0, 0)])
def test_cursors_at_the_limits_are_accepted(
    client: APIClient, versions: list[int], cursor: tuple[int, int]
) -> None:
    microseconds, pk = cursor
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)

    response = client.get(URL, {"cursor": encode_cursor(instant, pk)})

    assert ids(response) == (versions if microseconds else [])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("skip=-1", "skip"),
        ("skip=a", "skip"),
        ("skip=", "skip"),
        ("skip=99999999999999999999999", "skip"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=1.5", "limit"),
        ("limit=%2B5", "limit"),
        ("limit=%D9%A3", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=%C3%A9", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=MS4x&skip=1", "skip"),
        ("limit=1&limit=2", "limit"),
        ("active_only=zzz", "active_only"),
        ("active_only=", "active_only"),
        ("name=a&name=b", "name"),
        ("order=id", "order"),
        ("Limit=1", "Limit"),
    ],
)
def test_an_invalid_parameter_is_named(client: APIClient, query: str, field: str) -> None:
    response = client.get(f"{URL}?{query}")

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]


def test_a_skip_above_the_limit_points_to_the_link(client: APIClient) -> None:
    response = client.get(URL, {"skip": 10_001})

    assert response.status_code == 400
    assert "Link header" in response.json()["errors"]["skip"][0]


def test_a_skip_at_the_limit_is_accepted(client: APIClient) -> None:
    assert ids(client.get(URL, {"skip": 10_000})) == []
