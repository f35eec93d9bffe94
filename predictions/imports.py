"""Predictions made elsewhere, read from NDJSON or CSV line by line and checked."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from predictions.serializers import PastPrediction
from registry.exact_json.values import parse_json

# A line longer than this is no prediction; reading it whole would fill the memory.
MAX_LINE_CHARACTERS = 10_000_000
JSON_COLUMNS = ("input_data", "output", "metadata")
INPUT_PREFIX = "input."

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


class InvalidLine(ValueError):
    """A line of the file is no prediction; the message begins with its number."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number}: {reason}")


def read_predictions(file: TextIO, *, is_csv: bool) -> Iterator[dict[str, Any]]:
    """The predictions in an open NDJSON or CSV file, as fields of Prediction.

    Each line of NDJSON is an object of the fields of `PastPrediction`. CSV has them as columns,
    with JSON in `input_data`, `output` and `metadata`; instead of `input_data` it may have one
    column `input.<feature>` a feature, in which what reads as a number is one. Raises InvalidLine.
    """
    for number, row in rows_of(file, is_csv=is_csv):
        checked = PastPrediction(data=row)
        if not checked.is_valid():
            raise InvalidLine(number, _first_reason(checked.errors))
        yield checked.validated_data


def is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def rows_of(file: TextIO, *, is_csv: bool) -> Iterator[tuple[int, Any]]:
    """The rows of an open NDJSON or CSV file, each with its line's number; raises InvalidLine."""
    return _csv_rows(file) if is_csv else _ndjson_rows(file)


def _ndjson_rows(file: TextIO) -> Iterator[tuple[int, Any]]:
    number = 0
    while line := file.readline(MAX_LINE_CHARACTERS + 1):
        number += 1
        if len(line) > MAX_LINE_CHARACTERS:
            raise InvalidLine(number, f"is longer than {MAX_LINE_CHARACTERS} characters")
        if line.strip():
            yield number, _json(line, number)


def _csv_rows(file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    reader = csv.DictReader(file, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, _csv_row(cells, reader.line_num)
    except csv.Error as error:
        # DictReader counts a line only once it was read.
        raise InvalidLine(reader.reader.line_num, str(error)) from error


def _csv_row(cells: dict[Any, Any], number: int) -> dict[str, Any]:
    if None in cells or None in cells.values():
        raise InvalidLine(number, "has not as many cells as the first line")
    row: dict[str, Any] = {}
    features: dict[str, Any] = {}
    for name, text in cells.items():
        if name.startswith(INPUT_PREFIX):
            features[name.removeprefix(INPUT_PREFIX)] = _scalar(text, number)
        elif text != "":
            row[name] = _json(text, number, name) if name in JSON_COLUMNS else text
    if features and "input_data" in row:
        raise InvalidLine(number, f"has both input_data and {INPUT_PREFIX}* columns")
    return row | ({"input_data": features} if features else {})


def _scalar(text: str, number: int) -> str | int | float | None:
    if text == "":
        return None
    return _json(text, number) if _NUMBER.fullmatch(text) else text


def _json(text: str, number: int, column: str = "") -> Any:
    try:
        return parse_json(text.encode())
    except ValueError as error:
        raise InvalidLine(number, f"{column} is not valid JSON: {error}".lstrip()) from error


def _first_reason(errors: Any, path: str = "") -> str:
    if isinstance(errors, dict):
        key, inner = next(iter(errors.items()))
        return _first_reason(inner, path if key == "non_field_errors" else f"{path}{key}: ")
    return f"{path}{errors[0]}"
