"""Reads the table of predictions directly, without the API, on either database."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice

import psycopg

CHUNK_ROWS = 500
COUNT = "SELECT count(*) FROM predictions"


def count(database_url: str) -> int:
    """The number of predictions."""
    if database_url.startswith("sqlite"):
        with closing(_connect_sqlite(database_url)) as connection:
            return int(connection.execute(COUNT).fetchone()[0])
    with psycopg.connect(database_url) as connected:
        row = connected.execute(COUNT).fetchone()
    assert row is not None
    return int(row[0])


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


def _connect_sqlite(database_url: str) -> sqlite3.Connection:
    return sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=20)


def _chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    remaining = iter(ids)
    while chunk := list(islice(remaining, CHUNK_ROWS)):
        yield chunk
