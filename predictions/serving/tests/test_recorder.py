"""Which records are committed, which are refused, and which row belongs to which."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError
from django.utils import timezone

from predictions.models import IdempotencyKey, Prediction
from predictions.serving import recorder
from predictions.serving.guards import CallerInactive
from predictions.serving.idempotency import Claim
from predictions.serving.records import Record
from registry.database import statements
from registry.models import ModelNotFound, ModelVersion
from registry.testing.databases import postgresql


@pytest.fixture
def version(make_version: Callable[..., ModelVersion]) -> ModelVersion:
    return make_version("plain")


def make_record(version: ModelVersion, number: int = 0, **fields: Any) -> Record:
    return Record(
        version,
        input_data={"features": [number, 1e300, -0.0, 2**64 - 1, "é \"quoted\" \\ 'text'"]},
        **{"prediction": float(number), "output": {"label": f"n{number}"}, **fields},
    )


def test_a_recorded_row_is_read_back_unchanged(version: ModelVersion, user: User) -> None:
    row = make_record(
        version,
        7,
        confidence=0.1 + 0.2,
        metadata={"a": [None, True, 1e17, "%s"]},
        latency_ms=1.5,
        request_id="abc",
        user_id=user.pk,
    )

    [recorded] = recorder.record([row])

    assert recorded is row
    stored = Prediction.objects.get(pk=row.pk)
    for field in recorder.FIELDS:
        assert getattr(stored, field.attname) == getattr(row, field.attname), field.name
    assert str(stored.input_data["features"][2]) == "-0.0"


def test_each_row_gets_the_id_of_its_own_input(version: ModelVersion) -> None:
    rows = [make_record(version, number) for number in range(300)]

    assert recorder.record(rows) == rows

    stored = Prediction.objects.in_bulk([row.pk for row in rows])
    assert len(stored) == 300
    assert [stored[row.pk].input_data for row in rows] == [row.input_data for row in rows]


def test_a_batch_takes_one_statement(
    version: ModelVersion, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection

    # SQLite takes one statement per row, in one transaction.
    limit = 1 if connection.vendor == "postgresql" else 20 + 2
    with django_assert_max_num_queries(limit):
        recorder.record([make_record(version, number) for number in range(20)])


def test_rows_of_an_inactive_version_are_refused_and_the_others_recorded(
    version: ModelVersion, make_version: Callable[..., ModelVersion]
) -> None:
    retired = make_version("retired", is_active=False)
    rows = [make_record(version, 1), make_record(retired, 2), make_record(version, 3)]

    first, refused, third = recorder.record(rows)

    assert isinstance(refused, ModelNotFound)
    assert str(refused) == f"Model {retired.pk} not found or inactive"
    assert [first, third] == [rows[0], rows[2]]
    assert set(Prediction.objects.values_list("prediction", flat=True)) == {1.0, 3.0}


def test_rows_of_an_inactive_user_are_refused(version: ModelVersion, user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)

    [refused] = recorder.record([make_record(version, user_id=user.pk)])

    assert isinstance(refused, CallerInactive)
    assert not Prediction.objects.exists()


def test_rows_of_a_deleted_user_are_refused(version: ModelVersion) -> None:
    [refused] = recorder.record([make_record(version, user_id=987_654)])

    assert isinstance(refused, CallerInactive)


def test_rows_of_a_deleted_version_are_refused(version: ModelVersion) -> None:
    row = make_record(version)
    ModelVersion.objects.filter(pk=version.pk).delete()

    [refused] = recorder.record([row])

    assert isinstance(refused, ModelNotFound)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_the_database_refuses_does_not_affect_the_others(
    version: ModelVersion,
) -> None:
    # A failed prediction without an error violates a constraint of the table.
    rows = [
        make_record(version, 1),
        make_record(version, 2, status="failed"),
        make_record(version, 3),
    ]

    first, refused, third = recorder.record(rows)

    assert isinstance(refused, IntegrityError)
    assert [first, third] == [rows[0], rows[2]]
    assert Prediction.objects.count() == 2


def test_a_lost_connection_is_not_retried(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def lose_connection(rows: Any) -> Any:
        calls.append(rows)
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(recorder, "_insert", lose_connection)

    with pytest.raises(OperationalError):
        recorder.record([make_record(version, 1), make_record(version, 2)])
    assert len(calls) == 1


def test_record_all_writes_nothing_if_one_row_is_refused(
    version: ModelVersion, make_version: Callable[..., ModelVersion]
) -> None:
    retired = make_version("retired", is_active=False)

    with pytest.raises(ModelNotFound):
        recorder.record_all([make_record(version, 1), make_record(retired, 2)])

    assert not Prediction.objects.exists()


def test_equal_claims_are_refused_for_the_same_reason(version: ModelVersion, user: User) -> None:
    ModelVersion.objects.update(is_active=False)
    claim = Claim.of(user.pk, "k", b"body")

    results = recorder.record_once([make_record(version, _claim=claim) for _ in range(2)])

    assert [type(result) for result in results] == [ModelNotFound] * 2
    assert not IdempotencyKey.objects.exists()


@postgresql
@pytest.mark.parametrize("count", [recorder.MIN_BATCH_ROWS - 1, recorder.MIN_BATCH_ROWS + 30])
def test_the_rows_of_a_batch_are_read_back_unchanged(
    version: ModelVersion, user: User, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Whether or not the columns that they share are sent once."""
    shared = {
        "created_at": timezone.now(),
        "user_id": user.pk,
        "request_id": 'a\t"\\',
        "alias": "a",
    }
    shared |= {"arm": "canary", "subject": "s", "metadata": {"n": 1e17}}
    flags: list[list[str] | None] = [["x:max"], None]
    rows = [
        make_record(version, n, reference=f"r{n}", flags=flags[n % 2], latency_ms=n / 8, **shared)
        for n in range(count)
    ]
    sent: list[Any] = []
    fetch = statements.fetch

    def fetch_and_note(statement: str, parameters: Any) -> list[statements.Row]:
        sent.append(parameters)
        return fetch(statement, parameters)

    monkeypatch.setattr(statements, "fetch", fetch_and_note)

    recorder.record_all(rows)

    assert ["shared" in values for values in sent] == [count >= recorder.MIN_BATCH_ROWS]
    stored = Prediction.objects.in_bulk([row.pk for row in rows])
    for row in rows:
        for field in recorder.FIELDS:
            value = getattr(stored[row.pk], field.attname)
            assert value == getattr(row, field.attname), field.name


@pytest.mark.parametrize("name", ["version", "user"])
def test_a_batch_is_refused_as_a_whole(version: ModelVersion, user: User, name: str) -> None:
    created_at = timezone.now()
    rows = [make_record(version, n, user_id=user.pk, created_at=created_at) for n in range(50)]
    changed = ModelVersion.objects if name == "version" else User.objects
    changed.update(is_active=False)

    with pytest.raises((ModelNotFound, CallerInactive)):
        recorder.record_all(rows)

    assert Prediction.objects.count() == 0
