"""Listing predictions: order, filters and pages."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from predictions.models import Prediction
from registry.models import ModelVersion
from registry.testing.clients import api_client

URL = "/api/v1/predictions/"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

MakeVersion = Callable[..., ModelVersion]


def record(version: ModelVersion, n: int = 1, **fields: Any) -> list[Prediction]:
    """Rows one minute apart, unless `created_at` is given; the newest is the last."""
    return Prediction.objects.bulk_create(
        Prediction(
            **{
                "model": version,
                "input_data": {"features": [i]},
                "prediction": float(i),
                "created_at": NOON + timedelta(minutes=i),
                **fields,
            }
        )
        for i in range(n)
    )


def values(response: Any) -> list[float]:
    assert response.status_code == 200, response.content
    return [row["prediction"] for row in response.json()]


def next_link(response: Any) -> str | None:
    match = re.fullmatch(r'<(http://testserver[^>]+)>; rel="next"', response.get("Link", ""))
    return match[1] if match else None


def follow_links(client: APIClient, url: str) -> list[int]:
    """The ids on every page from `url` on."""
    ids: list[int] = []
    while True:
        response = client.get(url)
        assert response.status_code == 200, response.content
        body = response.json()
        ids += [row["id"] for row in (body if isinstance(body, list) else body["predictions"])]
        next_url = next_link(response)
        if next_url is None:
            return ids
        url = next_url


def test_the_list_is_plain_and_newest_first(client: APIClient, iris: ModelVersion) -> None:
    record(iris, 3)

    response = client.get(URL)

    assert values(response) == [2.0, 1.0, 0.0]
    assert "Link" not in response
    assert "input_data" not in response.json()[0]


def test_rows_with_equal_times_are_listed_by_id(client: APIClient, iris: ModelVersion) -> None:
    record(iris, 3, created_at=NOON)

    assert values(client.get(URL)) == [2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=2", [4.0, 3.0]),
        ("skip=1&limit=2", [3.0, 2.0]),
        ("skip=4", [0.0]),
        ("skip=5", []),
        ("skip=10000", []),
        ("limit=1000", [4.0, 3.0, 2.0, 1.0, 0.0]),
        ("created_after=2026-01-01T12:03:00Z", [4.0]),
        ("created_after=2026-01-01T13:03:00%2B01:00", [4.0]),
        ("created_before=2026-01-01T12:01:00Z", [0.0]),
        ("created_before=2026-01-01T12:01:00", [0.0]),
        ("created_after=2026-01-01T12:00:00Z&created_before=2026-01-01T12:02:00Z", [1.0]),
        ("status=failed", []),
        ("status=succeeded&limit=1", [4.0]),
    ],
)
def test_the_list_is_filtered(
    client: APIClient, iris: ModelVersion, query: str, expected: list[float]
) -> None:
    record(iris, 5)

    assert values(client.get(f"{URL}?{query}")) == expected


def test_the_list_is_filtered_by_version(
    client: APIClient, iris: ModelVersion, make_version: MakeVersion
) -> None:
    other = make_version("other")
    record(iris, prediction=1.0)
    record(other, prediction=2.0)

    assert values(client.get(f"{URL}?model_id={other.pk}")) == [2.0]
    assert values(client.get(f"{URL}?model_id={other.pk + 100}")) == []


def test_the_list_is_filtered_by_status(client: APIClient, iris: ModelVersion) -> None:
    record(iris, 2)
    record(iris, prediction=None, status="failed", error="why")

    [row] = client.get(f"{URL}?status=failed").json()

    assert (row["status"], row["prediction"]) == ("failed", None)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("model_id=zzz", "model_id"),
        ("model_id=0", "model_id"),
        ("model_id=", "model_id"),
        ("model_id=9223372036854775808", "model_id"),
        ("status=zzz", "status"),
        ("created_after=yesterday", "created_after"),
        ("created_before=2026-13-01", "created_before"),
        ("created_after=0001-01-01T00:00:00%2B14:00", "created_after"),
        ("usr=ada", "usr"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=1&limit=2", "limit"),
        ("skip=x", "skip"),
        ("skip=-1", "skip"),
        ("cursor=zzz", "cursor"),
        ("cursor=%FF", "cursor"),
    ],
)
def test_an_invalid_parameter_is_named(client: APIClient, query: str, parameter: str) -> None:
    response = client.get(f"{URL}?{query}")

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [parameter]


def test_the_list_of_an_unknown_version_is_empty(client: APIClient, iris: ModelVersion) -> None:
    record(iris)

    assert values(client.get(f"{URL}?model_id={2**63 - 1}")) == []


@pytest.mark.parametrize("skip", [10_001, 10**12])
def test_a_skip_above_the_limit_points_to_the_link(client: APIClient, skip: int) -> None:
    response = client.get(f"{URL}?skip={skip}")

    assert response.status_code == 400
    assert "10000" in response.json()["errors"]["skip"][0]
    assert "Link" in response.json()["errors"]["skip"][0]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10])
def test_following_the_links_lists_every_row_once(
    client: APIClient, iris: ModelVersion, limit: int
) -> None:
    rows = record(iris, 4) + record(iris, 3, created_at=NOON) + record(iris, 3, created_at=NOON)
    expected = sorted(rows, key=lambda row: (row.created_at, row.pk), reverse=True)

    assert follow_links(client, f"{URL}?limit={limit}") == [row.pk for row in expected]


def test_the_links_keep_the_filters(
    client: APIClient, iris: ModelVersion, make_version: MakeVersion
) -> None:
    other = make_version("other")
    expected = [row.pk for row in reversed(record(iris, 5))]
    record(other, 5)
    before = (NOON + timedelta(minutes=4)).isoformat().replace("+", "%2B")

    url = f"{URL}?model_id={iris.pk}&status=succeeded&created_before={before}&limit=2"

    assert follow_links(client, url) == expected[1:]


def test_the_links_continue_after_a_skip(client: APIClient, iris: ModelVersion) -> None:
    expected = [row.pk for row in reversed(record(iris, 7))]

    assert follow_links(client, f"{URL}?skip=3&limit=2") == expected[3:]


def test_rows_added_between_pages_do_not_shift_them(client: APIClient, iris: ModelVersion) -> None:
    expected = [row.pk for row in reversed(record(iris, 4))]
    first = client.get(f"{URL}?limit=2")
    record(iris, 3, created_at=NOON + timedelta(days=1))

    link = next_link(first)

    assert link is not None
    assert follow_links(client, link) == expected[2:]


def test_the_last_page_has_no_link(client: APIClient, iris: ModelVersion) -> None:
    record(iris, 4)

    assert next_link(client.get(f"{URL}?limit=4")) is None
    assert next_link(client.get(f"{URL}?limit=3")) is not None


@pytest.mark.parametrize("n", [1, 20])
def test_the_list_takes_one_query_besides_the_users(
    client: APIClient, iris: ModelVersion, user: User, django_assert_num_queries: Any, n: int
) -> None:
    record(iris, n, user=user)

    # The user, and the two kinds of permissions.
    with django_assert_num_queries(1 + 3) as captured:
        assert len(client.get(URL).json()) == n

    assert "input_data" not in captured[-1]["sql"]
    assert "COUNT" not in captured[-1]["sql"]


def test_one_prediction_takes_two_queries_besides_the_users(
    client: APIClient, iris: ModelVersion, user: User, django_assert_num_queries: Any
) -> None:
    [row] = record(iris, user=user)

    # The user, the two kinds of permissions, the prediction and its outcome.
    with django_assert_num_queries(1 + 2 + 2):
        client.get(f"{URL}{row.pk}/")


def test_reading_requires_a_token(iris: ModelVersion) -> None:
    [row] = record(iris)

    for path in (URL, f"{URL}{row.pk}/", f"/api/v1/models/{iris.pk}/predictions/"):
        assert api_client().get(path).status_code == 401


def test_every_route_answers_without_its_trailing_slash(
    client: APIClient, iris: ModelVersion
) -> None:
    [row] = record(iris)

    for path in (URL, f"{URL}{row.pk}/", f"/api/v1/models/{iris.pk}/predictions/"):
        assert client.get(path.rstrip("/")).json() == client.get(path).json()


# -- /models/{id}/predictions/


@pytest.mark.parametrize("n", [0, 1, 20])
def test_a_version_with_its_predictions_takes_two_queries_besides_the_users(
    client: APIClient, iris: ModelVersion, user: User, django_assert_num_queries: Any, n: int
) -> None:
    record(iris, n, user=user)

    with django_assert_num_queries(2 + 3):
        body = client.get(f"/api/v1/models/{iris.pk}/predictions/").json()

    assert body["model"] == client.get(f"/api/v1/models/{iris.pk}/").json()
    assert [row["prediction"] for row in body["predictions"]] == [
        float(i) for i in reversed(range(n))
    ]


def test_predictions_of_other_versions_are_left_out(
    client: APIClient, iris: ModelVersion, make_version: MakeVersion
) -> None:
    record(make_version("other"))

    assert client.get(f"/api/v1/models/{iris.pk}/predictions/").json()["predictions"] == []


def test_the_predictions_of_an_inactive_version_are_listed(
    client: APIClient, iris: ModelVersion
) -> None:
    record(iris)
    iris.update(is_active=False)

    body = client.get(f"/api/v1/models/{iris.pk}/predictions/").json()

    assert len(body["predictions"]) == 1


def test_the_predictions_of_an_unknown_version_answer_404(client: APIClient) -> None:
    response = client.get("/api/v1/models/999/predictions/")

    assert response.status_code == 404
    assert response.json()["detail"] == "Model 999 not found"


def test_following_the_links_of_a_version_lists_its_rows(
    client: APIClient, iris: ModelVersion
) -> None:
    expected = [row.pk for row in reversed(record(iris, 5))]

    assert follow_links(client, f"/api/v1/models/{iris.pk}/predictions/?limit=2") == expected


@pytest.mark.parametrize("query", ["model_id=1", "limit=0", "status=x", "zzz=1"])
def test_unknown_or_invalid_parameters_of_a_versions_list_are_refused(
    client: APIClient, iris: ModelVersion, query: str
) -> None:
    response = client.get(f"/api/v1/models/{iris.pk}/predictions/?{query}")

    assert response.status_code == 400
