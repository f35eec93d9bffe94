"""The replay endpoints."""

import re
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from predictions.evaluation.replays import plan, results, runner
from predictions.evaluation.replays.plan import Plan
from predictions.models import Prediction, Replay, ReplayResult
from predictions.testing.replays import MakeVersion, record_values, run_replay
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from predictions.testing.replays import recorded_rows as recorded_rows
from registry.models import ModelVersion
from registry.testing.clients import api_client

URL = "/api/v1/replays/"


@pytest.fixture
def analyst(db: None) -> APIClient:
    """A user who may read the log, and start replays."""
    user = User.objects.create_user("lin")
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["add_replay", "view_prediction"])
    )
    return api_client(user)


def follow_links(client: APIClient, url: str) -> list[dict[str, Any]]:
    """The rows on every page from `url` on."""
    rows: list[dict[str, Any]] = []
    while url:
        response = client.get(url)
        assert response.status_code == 200, response.content
        rows += response.json()
        match = re.fullmatch(r'<(http://testserver[^>]+)>; rel="next"', response.get("Link", ""))
        url = match[1] if match else ""
    return rows


# -- POST


def test_a_replay_runs_and_returns_its_figures(
    analyst: APIClient, coarse: ModelVersion, recorded_rows: list[Prediction]
) -> None:
    body = {"from": "iris:1", "to": "iris:2", "limit": 12, "name": "before promotion"}

    response = analyst.post(URL, body)

    assert response.status_code == 201, response.content
    answer = response.json()
    assert (answer["from"], answer["to"], answer["status"]) == ("iris:1", "iris:2", "completed")
    assert (answer["rows_done"], answer["created_by"], answer["limit"]) == (12, "lin", 12)
    assert answer["name"] == "before promotion"
    assert answer["report"]["rows"] == 12
    assert answer["agreement"] == answer["report"]["agreement"]
    assert analyst.get(f"{URL}{answer['id']}/").json() == answer


def test_versions_are_given_by_name_or_id(
    analyst: APIClient, coarse: ModelVersion, recorded_rows: list[Prediction]
) -> None:
    response = analyst.post(URL, {"from": recorded_rows[0].model_id, "to": str(coarse.pk)})

    assert response.status_code == 201, response.content
    assert response.json()["to_id"] == coarse.pk


def test_a_replay_of_too_many_rows_names_the_job(
    analyst: APIClient,
    coarse: ModelVersion,
    recorded_rows: list[Prediction],
    settings: LazySettings,
) -> None:
    settings.MAX_REPLAY_ROWS = 14
    body = {"from": "iris:1", "to": "iris:2", "since": "2026-01-01T00:00:00Z"}

    response = analyst.post(URL, body)

    assert response.status_code == 413
    assert "POST /api/v1/jobs/" in response.json()["detail"]
    assert not Replay.objects.exists()
    assert analyst.post(URL, {**body, "limit": 15}).status_code == 413
    assert analyst.post(URL, {**body, "limit": 14}).json()["report"]["rows"] == 14
    assert analyst.post(URL, {**body, "until": "2026-01-01T12:14:00Z"}).status_code == 201


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"from": None}, "from"),
        ({"from": "iris"}, "from"),
        ({"from": "iris:"}, "from"),
        ({"from": "iris:1:2"}, "from"),
        ({"from": ["iris:1"]}, "from"),
        ({"from": True}, "from"),
        ({"from": 0}, "from"),
        ({"from": 2**63}, "from"),
        ({"from": "9" * 19}, "from"),
        ({"to": "x" * 1000 + ":1"}, "to"),
        ({"to": "iris:1\n"}, "to"),
        ({"since": "yesterday"}, "since"),
        ({"since": "1969-12-31T23:59:59Z"}, "since"),
        ({"until": "9999-12-31T23:59:59Z"}, "until"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "since"),
        ({"limit": 0}, "limit"),
        ({"limit": 2**63}, "limit"),
        ({"limit": "1.5"}, "limit"),
        ({"tolerance": -1}, "tolerance"),
        ({"tolerance": "nan"}, "tolerance"),
        ({"tolerance": "inf"}, "tolerance"),
        ({"name": "x" * 101}, "name"),
        ({"untill": "2026-01-01"}, "untill"),
    ],
)
def test_an_invalid_field_is_named(
    analyst: APIClient, coarse: ModelVersion, iris: ModelVersion, change: Any, field: str
) -> None:
    response = analyst.post(URL, {"from": "iris:1", "to": "iris:2", **change})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]
    assert not Replay.objects.exists()


