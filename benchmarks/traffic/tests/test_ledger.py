import sqlite3
from pathlib import Path

import pytest

from benchmarks.traffic.clients import Event
from benchmarks.traffic.kinds import Acknowledged
from benchmarks.traffic.ledger import balance

TABLE = "CREATE TABLE predictions (id INTEGER, input_data TEXT, prediction REAL, confidence REAL)"


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Rows 1 to 3, with the markers 0.5, 0.25 and 0.125."""
    path = tmp_path / "db.sqlite3"
    rows = [
        (1, '{"features": [1, 0.5]}', 2.0, 0.9),
        (2, '{"a": 1, "b": 0.25}', 3.0, None),
        (3, '{"input": [[1, 0.125]]}', 4.0, None),
    ]
    with sqlite3.connect(path) as connection:
        connection.execute(TABLE)
        connection.executemany("INSERT INTO predictions VALUES (?, ?, ?, ?)", rows)
    connection.close()
    return f"sqlite:///{path}"


def event(*rows: Acknowledged) -> Event:
    return Event("predict", 0.0, 0.1, 201, acknowledged=rows)


FIRST = Acknowledged(1, 0.5, (2.0, 0.9))


def test_rows_that_are_recorded_as_acknowledged(database: str) -> None:
    tensor = Acknowledged(3, 0.125, None)

    found = balance(database, 0, [event(FIRST, Acknowledged(2, 0.25, (3.0, None)), tensor)])

    assert found.is_right
    assert (found.acknowledged, found.recorded) == (3, 3)


def test_missing_row_is_lost(database: str) -> None:
    assert balance(database, 0, [event(FIRST, Acknowledged(4, 0.1, None))]).lost == 1


def test_one_id_for_two_rows_is_a_loss(database: str) -> None:
    assert balance(database, 0, [event(FIRST), event(Acknowledged(1, 0.7, None))]).lost == 1


def test_repeated_acknowledgement_of_one_row_is_right(database: str) -> None:
    assert balance(database, 0, [event(FIRST), event(FIRST)]).is_right


@pytest.mark.parametrize(
    "wrong", [Acknowledged(1, 0.25, (2.0, 0.9)), Acknowledged(1, 0.5, (2.5, 0.9))]
)
def test_other_input_or_answer_is_mixed(database: str, wrong: Acknowledged) -> None:
    assert balance(database, 0, [event(wrong)]).mixed == 1


def test_input_that_is_recorded_twice_is_doubled(database: str) -> None:
    path = database.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO predictions VALUES (9, '{\"features\": [1, 0.5]}', 2, 0.9)")
    connection.close()

    assert balance(database, 0, [event(FIRST)]).doubled == 1


def test_rows_from_before_do_not_count(database: str) -> None:
    assert balance(database, 3, []).recorded == 0
