"""Lists of a caller who may read some of the log: their own predictions, and those of one model."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from predictions import following
from predictions.evaluation.outcomes import pagination
from predictions.models import Outcome, Prediction
from predictions.models.predictions import PredictionQuerySet
from predictions.models.readable import narrowed
from registry.access.accessor import Accessor
from registry.access.keys.changes import create_key
from registry.models import AliasMove, Grant, ModelVersion, RegisteredModel, Right
from registry.testing.clients import api_client
from registry.testing.versions import MakeVersion

URL = "/api/v1/predictions/"


@pytest.fixture
def lin(db: None) -> User:
    return User.objects.create_user("lin")


@pytest.fixture
def versions(make_version: MakeVersion, lin: User) -> list[ModelVersion]:
    """Two versions of a model whose log lin may read, and one of another model."""
    rows = [
        make_version("granted"),
        make_version("granted", version="2"),
        make_version("other"),
    ]
    model = RegisteredModel.objects.get(name="granted")
    Grant.objects.create(registered_model=model, user=lin, read_log=True)
    return rows


@pytest.fixture
def readable(versions: list[ModelVersion], lin: User, user: User) -> list[int]:
    """The newest first of the rows that lin may read, of 24 in all."""
    rows = []
    for i in range(24):
        author = lin if i % 4 == 0 else user
        row = Prediction.objects.create(model=versions[i % 3], input_data={}, user=author)
        if author == lin or i % 3 < 2:
            rows.append(row.pk)
    return rows[::-1]


def ids(responses: Iterator[Any]) -> list[int]:
    return [row["id"] for response in responses for row in response.json()]


def pages(client: APIClient, url: str) -> Iterator[Any]:
    """The pages from `url` on, each by the link of the one before it."""
    while url:
        response: Any = client.get(url)
        assert response.status_code == 200, response.content
        yield response
        is_at_end = response.get("At-End") == "true"
        link = response.get("Link", "")
        url = "" if is_at_end else link.removeprefix("<").partition(">")[0]


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_hold_the_readable_rows_in_order(lin: User, readable: list[int], limit: int) -> None:
    assert ids(pages(api_client(lin), f"{URL}?limit={limit}")) == readable


def test_filters_and_skip_apply_to_the_readable_rows(
    lin: User, readable: list[int], versions: list[ModelVersion]
) -> None:
    client = api_client(lin)
    of_version = Prediction.objects.filter(model=versions[2], user=lin).newest_first()

    assert ids(iter([client.get(f"{URL}?limit=4&skip=5")])) == readable[5:9]
    assert ids(pages(client, f"{URL}?model_id={versions[2].pk}&limit=1")) == [
        row.pk for row in of_version
    ]
    path = f"/api/v1/models/{versions[2].pk}/predictions/"
    assert len(client.get(path).json()["predictions"]) == len(of_version)


def test_who_has_no_right_reads_only_their_own(readable: list[int], versions: Any) -> None:
    eve = User.objects.create_user("eve")
    own = Prediction.objects.create(model=versions[2], input_data={}, user=eve)

    assert ids(pages(api_client(eve), URL)) == [own.pk]


def test_a_key_for_one_model_reads_nothing_of_others(lin: User, readable: list[int]) -> None:
    model = RegisteredModel.objects.get(name="granted")
    _, value = create_key(name="k", owner=lin, scopes=[Right.READ_LOG], models=[model])
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {value}")

    listed = ids(pages(client, f"{URL}?limit=5"))

    of_model = Prediction.objects.filter(model__name="granted").newest_first()
    assert listed == list(of_model.values_list("pk", flat=True))


@pytest.mark.parametrize("rows_looked_at", [1, 5, 100])
def test_a_follower_gets_the_readable_rows_however_few_are_looked_at(
    lin: User, readable: list[int], monkeypatch: pytest.MonkeyPatch, rows_looked_at: int
) -> None:
    monkeypatch.setattr(following, "ROWS_PER_PAGE_LOOKED_AT", rows_looked_at)
    # The rows of this test are not committed yet.
    monkeypatch.setattr(following, "has_rows_from_the_future", lambda *_: False)
    monkeypatch.setattr(
        PredictionQuerySet,
        "in_commit_order",
        lambda rows: rows.order_by("transaction_id", "id"),
    )

    assert ids(pages(api_client(lin), f"{URL}?after=&limit=3")) == readable[::-1]


@pytest.mark.parametrize("rows_looked_at", [1, 5, 100])
def test_outcomes_of_readable_predictions_are_listed_however_few_are_looked_at(
    lin: User, readable: list[int], monkeypatch: pytest.MonkeyPatch, rows_looked_at: int
) -> None:
    monkeypatch.setattr(pagination, "ROWS_PER_PAGE_LOOKED_AT", rows_looked_at)
    for row in Prediction.objects.order_by("pk"):
        Outcome.objects.create(prediction=row, value=1.0)

    listed = [
        row["prediction_id"]
        for response in pages(api_client(lin), "/api/v1/outcomes/?limit=3")
        for row in response.json()
    ]

    assert listed == readable


def test_a_page_reads_a_bounded_number_of_rows_of_each_version(
    lin: User, readable: list[int]
) -> None:
    accessor = Accessor(lin)
    rows = Prediction.objects.newest_first().readable_by(accessor)

    few = narrowed(rows, accessor, 2)

    assert [row.pk for row in few[:2]] == readable[:2]
    # Two of their own, and two of each version.
    assert few.count() <= 2 + 2 * 2


@pytest.mark.parametrize("who", ["lin", "eve", "bob"])
@pytest.mark.parametrize("query", ["model=granted", "model=other", "alias=live", "arm=primary"])
def test_filters_by_name_and_alias_find_the_readable_rows_alone(
    versions: list[ModelVersion], lin: User, who: str, query: str
) -> None:
    people = {"lin": lin, **{name: User.objects.create_user(name) for name in ("eve", "bob")}}
    for name in ("granted", "other"):
        AliasMove.objects.create(name=name, alias="live", number=1, action=AliasMove.Action.SET)
    expected = []
    for i in range(18):
        version, author = versions[i % 3], [*people.values()][i // 3 % 3]
        row = Prediction.objects.create(
            model=version, input_data={}, user=author, alias="live", arm="primary"
        )
        is_asked = "model" not in query or query.endswith(version.name)
        is_granted = who == "lin" and version.name == "granted"
        if is_asked and (is_granted or author == people[who]):
            expected.append(row.pk)

    url = f"{URL}?{query}&limit=2"

    assert ids(pages(api_client(people[who]), url)) == expected[::-1]


def test_one_s_own_rows_are_not_searched_for_among_those_of_others(
    versions: list[ModelVersion],
) -> None:
    user = User.objects.create_user("eve")
    with CaptureQueriesContext(connection) as queries:
        assert api_client(user).get(f"{URL}?model=granted").json() == []

    assert queries
    # Each version's rows would be read to their end.
    assert not any("WITH run" in query["sql"] for query in queries)