@pytest.mark.parametrize("missing", ["from", "to"])
def test_both_versions_are_required(analyst: APIClient, missing: str) -> None:
    body = {"from": "iris:1", "to": "iris:2"}
    del body[missing]

    assert list(analyst.post(URL, body).json()["errors"]) == [missing]


def test_a_version_that_cannot_answer_is_refused(
    analyst: APIClient, iris: ModelVersion, coarse: ModelVersion, make_version: MakeVersion
) -> None:
    make_version("bare")
    for to, status in (("iris:9", 404), ("bare:1", 409), (str(coarse.pk + 100), 404)):
        assert analyst.post(URL, {"from": "iris:1", "to": to}).status_code == status
    coarse.update(is_active=False)
    assert analyst.post(URL, {"from": "iris:1", "to": "iris:2"}).status_code == 404
    assert analyst.post(URL, {"from": "iris:9", "to": "iris:1"}).status_code == 404
    assert not Replay.objects.exists()


def test_starting_a_replay_needs_the_right_to_predict_or_to_manage_versions(
    client: APIClient,
    coarse: ModelVersion,
    recorded_rows: list[Prediction],
    settings: LazySettings,
) -> None:
    body = {"from": "iris:1", "to": "iris:2"}
    settings.DEFAULT_RIGHTS = frozenset()

    assert client.post(URL, body).status_code == 403
    assert api_client().post(URL, body).status_code == 401
    assert client.get(URL).status_code == 200
    assert api_client().get(URL).status_code == 401
    assert not Replay.objects.exists()


