"""Exports as CSV (RFC 4180, in UTF-8) that a spreadsheet does not execute.

Text is quoted always, numbers never, and null is an empty cell, so that it differs from empty text.

A spreadsheet takes text that begins with one of FORMULA_BEGINNINGS for a formula. An apostrophe is
put before such text, and before text that begins with an apostrophe itself. So the original is what
follows the apostrophe, if a text has one at its beginning: see `original_text`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from predictions.export.columns import JSON, TIME, Column
from predictions.export.formats.base import Chunk, Sink
from registry.signatures.signature import DTYPES

ESCAPE = "'"
# With the full-width forms, which spreadsheets in East Asian locales take for the same.
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_ESCAPED = (*FORMULA_BEGINNINGS, ESCAPE)


class CSVWriter:
    """A header, then a line for each row. JSON and lists are cells with JSON text."""

    def __init__(self, file: Sink, columns: Sequence[Column]) -> None:
        self._file = file
        self._cells = [_cell_writer(column) for column in columns]
        self._write_line([_text(column.name) for column in columns])

    def write(self, chunk: Chunk) -> None:
        cells = [
            ["" if value is None else write(value) for value in values]
            for write, values in zip(self._cells, chunk.columns, strict=True)
        ]
        for line in zip(*cells, strict=True):
            self._write_line(line)

    def _write_line(self, cells: Sequence[str]) -> None:
        self._file.write(",".join(cells).encode() + b"\r\n")

    def close(self) -> None:
        pass


def safe_text(text: str) -> str:
    """Text that no spreadsheet takes for a formula; `original_text` is its inverse."""
    return ESCAPE + text if text.startswith(_ESCAPED) else text


def original_text(text: str) -> str:
    return text.removeprefix(ESCAPE)


def _cell_writer(column: Column) -> Callable[[Any], str]:
    if column.depth:
        return lambda values: _quoted(orjson.dumps(values).decode())
    if column.datatype == JSON:
        # Begins with one of {["-0123456789tfn; the only one that could be a formula is a number.
        return _quoted
    if column.datatype == TIME:
        return _time
    return _WRITERS[DTYPES[column.datatype].kind]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> str:
    return _quoted(safe_text(text))


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _boolean(value: bool) -> str:
    return "true" if value else "false"


_WRITERS: Mapping[str, Callable[[Any], str]] = {
    "O": _text,
    "b": _boolean,
    "f": repr,
    "i": repr,
    "u": repr,
}
