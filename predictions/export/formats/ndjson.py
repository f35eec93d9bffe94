"""Exports as NDJSON: an object for each row."""

from collections.abc import Sequence
from typing import Any

import orjson

from predictions.export.columns import JSON, Column
from predictions.export.formats.base import Chunk, Sink


class NDJSONWriter:
    """JSON columns are embedded as they are in the log, to the digit."""

    def __init__(self, file: Sink, columns: Sequence[Column]) -> None:
        self._file = file
        self._names = [column.name for column in columns]
        self._json = [place for place, column in enumerate(columns) if column.datatype == JSON]

    def write(self, chunk: Chunk) -> None:
        columns: list[Sequence[Any]] = list(chunk.columns)
        for place in self._json:
            columns[place] = [_embedded(text) for text in columns[place]]
        self._file.writelines(
            orjson.dumps(
                dict(zip(self._names, row, strict=True)),
                option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z,
            )
            for row in zip(*columns, strict=True)
        )

    def close(self) -> None:
        pass


def _embedded(text: str | None) -> orjson.Fragment | None:
    return None if text is None else orjson.Fragment(text)