def test_one_replay_runs_at_a_time(
    analyst: APIClient,
    coarse: ModelVersion,
    recorded_rows: list[Prediction],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    insert = results.insert
    statuses: list[int] = []

    def insert_during_request(*arguments: Any) -> None:
        response = analyst.post(URL, {"from": "iris:1", "to": "iris:2"})
        statuses.append(response.status_code)
        assert response["Retry-After"] == "5"
        insert(*arguments)

    monkeypatch.setattr(results, "insert", insert_during_request)

    assert analyst.post(URL, {"from": "iris:1", "to": "iris:2"}).status_code == 201
    assert statuses == [503]


# -- GET


def test_replays_are_listed_newest_first_and_filtered(
    client: APIClient, iris: ModelVersion, coarse: ModelVersion, recorded_rows: list[Prediction]
) -> None:
    first, second = run_replay(iris, coarse), run_replay(coarse, iris)
    started = runner.start(Plan(from_version=iris, to_version=iris))

    def ids(query: str) -> list[int]:
        return [row["id"] for row in follow_links(client, f"{URL}?{query}")]

    assert ids("limit=1") == [started.pk, second.pk, first.pk]
    assert ids("from=iris:1") == ids(f"from={iris.pk}") == [started.pk, first.pk]
    assert ids("to=iris:1") == [started.pk, second.pk]
    assert ids("from=iris:1&to=iris:2") == [first.pk]
    assert ids("from=no:1") == []
    assert ids("status=running") == [started.pk]
    assert ids("status=completed") == [second.pk, first.pk]
    [row] = client.get(f"{URL}?status=running").json()
    assert (row["agreement"], row["finished_at"]) == (None, None)
    assert "report" not in row


@pytest.mark.parametrize(
    "query", ["status=done", "from=iris", "to=", "form=iris:1", "from=1&from=2", "cursor=x"]
)
def test_an_invalid_filter_is_refused(client: APIClient, query: str) -> None:
    assert client.get(f"{URL}?{query}").status_code == 400


@pytest.mark.parametrize("n", [1, 5])
def test_lists_take_the_same_queries_at_any_length(
    client: APIClient,
    iris: ModelVersion,
    coarse: ModelVersion,
    recorded_rows: list[Prediction],
    django_assert_num_queries: Any,
    n: int,
) -> None:
    rows = [run_replay(iris, coarse, limit=n * 3, chunk_rows=100) for _ in range(n)]

    with django_assert_num_queries(4):  # user, two for permissions, rows
        assert len(client.get(URL).json()) == n
    with django_assert_num_queries(6):  # user, two for permissions, replay, rows, audit event
        assert len(client.get(f"{URL}{rows[0].pk}/results/").json()) == n * 3


@pytest.mark.parametrize("chunk_rows", [4, 100])
def test_a_replay_takes_few_queries(
    analyst: APIClient,
    coarse: ModelVersion,
    recorded_rows: list[Prediction],
    monkeypatch: pytest.MonkeyPatch,
    django_assert_max_num_queries: Any,
    chunk_rows: int,
) -> None:
    monkeypatch.setattr(plan, "CHUNK_ROWS", chunk_rows)
    chunks = 1 + len(recorded_rows) // chunk_rows

    # A chunk: its rows, its transaction and two statements. Around the chunks: a fixed number.
    with django_assert_max_num_queries(34 + 5 * chunks):
        analyst.post(URL, {"from": "iris:1", "to": "iris:2"})


def test_results_are_paged_in_both_orders(
    client: APIClient, iris: ModelVersion, coarse: ModelVersion, recorded_rows: list[Prediction]
) -> None:
    Prediction.objects.filter(pk=recorded_rows[7].pk).update(input_data={"features": [1]})
    row = run_replay(iris, coarse)
    url = f"{URL}{row.pk}/results/"

    worst = follow_links(client, f"{url}?limit=4")
    newest = follow_links(client, f"{url}?order=newest&limit=4")

    distances = [pair["distance"] for pair in worst]
    assert distances == sorted(distances, reverse=True)
    assert len(worst) == 14
    assert follow_links(client, f"{url}?order=worst&limit=14") == worst
    assert [pair["prediction_id"] for pair in newest] == [row.pk for row in reversed(recorded_rows)]
    pair = next(pair for pair in newest if pair["prediction_id"] == recorded_rows[7].pk)
    assert (pair["status"], pair["agrees"], pair["new"]["output"]) == ("refused", False, None)
    assert pair["recorded"]["output"] == recorded_rows[7].output
    assert worst[0]["new"]["output"]["probabilities"].keys() == {
        *("another", "setosa", "versicolor", "virginica")
    }
    assert [pair["prediction_id"] for pair in (row.report or {})["worst"]] == [
        pair["prediction_id"] for pair in worst[:10]
    ]


def test_rows_with_equal_distances_are_each_listed_once(
    client: APIClient, diabetes: ModelVersion, make_version: MakeVersion
) -> None:
    old = make_version("old", framework="R")
    record_values(old, [[0.0] * 10] * 9, [1e-300, 1.5, 1.5, 0.1, 0.1, 0.1, 7e250, 2.0, 2.0])
    row = run_replay(old, diabetes)

    listed = follow_links(client, f"{URL}{row.pk}/results/?limit=2")

    assert sorted(pair["prediction_id"] for pair in listed) == list(
        Prediction.objects.order_by("pk").values_list("pk", flat=True)
    )


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1001", "limit=x", "order=best", "page=2", "limit=1&limit=2"),
        *("cursor=", "cursor=x", "cursor=1e999_1", "cursor=1_99999999999999999999"),
        *("cursor=nan_1", "cursor=1.1.1_1", "order=newest&cursor=-1", "order=newest&cursor=1_1"),
    ],
)
def test_an_invalid_page_is_refused(
    client: APIClient, iris: ModelVersion, coarse: ModelVersion, query: str
) -> None:
    row = run_replay(iris, coarse)

    response = client.get(f"{URL}{row.pk}/results/?{query}")

    assert response.status_code == 400, response.content


def test_an_unknown_replay_answers_404(client: APIClient, db: None) -> None:
    for path in ("1/", "1/results/", "9999999999999999999/"):
        assert client.get(f"{URL}{path}").status_code == 404


def test_deleting_a_version_deletes_the_replays_with_it(
    admin_api: APIClient, iris: ModelVersion, coarse: ModelVersion, recorded_rows: list[Prediction]
) -> None:
    run_replay(iris, coarse)

    assert admin_api.delete(f"/api/v1/models/{iris.pk}/").status_code == 409
    assert admin_api.delete(f"/api/v1/models/{coarse.pk}/").status_code == 204
    assert not ReplayResult.objects.exists()
    assert Prediction.objects.count() == len(recorded_rows)
