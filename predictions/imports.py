"""Predictions made elsewhere: read from NDJSON or CSV, validated row by row, and stored together
with their version.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from django.db import transaction

from predictions.models import Prediction
from predictions.serializers import PastPrediction
from predictions.serving.records import metadata_for_log
from registry.exact_json.values import JSONObject, parse_json
from registry.models import ModelVersion
from registry.services import register_model

# Reading a longer line whole would exhaust the memory.
MAX_LINE_CHARACTERS = 10_000_000
CHUNK_ROWS = 1000
JSON_COLUMNS = ("input_data", "output", "metadata")
INPUT_PREFIX = "input."

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


class InvalidLine(ValueError):
    """A line of the file is invalid; the message begins with the line's number."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number}: {reason}")


def read_predictions(file: TextIO, *, is_csv: bool) -> Iterator[JSONObject]:
    """The predictions in an open NDJSON or CSV file, as fields of Prediction.

    Each line of NDJSON is an object with the fields of `PastPrediction`. CSV has these fields as
    columns, with JSON in `input_data`, `output` and `metadata`. Instead of `input_data` it may have
    a column `input.<feature>` for each feature; cells that look like numbers become numbers.
    Raises InvalidLine.
    """
    for number, row in read_rows(file, is_csv=is_csv):
        serializer = PastPrediction(data=row)
        if not serializer.is_valid():
            raise InvalidLine(number, _first_error(serializer.errors))
        yield serializer.validated_data


def is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def read_rows(file: TextIO, *, is_csv: bool) -> Iterator[tuple[int, object]]:
    """Line number and value of each row of an open NDJSON or CSV file; raises InvalidLine.

    A row of CSV is a dict; a row of NDJSON is any JSON value.
    """
    return _csv_rows(file) if is_csv else _ndjson_rows(file)


def _ndjson_rows(file: TextIO) -> Iterator[tuple[int, object]]:
    number = 0
    while line := file.readline(MAX_LINE_CHARACTERS + 1):
        number += 1
        if len(line) > MAX_LINE_CHARACTERS:
            raise InvalidLine(number, f"is longer than {MAX_LINE_CHARACTERS} characters")
        if line.strip():
            yield number, _parse_json(line, number)


def _csv_rows(file: TextIO) -> Iterator[tuple[int, JSONObject]]:
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    reader = csv.DictReader(file, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, _csv_row(cells, reader.line_num)
    except csv.Error as error:
        # DictReader's own line_num does not include the line that failed.
        raise InvalidLine(reader.reader.line_num, str(error)) from error


def _csv_row(cells: Mapping[str, str], number: int) -> JSONObject:
    # DictReader collects extra cells under the key None, and fills missing ones with None.
    if None in cells or None in cells.values():
        raise InvalidLine(number, "has a different number of cells than the header")
    row: JSONObject = {}
    features: JSONObject = {}
    for name, text in cells.items():
        if name.startswith(INPUT_PREFIX):
            features[name.removeprefix(INPUT_PREFIX)] = _feature(text, number)
        elif text != "":
            row[name] = _parse_json(text, number, name) if name in JSON_COLUMNS else text
    if features and "input_data" in row:
        raise InvalidLine(number, f"has both input_data and {INPUT_PREFIX}* columns")
    return row | ({"input_data": features} if features else {})


def _feature(text: str, number: int) -> object:
    if text == "":
        return None
    return _parse_json(text, number) if _NUMBER.fullmatch(text) else text


def _parse_json(text: str, number: int, column: str = "") -> object:
    try:
        return parse_json(text.encode())
    except ValueError as error:
        raise InvalidLine(number, f"{column} is not valid JSON: {error}".lstrip()) from error


def _first_error(errors: object, path: str = "") -> str:
    """The first message of nested serializer errors, after the path of its field."""
    if isinstance(errors, Mapping):
        key, nested = next(iter(errors.items()))
        return _first_error(nested, path if key == "non_field_errors" else f"{path}{key}: ")
    assert isinstance(errors, list)
    return f"{path}{errors[0]}"


# -- registration


def create_model_with_predictions(
    *,
    predictions: Iterable[JSONObject],
    **version: Any,
) -> tuple[ModelVersion, int]:
    """Register a version together with predictions it made elsewhere: all of them, or nothing.

    `version` is what `register_model` takes, `predictions` are valid fields of Prediction. Returns
    the version and the number of rows. Raises what `register_model` raises, and whatever the
    iterable raises.
    """
    with transaction.atomic():
        model = register_model(**version)
        count = 0
        for chunk in _chunks(predictions, CHUNK_ROWS):
            Prediction.objects.bulk_create(_row(model, fields) for fields in chunk)
            count += len(chunk)
    return model, count


def _row(model: ModelVersion, fields: JSONObject) -> Prediction:
    metadata = metadata_for_log(fields.get("metadata"))
    return Prediction(model=model, **{**fields, "metadata": metadata})


def _chunks(rows: Iterable[JSONObject], size: int) -> Iterator[list[JSONObject]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, size)):
        yield chunk
