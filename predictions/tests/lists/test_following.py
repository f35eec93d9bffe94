"""Following the log with `?after=`."""

import random
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from rest_framework.test import APIClient

from predictions.models import Prediction, continue_numbers, has_rows_from_the_future
from predictions.models.commit_order import await_horizon, create_offset_function
from predictions.testing.rows import make_version
from registry.models import ModelVersion
from registry.testing.clients import api_client, permit
from registry.testing.databases import postgresql

URL = "/api/v1/predictions/"
TABLE = Prediction._meta.db_table

# Rows of a transaction that is still open are not given, and a test's own would be.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def version(transactional_db: None) -> ModelVersion:
    return make_version(None)


@pytest.fixture
def api(transactional_db: None) -> APIClient:
    return api_client(permit(User.objects.create_user("follower"), "view_prediction"))


def record(version: ModelVersion, **fields: Any) -> int:
    row = Prediction.objects.create(model=version, input_data={"features": [1]}, **fields)
    return int(row.pk)


class Follower:
    """Reads the log from its beginning, page by page."""

    def __init__(self, api: APIClient, **filters: object) -> None:
        self._api = api
        query = "".join(f"&{name}={value}" for name, value in filters.items())
        self._url = f"{URL}?after={query}"

    def poll(self, *, max_wait_seconds: float = 60) -> list[int]:
        """The ids of the next page, once tests of other workers have ended their transactions."""
        await_horizon("default", max_seconds=max_wait_seconds)
        response: Any = self._api.get(self._url)
        assert response.status_code == 200, response.content
        match = re.fullmatch(r'<(http://testserver[^>]+)>; rel="next"', response["Link"])
        assert match
        self._url = match[1]
        self.is_at_end = response["At-End"] == "true"
        return [row["id"] for row in response.json()]

    def catch_up(self) -> list[int]:
        ids = self.poll()
        while not self.is_at_end:
            ids += self.poll()
        return ids


def test_pages_come_oldest_first_and_go_on_later(api: APIClient, version: ModelVersion) -> None:
    follower = Follower(api, limit=2)
    first = [record(version) for _ in range(3)]

    assert follower.poll() == first[:2]
    assert not follower.is_at_end
    assert follower.poll() == first[2:]
    assert follower.is_at_end
    assert follower.poll() == []
    assert follower.is_at_end
    later = record(version)
    assert follower.poll() == [later]


def test_an_empty_log_can_be_followed(api: APIClient, version: ModelVersion) -> None:
    follower = Follower(api)

    assert follower.poll() == []
    first = record(version)
    assert follower.poll() == [first]


def test_filters_apply_to_every_page(api: APIClient, version: ModelVersion) -> None:
    other = make_version(None, "other")
    record(other)
    failed = [record(version, status="failed", error="e") for _ in range(3)]
    record(version)

    follower = Follower(api, limit=1, model_id=version.pk, status="failed")

    assert follower.catch_up() == failed


def test_a_row_that_is_committed_late_is_not_missed(api: APIClient, version: ModelVersion) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    follower = Follower(api)
    has_inserted, may_commit = threading.Event(), threading.Event()

    def write_slowly() -> int:
        with transaction.atomic():
            pk = record(version)
            has_inserted.set()
            assert may_commit.wait(30)
        connection.close()
        return pk

    with ThreadPoolExecutor() as pool:
        slow = pool.submit(write_slowly)
        assert has_inserted.wait(30)
        quick = record(version)
        withheld = follower.poll(max_wait_seconds=0)
        may_commit.set()
        late = slow.result()

    assert late < quick
    assert withheld == []
    assert sorted(follower.catch_up()) == [late, quick]


def test_a_follower_of_many_writers_misses_no_row_and_gets_none_twice(
    api: APIClient, version: ModelVersion
) -> None:
    followed: list[int] = []
    follower = Follower(api, limit=7)

    def write(seed: int) -> list[int]:
        chance = random.Random(seed)  # noqa: S311 -- delays only
        ids = []
        for _ in range(15):
            time.sleep(chance.random() / 100)
            with transaction.atomic():
                ids.append(record(version))
                time.sleep(chance.random() / 50)
        connection.close()
        return ids

    with ThreadPoolExecutor(max_workers=4) as pool:
        writers = [pool.submit(write, seed) for seed in range(4)]
        while not all(writer.done() for writer in writers):
            followed += follower.poll()
        followed += follower.catch_up()
        written = [pk for writer in writers for pk in writer.result()]

    assert len(followed) == len(set(followed))
    assert sorted(followed) == sorted(written)


@pytest.mark.parametrize("position", ["x", "é", "LTEuMQ", "MQ", "OTk5OTk5OTk5OTk5OTk5OTk5OS4x"])
def test_a_forged_position_is_refused(api: APIClient, version: ModelVersion, position: str) -> None:
    response: Any = api.get(URL, {"after": position})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["after"]


@pytest.mark.parametrize("name", ["skip", "cursor"])
def test_positions_of_two_kinds_are_refused(
    api: APIClient, version: ModelVersion, name: str
) -> None:
    response: Any = api.get(URL, {"after": "", name: "1"})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [name]


# -- a database restored into another cluster


@pytest.fixture
def restored(version: ModelVersion) -> Iterator[list[int]]:
    """Rows that were written by transactions which this cluster has not had yet."""
    rows = [record(version) for _ in range(2)]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {TABLE} SET transaction_id = transaction_id + 1000000")  # noqa: S608
    yield rows
    with connection.cursor() as cursor:
        cursor.execute(create_offset_function())


@postgresql
def test_a_restored_log_is_not_followed_before_it_is_numbered(
    api: APIClient, restored: list[int]
) -> None:
    response: Any = api.get(URL, {"after": ""})

    assert response.status_code == 503
    assert "migrate" in response.json()["detail"]


@postgresql
def test_numbers_go_on_after_a_restore(
    api: APIClient, version: ModelVersion, restored: list[int]
) -> None:
    since = record(version)

    assert continue_numbers(Prediction, "default")
    assert not has_rows_from_the_future(TABLE, connection)
    assert not continue_numbers(Prediction, "default")

    follower = Follower(api, limit=2)
    assert follower.poll() == restored
    later = record(version)
    assert follower.catch_up() == [since, later]
