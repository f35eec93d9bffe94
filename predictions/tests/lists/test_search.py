"""Finding predictions: by what callers know of them, in lists that page by key."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from predictions.models import Outcome, Prediction
from predictions.models.predictions import PredictionQuerySet
from predictions.testing.rows import wait_until_followable
from registry.models import AliasMove, ModelVersion

URL = "/api/v1/predictions/"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def make_version(name: str, number: str = "1") -> ModelVersion:
    return ModelVersion.objects.create(name=name, version=number, framework="sklearn")


def add(version: ModelVersion, minute: int, **fields: Any) -> Prediction:
    """A prediction whose answer is its minute."""
    return Prediction.objects.create(
        model=version,
        input_data={"x": minute},
        prediction=minute,
        created_at=NOON + timedelta(minutes=minute),
        **fields,
    )


def add_alias(name: str, alias: str) -> None:
    """The history of an alias; in the log its name stays when it is removed."""
    AliasMove.objects.create(
        name=name, alias=alias, number=1, action=AliasMove.Action.SET, created_at=NOON
    )


@pytest.fixture
def log(user: User, django_user_model: type[User]) -> list[Prediction]:
    """Six predictions of two models, the first of which has two versions."""
    first, second, other = make_version("a", "1"), make_version("a", "2"), make_version("b")
    grace = django_user_model.objects.create_user("grace")
    add_alias("a", "champion")
    add_alias("a", "old")
    add_alias("b", "champion")
    champion = {"alias": "champion", "arm": "primary"}
    primary = add(first, 0, user=user, subject="17", request_id="r-1", reference="o-1", **champion)
    return [
        primary,
        add(second, 1, subject="17", alias="champion", arm="shadow", primary=primary),
        add(second, 2, user=grace, subject="18", request_id="r-1", alias="champion", arm="canary"),
        add(first, 3, user=user, alias="old", arm="primary"),
        add(other, 4, user=grace, subject="17", request_id="r-2", **champion),
        add(first, 5, user=user, status="failed", error="no"),
    ]


CASES = {
    "subject=17": [4, 1, 0],
    "subject=1": [],
    "reference=o-1": [0],
    "request_id=r-1": [2, 0],
    "request_id=r-9": [],
    "user=ada": [5, 3, 0],
    "user=grace": [4, 2],
    "user=nobody": [],
    "alias=champion": [4, 2, 1, 0],
    "alias=old": [3],
    "alias=never": [],
    "arm=primary": [4, 3, 0],
    "arm=shadow": [1],
    "arm=canary&alias=champion": [2],
    "model=a": [5, 3, 2, 1, 0],
    "model=b": [4],
    "model=a:1": [5, 3, 0],
    "model=a:9": [],
    "model=never": [],
    "model=a@champion": [2, 1, 0],
    "model=a@old": [3],
    "model=a@champion&arm=shadow": [1],
    "model=a@champion&alias=old": [],
    "model=a&status=failed": [5],
    "model=a&subject=17": [1, 0],
    "model=a&user=grace": [2],
    "model=a&created_after=2026-01-01T12:02:00Z": [5, 3],
    "alias=champion&created_before=2026-01-01T12:02:00Z": [1, 0],
    "model=b&alias=champion&user=grace&subject=17&request_id=r-2&arm=primary": [4],
}


def answers(response: Any) -> list[float]:
    assert response.status_code == 200, response.content
    return [row["prediction"] for row in response.json()]


@pytest.mark.parametrize("query", CASES)
def test_the_log_is_searched(client: APIClient, log: list[Prediction], query: str) -> None:
    assert answers(client.get(f"{URL}?{query}")) == CASES[query]


@pytest.mark.parametrize("query", [query for query in CASES if len(CASES[query]) > 1])
def test_a_search_is_paged_by_key(client: APIClient, log: list[Prediction], query: str) -> None:
    found, url = [], f"{URL}?{query}&limit=1"
    while url:
        response = client.get(url)
        found += answers(response)
        url = response.get("Link", "<>").partition("<")[2].partition(">")[0]

    assert found == CASES[query]


@pytest.mark.parametrize("query", ["model=a", "alias=champion", "model=a@champion"])
def test_a_search_of_several_ranges_skips_rows(
    client: APIClient, log: list[Prediction], query: str
) -> None:
    assert answers(client.get(f"{URL}?{query}&skip=1&limit=2")) == CASES[query][1:3]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("query", ["subject=17", "model=a@champion", "user=ada"])
def test_followers_can_search(client: APIClient, log: list[Prediction], query: str) -> None:
    wait_until_followable()

    assert answers(client.get(f"{URL}?after=&{query}")) == CASES[query][::-1]


def test_the_list_of_a_version_is_searched(client: APIClient, log: list[Prediction]) -> None:
    url = f"/api/v1/models/{log[0].model_id}/predictions/"

    found = client.get(f"{url}?alias=champion").json()["predictions"]

    assert [row["prediction"] for row in found] == [0]
    assert client.get(f"{url}?model=a").json()["errors"] == {"model": ["Unknown parameter."]}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("model=a:b:c", "model"),
        ("model=@champion", "model"),
        ("model=a@", "model"),
        ("model=", "model"),
        (f"model={'a' * 152}", "model"),
        ("subject=", "subject"),
        (f"subject={'a' * 201}", "subject"),
        ("subject=%00", "subject"),
        ("request_id=a b", "request_id"),
        (f"request_id={'a' * 101}", "request_id"),
        ("alias=..", "alias"),
        ("arm=zzz", "arm"),
        (f"user={'a' * 151}", "user"),
        ("include=zzz", "include"),
        ("include=", "include"),
        ("include=input_data&limit=101", "limit"),
    ],
)
def test_a_malformed_filter_is_named(client: APIClient, query: str, field: str) -> None:
    response = client.get(f"{URL}?{query}")

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]


def test_rows_include_what_is_asked_for(client: APIClient, log: list[Prediction]) -> None:
    primary, shadow = log[:2]
    for value in (1, 2):
        Outcome.objects.create(prediction=primary, value=value, observed_at=NOON)

    rows = client.get(f"{URL}?subject=17&include=input_data,outcome").json()

    assert [row["input_data"] for row in rows] == [{"x": 4}, {"x": 1}, {"x": 0}]
    latest = {"value": 2.0, "label": None, "observed_at": "2026-01-01T12:00:00Z"}
    for row in rows[1:]:
        assert row["outcome"].pop("created_at")
        assert row["outcome"] == latest
    assert rows[0]["outcome"] is None
    detail = client.get(f"{URL}{shadow.pk}/").json()
    assert detail["outcome"]["value"] == 2.0
    assert "outcome" not in client.get(f"{URL}?include=input_data").json()[0]


@pytest.mark.parametrize(
    ("query", "queries"),
    [
        # The caller and two for the permissions, the page, the audit event.
        ("subject=17", 5),
        ("subject=17&include=input_data", 5),
        ("subject=17&include=input_data,outcome", 6),
        # The versions of the name, the keys, the rows.
        ("model=a", 7),
        # The same, and the versions' names.
        ("model=a@champion", 8),
        # The versions' names, the aliases of now and of the past, the keys, the rows.
        ("arm=primary&include=outcome", 10),
        # The user's id, for the filter and for the audit event.
        ("user=grace", 7),
    ],
)
def test_a_search_takes_the_same_queries_at_any_length(
    client: APIClient,
    log: list[Prediction],
    django_assert_num_queries: Any,
    query: str,
    queries: int,
) -> None:
    client.get(f"{URL}?{query}")
    for minute in range(6, 30):
        for row in (log[0], log[2]):
            add(row.model, minute, user=row.user, subject="17", alias="champion", arm="primary")

    with django_assert_num_queries(queries):
        assert client.get(f"{URL}?{query}").status_code == 200


INDEXES: Sequence[tuple[dict[str, Any], str]] = [
    ({"subject": "17"}, "prediction_of_subject"),
    ({"request_id": "r-1"}, "prediction_of_request"),
    ({"user": "ada"}, "prediction_of_user"),
    ({"reference": "o-1"}, "prediction_of_reference"),
    ({"model": "a@champion"}, "prediction_of_alias"),
    ({"arm": "canary"}, "prediction_of_alias"),
    ({"model": "a"}, "prediction_newest_of_model"),
]


@pytest.mark.parametrize(("filters", "index"), INDEXES)
def test_each_filter_has_an_index(
    log: list[Prediction], filters: dict[str, Any], index: str
) -> None:
    Prediction.objects.bulk_create(
        Prediction(model=log[0].model, input_data={}, prediction=0) for _ in range(3000)
    )
    with connection.cursor() as cursor:
        # The planner counts what earlier tests left in the indexes when they were rolled back.
        if connection.vendor == "postgresql":
            cursor.execute("REINDEX TABLE predictions")
        cursor.execute("ANALYZE predictions")
    with CaptureQueriesContext(connection) as captured:
        rows = Prediction.objects.matching(**filters).newest_first()
        list(rows.newest_of_runs(2) if rows.lies_in_runs else rows[:2])

    on_log = [query["sql"] for query in captured if 'FROM "predictions"' in query["sql"]]
    assert index in plan_of(on_log[0]), plan_of(on_log[0])


def plan_of(statement: str) -> str:
    """How the database executes a statement."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}")
            return "\n".join(str(row[-1]) for row in cursor.fetchall())
        cursor.execute(f"EXPLAIN {statement}")
        return "\n".join(row[0] for row in cursor.fetchall())


def test_a_search_is_the_same_queryset_that_exports_read(log: list[Prediction]) -> None:
    rows: PredictionQuerySet = Prediction.objects.matching(model="a@champion")

    assert sorted(row.prediction or 0 for row in rows) == sorted(CASES["model=a@champion"])
