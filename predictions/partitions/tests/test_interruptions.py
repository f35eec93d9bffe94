"""Conversions that are killed at any statement, and what others do to the partitions meanwhile."""

import threading
from itertools import count
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from predictions.models import Prediction
from predictions.partitions import conversion, discarding, growth
from predictions.partitions.catalog import TABLE, find_layout
from predictions.partitions.errors import ConversionRefused, PartitionsUnavailable
from predictions.partitions.growth import create_ahead
from predictions.partitions.locking import execute
from predictions.partitions.tests.test_conversion import structure as described
from predictions.retention import partitions
from predictions.retention.pruning import past_retention
from predictions.testing.partitions import ROWS, record
from predictions.testing.rows import add_values
from registry.models import ModelVersion, RegisteredModel


class Killed(BaseException):
    """No statement follows."""


class Killer:
    """Lets the statements of conversions that change something pass up to the n-th, and none from
    there on.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
        self._left = n
        for module in (conversion, discarding, growth):
            for name in ("execute", "execute_all"):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, self._wrapped(getattr(module, name)))

    def _wrapped(self, original: Any) -> Any:
        def wrapped(statement: Any, *arguments: Any) -> Any:
            if not str(statement).lstrip().startswith("SELECT"):
                self._left -= 1
                if self._left < 0:
                    raise Killed
            return original(statement, *arguments)

        return wrapped


@pytest.mark.slow
@pytest.mark.parametrize("way", ["convert", "revert"])
def test_whatever_was_interrupted_is_finished_by_the_next_call(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    add_values(record(version, 10), [1.0] * 10)
    before = described()
    for n in count():
        if way == "revert":
            conversion.convert(ROWS)
        try:
            with monkeypatch.context() as patch:
                Killer(patch, n)
                getattr(conversion, way)(*[ROWS] if way == "convert" else [])
        except Killed:
            if way == "convert":
                conversion.convert(ROWS)
            elif find_layout(connection) is not None or described() != before:
                conversion.revert()
            call_command("partitions", verbosity=0)
        else:
            break
        assert described() == before
        layout = find_layout(connection)
        assert (layout is not None and layout.ahead) == (2 if way == "convert" else False)
        if way == "convert":
            conversion.revert()
        assert execute("SELECT relname FROM pg_class WHERE relname LIKE 'predictions_dro%%'") == []
    assert n > 5
    assert Prediction.objects.count() == 10


def test_partitions_have_the_size_that_was_asked_for_before_anything_that_takes_long(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker would create them meanwhile, and larger ones."""
    sizes: list[int | None] = []

    def finish(report: object) -> bool:
        layout = find_layout(connection)
        assert layout is not None
        sizes.extend([layout.ahead, layout.rows_per_partition])
        return True

    monkeypatch.setattr(conversion, "finish", finish)
    conversion.convert(ROWS)

    assert sizes == [2, ROWS]


def test_two_processes_create_partitions_at_once(partitioned: ModelVersion) -> None:
    created: list[str] = []

    def create() -> None:
        try:
            created.extend(create_ahead(ahead=6))
        finally:
            connection.close()

    threads = [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(created) == [f"predictions_from_{n}00" for n in (3, 4, 5, 6)]


def test_a_sequence_that_is_behind_the_ids_is_named(version: ModelVersion) -> None:
    row = record(version)[0]
    execute("UPDATE predictions SET id = 5000 WHERE id = %s", [row.pk])
    before = described()

    with pytest.raises(ConversionRefused, match=r"highest id is 5000.*sequence of the ids is at 1"):
        conversion.convert(ROWS)

    assert described() == before


@pytest.fixture
def with_default(partitioned: ModelVersion) -> ModelVersion:
    """A log that has a DEFAULT partition, which somebody else has made."""
    RegisteredModel.objects.update(retention_days=30)
    execute(f"CREATE TABLE predictions_rest PARTITION OF {TABLE} DEFAULT")
    return partitioned


def test_partitions_of_another_kind_are_named(with_default: ModelVersion) -> None:
    message = "The partition predictions_rest is not one of a range of ids, but DEFAULT"
    with pytest.raises(PartitionsUnavailable, match=message):
        create_ahead()
    for arguments in ([], ["--convert"], ["--revert"]):
        with pytest.raises(CommandError, match=message):
            call_command("partitions", *arguments)


def test_rows_are_still_deleted_beside_partitions_of_another_kind(
    with_default: ModelVersion, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.RETENTION_GRACE_DAYS = 5
    record(with_default, ROWS + 10)

    assert partitions.drop_due(past_retention()) == 0
    assert "predictions_rest" in caplog.text
    call_command("prune_predictions", "--due", verbosity=0)
    assert not Prediction.objects.exists()
