"""Behind PgBouncer in transaction mode, before and after it keeps prepared statements apart."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections

from mlapi.databases.pooler import PoolerMisconfigured, check_pooler
from mlapi.databases.probes import probe_connection, write_refusal
from mlapi.databases.tests import faults
from mlapi.databases.tests.pgbouncer import keeps_statements_apart, launchers, pgbouncer
from predictions.models import Prediction
from predictions.partitions import conversion
from predictions.partitions.catalog import find_layout
from predictions.retention.partitions import drop_due
from predictions.retention.pruning import past_retention
from predictions.testing.partitions import ROWS, record
from predictions.testing.partitions import own_database as own_database
from predictions.testing.rows import make_version
from registry.models import ModelVersion, RegisteredModel
from registry.testing.clients import api_client
from registry.testing.databases import postgresql

pytestmark = [postgresql, pytest.mark.django_db(transaction=True)]

LAUNCHERS = launchers()
NEW = [launcher for launcher in LAUNCHERS if keeps_statements_apart(launcher)]
OLD = [launcher for launcher in LAUNCHERS if launcher not in NEW]
# An older one behaves like a newer one that does not look at prepared statements.
MIXING: list[tuple[Any, ...]] = [(path, []) for path in OLD] + [
    (path, ["max_prepared_statements = 0"]) for path in NEW
]
KEEPING: list[tuple[Any, ...]] = [(path, ["max_prepared_statements = 100"]) for path in NEW]


def or_skip(cases: list[tuple[Any, ...]], n_values: int) -> list[Any]:
    """The cases, or one that is skipped if no PgBouncer of that age is available."""
    reason = "needs PgBouncer: see .ci/pgbouncer.sh"
    return cases or [pytest.param(*[None] * n_values, marks=pytest.mark.skip(reason=reason))]


@contextmanager
def behind(port: int, pooler: str) -> Iterator[None]:
    """Have all connections go through a pooler, as DB_POOLER says."""
    settings = connection.settings_dict
    usual = {**settings, "OPTIONS": settings["OPTIONS"]}
    settings.update(
        HOST="127.0.0.1",
        PORT=port,
        DISABLE_SERVER_SIDE_CURSORS=pooler != "none",
        OPTIONS={
            **{key: value for key, value in settings["OPTIONS"].items() if key != "host"},
            "prepare_threshold": None if pooler == "unprepared" else 2**31,
        },
    )
    faults.reconnect()
    try:
        yield
    finally:
        faults.reconnect()
        settings.update(usual)


def check(launcher: str, pooler: str, *lines: str) -> None:
    with pgbouncer(launcher, *lines) as port, behind(port, pooler):
        check_pooler(connection)


def test_postgresql_itself_needs_no_pooler() -> None:
    check_pooler(connection)


@pytest.mark.parametrize(("launcher", "lines"), or_skip(KEEPING, 2))
def test_a_pooler_that_keeps_statements_apart_is_accepted(launcher: str, lines: list[str]) -> None:
    check(launcher, "pgbouncer", *lines)

    with pytest.raises(PoolerMisconfigured, match="set DB_POOLER=pgbouncer"):
        check(launcher, "none", *lines)


@pytest.mark.parametrize(("launcher", "lines"), or_skip(MIXING, 2))
def test_a_pooler_that_mixes_statements_is_refused(launcher: str, lines: list[str]) -> None:
    for pooler in ("none", "pgbouncer"):
        with pytest.raises(PoolerMisconfigured, match="DB_POOLER=unprepared"):
            check(launcher, pooler, *lines)
    check(launcher, "unprepared", *lines)


BEHIND = or_skip([(*case, "pgbouncer") for case in KEEPING], 3) + [
    (*case, "unprepared") for case in MIXING
]


@pytest.mark.parametrize(("launcher", "lines", "pooler"), BEHIND)
def test_every_answer_is_right_behind_a_pooler(
    iris: ModelVersion, launcher: str, lines: list[str], pooler: str
) -> None:
    user = User.objects.create_user("ada")
    features = [[5.1 + i / 100, 3.5, 1.4, 0.2] for i in range(60)]

    def predict(row: list[float]) -> Any:
        client = api_client(user)
        body = {"model": "iris:1", "input_data": {"features": row}}
        try:
            created: Any = client.post("/api/v1/predictions/", body)
            return created, client.get(f"/api/v1/predictions/{created.json().get('id', 0)}/")
        finally:
            connections.close_all()

    with pgbouncer(launcher, *lines) as port, behind(port, pooler):
        with ThreadPoolExecutor(max_workers=6) as threads:
            answers = list(threads.map(predict, features))
        with probe_connection() as probe:
            refusal = write_refusal(probe)
        read = len(list(Prediction.objects.iterator(chunk_size=10)))

    assert [created.status_code for created, _ in answers] == [201] * len(features)
    assert [found.json()["input_data"]["features"] for _, found in answers] == features
    assert read == len(features)
    assert refusal == ""


@pytest.mark.parametrize(("launcher", "lines", "pooler"), BEHIND)
def test_partitions_are_made_and_dropped_behind_a_pooler(
    own_database: None, launcher: str, lines: list[str], pooler: str
) -> None:
    version = make_version(None)
    RegisteredModel.objects.update(retention_days=30)
    record(version, 10)

    with pgbouncer(launcher, *lines) as port, behind(port, pooler):
        assert conversion.convert(ROWS)
        conversion.revert()
        assert conversion.convert(ROWS)
        record(version, ROWS)
        dropped = drop_due(past_retention())

    layout = find_layout(connection)
    assert layout is not None
    assert layout.partitions[0].first_id == ROWS
    assert dropped == ROWS - 1
    assert Prediction.objects.count() == 11
