"""Reads the table of predictions directly, without the API, on either database."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import psycopg

CHUNK_ROWS = 500
LAST_ID = "SELECT coalesce(max(id), 0) FROM predictions"
AFTER = "SELECT id, CAST(input_data AS text), prediction, confidence FROM predictions WHERE id > {}"
COUNT = "SELECT count(*) FROM predictions"


@dataclass(frozen=True, slots=True)
class RecordedRow:
    id: int
    input_data: object
    prediction: float | None
    confidence: float | None


def last_id(database_url: str) -> int:
    """The largest id of a prediction, or 0."""
    return int(_fetch(database_url, LAST_ID)[0][0])


def rows_after(database_url: str, last: int) -> list[RecordedRow]:
    """The predictions with an id above `last`."""
    rows = _fetch(database_url, AFTER.format(int(last)))
    return [RecordedRow(row[0], json.loads(row[1]), row[2], row[3]) for row in rows]


def count(database_url: str) -> int:
    """The number of predictions."""
    return int(_fetch(database_url, COUNT)[0][0])


def inputs(database_url: str, ids: Iterable[int]) -> dict[int, object]:
    """The recorded input by id; ids without a row are left out."""
    recorded: dict[int, object] = {}
    if database_url.startswith("sqlite"):
        with closing(_connect_sqlite(database_url)) as connection:
            for chunk in _chunks(ids):
                marks = ", ".join("?" * len(chunk))
                query = f"SELECT id, input_data FROM predictions WHERE id IN ({marks})"  # noqa: S608
                rows = connection.execute(query, chunk)
                recorded |= {row[0]: json.loads(row[1]) for row in rows}
        return recorded
    with psycopg.connect(database_url) as connected:
        query = "SELECT id, input_data::text FROM predictions WHERE id = ANY(%s)"
        for chunk in _chunks(ids):
            recorded |= {row[0]: json.loads(row[1]) for row in connected.execute(query, [chunk])}
    return recorded


def _fetch(database_url: str, query: str) -> list[tuple[Any, ...]]:
    if database_url.startswith("sqlite"):
        with closing(_connect_sqlite(database_url)) as connection:
            return list(connection.execute(query))
    with psycopg.connect(database_url) as connected:
        return connected.execute(query.encode()).fetchall()


def _connect_sqlite(database_url: str) -> sqlite3.Connection:
    return sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=20)


def _chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    remaining = iter(ids)
    while chunk := list(islice(remaining, CHUNK_ROWS)):
        yield chunk
