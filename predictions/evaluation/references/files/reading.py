"""Reads the rows of a reference from a Parquet, CSV or NDJSON file, by a version's features."""

import csv
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from predictions.evaluation.references.errors import ParquetUnavailable, ReferenceRefused
from predictions.evaluation.references.files.columns import METADATA, Columns, as_metadata
from registry.exact_json.values import JSONObject, parse_json
from registry.signatures.signature import DTYPES, Input, Signature

FORMATS: Mapping[str, str] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
# Reading a longer line whole would exhaust the memory.
MAX_LINE_CHARACTERS = 10_000_000
_BOOLEANS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


@dataclass(frozen=True, slots=True)
class FileRow:
    """What the model is asked, the true label or value, None where it is not known, and the
    metadata, if they are wanted. `place` is what errors call the row, such as "line 3"."""

    place: str
    input_data: Any
    label: Any = None
    metadata: JSONObject | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is read of a file: a version's features, and more if there is a column of it.

    A Parquet file has at most `max_bytes` when it is decoded.
    """

    signature: Signature
    label_column: str | None = None
    metadata: bool = False
    max_bytes: float = math.inf


def format_of(name: str) -> str:
    """The format of a file, by its name; raises ReferenceRefused."""
    found = FORMATS.get(Path(name).suffix.lower())
    if found is None:
        raise ReferenceRefused(f"The name of the file must end with {', '.join(FORMATS)}")
    return found


def read_file(path: Path, file_format: str, wanted: Wanted) -> Iterator[FileRow]:
    """The rows of a file, whose columns are described at `Columns`. A row of NDJSON may also be
    `{"features": [...]}`, or have the input in "input_data", as in the log.

    Raises ReferenceRefused, which names the column or the row, OSError or ParquetUnavailable.
    """
    if file_format == "parquet":
        yield from _read_parquet(path, wanted)
        return
    read = _read_csv if file_format == "csv" else _read_ndjson
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from read(file, wanted)
    except UnicodeDecodeError as error:
        raise ReferenceRefused("The file is not valid UTF-8") from error


def _read_parquet(path: Path, wanted: Wanted) -> Iterator[FileRow]:
    try:
        # On first use, as runtimes are: pyarrow is heavy, and optional.
        parquet = import_module("predictions.evaluation.references.files.parquet")
    except ModuleNotFoundError as error:
        message = f"Parquet needs {error.name}: pip install 'mlapi[parquet]'"
        raise ParquetUnavailable(message) from error
    columns = _columns(wanted, parquet.column_names(path))
    rows = parquet.read_columns(path, columns.names, wanted.max_bytes)
    for number, cells in enumerate(rows, start=1):
        place = f"row {number}"
        metadata = _metadata(columns, cells, place)
        yield FileRow(place, columns.input_of(cells), columns.label_of(cells), metadata)


def _columns(wanted: Wanted, header: Collection[str]) -> Columns:
    return Columns(wanted.signature, header, wanted.label_column, wanted.metadata)


def _metadata(columns: Columns, cells: Sequence[Any], place: str) -> JSONObject | None:
    try:
        return columns.metadata_of(cells)
    except ValueError as error:
        raise ReferenceRefused(f"{place}, {error}") from error


def _read_csv(file: TextIO, wanted: Wanted) -> Iterator[FileRow]:
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    reader = csv.reader(file, strict=True)
    try:
        header = next(reader, [])
        columns = _columns(wanted, header)
        places = [header.index(name) for name in columns.names]
        for cells in reader:
            place = f"line {reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(header):
                message = f"{place} has {len(cells)} cells; the header has {len(header)}"
                raise ReferenceRefused(message)
            own = [cells[number] for number in places]
            row, label = _csv_input(columns, own, place), columns.label_of(own) or None
            yield FileRow(place, row, label, _metadata(columns, own, place))
    except csv.Error as error:
        raise ReferenceRefused(f"line {reader.line_num}: {error}") from error


def _csv_input(columns: Columns, cells: list[str], place: str) -> Mapping[str, Any]:
    try:
        return columns.input_of(cells, _from_text)
    except ValueError as error:
        raise ReferenceRefused(f"{place}, {error}") from error


def _from_text(tensor: Input, text: str) -> Any:
    """The value of a cell of CSV."""
    if text.startswith("[") and not tensor.features and not tensor.is_scalar:
        return parse_json(text.encode())
    kind = DTYPES[tensor.datatype or "FP64"].kind
    if kind == "O":
        return None if text == "" and tensor.nullable else text
    if text.strip().lower() in ("", "nan", "null", "none"):
        return None
    if kind == "b":
        value = _BOOLEANS.get(text.strip().lower())
        if value is None:
            raise ValueError(f"{text!r:.60} is not true or false")
        return value
    return _number(text)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text!r:.60} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{text!r:.60} is not finite")
    return number


def _read_ndjson(file: TextIO, wanted: Wanted) -> Iterator[FileRow]:
    known: dict[frozenset[str], Columns] = {}
    number = 0
    while line := file.readline(MAX_LINE_CHARACTERS + 1):
        number += 1
        place = f"line {number}"
        if len(line) > MAX_LINE_CHARACTERS:
            raise ReferenceRefused(f"{place} is longer than {MAX_LINE_CHARACTERS} characters")
        if not line.strip():
            continue
        try:
            row = parse_json(line.encode())
        except ValueError as error:
            raise ReferenceRefused(f"{place} is not valid JSON: {error}") from error
        if not isinstance(row, dict):
            raise ReferenceRefused(f"{place} must be an object")
        yield _object(row, wanted, place, known)


def _object(
    row: JSONObject, wanted: Wanted, place: str, known: dict[frozenset[str], Columns]
) -> FileRow:
    header, features = frozenset(row), wanted.signature.feature_names
    label = None if wanted.label_column is None else row.get(wanted.label_column)
    if "input_data" in row and "input_data" not in features:
        return FileRow(place, row["input_data"], label, _of_object(row, wanted, place))
    if isinstance(row.get("features"), list) and "features" not in features:
        inputs = {"features": row["features"]}
        return FileRow(place, inputs, label, _of_object(row, wanted, place))
    if (columns := known.get(header)) is None:
        try:
            # The label may be missing in any row.
            columns = known[header] = Columns(wanted.signature, header)
        except ReferenceRefused as error:
            raise ReferenceRefused(f"{place}: {str(error).replace('The file', 'it')}") from error
    inputs = dict(columns.input_of([row[name] for name in columns.names]))
    return FileRow(place, inputs, label, _of_object(row, wanted, place))


def _of_object(row: JSONObject, wanted: Wanted, place: str) -> JSONObject | None:
    """The metadata of a row of NDJSON."""
    if not wanted.metadata or METADATA in wanted.signature.feature_names:
        return None
    try:
        return as_metadata(row.get(METADATA))
    except ValueError as error:
        raise ReferenceRefused(f"{place}, {error}") from error
