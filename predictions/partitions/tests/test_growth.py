"""Partitions are created ahead, by the command and by the worker."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from predictions.models import Prediction
from predictions.partitions.catalog import Layout, Partition, find_layout
from predictions.partitions.growth import create_ahead
from predictions.partitions.work import PARTITIONS
from predictions.testing.partitions import ROWS, record
from registry.models import ModelVersion
from registry.work.kinds import registered


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("partitions", *arguments, stdout=out)
    return out.getvalue()


def layout() -> Layout:
    found = find_layout(connection)
    assert found is not None
    return found


def test_a_plain_table_stays_one(version: ModelVersion) -> None:
    assert create_ahead() == []
    assert "The log is a plain table" in run()
    assert find_layout(connection) is None


def test_the_worker_keeps_two_partitions_ahead(partitioned: ModelVersion) -> None:
    record(partitioned, ROWS + 10)
    assert layout().ahead == 1
    assert PARTITIONS in registered()
    turn = PARTITIONS.take_due()
    assert turn is not None

    PARTITIONS.run(turn, lambda: False)

    assert layout().ahead == 2
    assert layout().end_id == 4 * ROWS
    record(partitioned, 2 * ROWS)
    assert Prediction.objects.count() == 3 * ROWS + 10


def test_the_command_shows_partitions_and_creates_larger_ones(partitioned: ModelVersion) -> None:
    record(partitioned, ROWS + 10)

    output = run("--rows-per-partition", "5000")

    assert "Created predictions_from_300" in output
    assert "2026-01-01 12:00 to 2026-01-01 13:38" in output
    assert "The last id is 110; 5,189 more fit. 2 partitions are ahead; 2 are kept." in output
    assert "Created" not in run()


def test_rows_without_a_partition_are_refused_until_there_is_one(
    partitioned: ModelVersion,
) -> None:
    record(partitioned, 3 * ROWS - 1)
    with pytest.raises(DatabaseError, match="no partition"):
        record(partitioned)
    assert layout().state == "nearly full"

    create_ahead()

    record(partitioned)
    assert layout().state == "ok"


def test_partitions_begin_where_rows_are_refused(partitioned: ModelVersion) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('predictions_id_seq', 1234)")

    create_ahead()

    assert record(partitioned)[0].pk == 1235
    assert layout().ahead == 2


@pytest.mark.parametrize("rows", ["0", "999", "1e6", "9999999999999"])
def test_the_size_of_partitions_has_bounds(rows: str) -> None:
    with pytest.raises(CommandError, match="must be a whole number from 1000 to 1000000000000"):
        run("--rows-per-partition", rows)


def partition(first_id: int | None, end_id: int) -> Partition:
    return Partition(f"p{first_id}", first_id, end_id, 0, 0)


@pytest.mark.parametrize(
    ("last_id", "state"),
    [
        (50, "ok"),
        (100, "few ahead"),
        (250, "few ahead"),
        (294, "few ahead"),
        (295, "nearly full"),
        (400, "nearly full"),
    ],
)
def test_the_state_tells_when_rows_will_be_refused(last_id: int, state: str) -> None:
    parts = [partition(None, 100), partition(100, 200), partition(200, 300)]

    assert Layout(parts, last_id).state == state
