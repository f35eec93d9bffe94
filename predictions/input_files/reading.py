"""Reads all rows of a Parquet, CSV or NDJSON file, by a version's features. No Django here."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from predictions.input_files.columns import Columns
from predictions.input_files.errors import FileRefused, ParquetUnavailable
from predictions.input_files.rows import FileRow
from predictions.input_files.texts import read_csv, read_header, read_ndjson
from registry.signatures.signature import Signature

FORMATS: Mapping[str, str] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
# What errors call the number of a row.
UNITS: Mapping[str, str] = {"parquet": "row", "csv": "line", "ndjson": "line"}


def format_of(name: str) -> str:
    """The format of a file, by its name; raises FileRefused."""
    found = FORMATS.get(Path(name).suffix.lower())
    if found is None:
        raise FileRefused(f"The name of the file must end with {', '.join(FORMATS)}")
    return found


def read_file(
    path: Path,
    file_format: str,
    signature: Signature,
    others: Sequence[str] = (),
    *,
    optional: Collection[str] = (),
    max_bytes: float = math.inf,
) -> Iterator[FileRow]:
    """The rows of a file, whose columns are described at `Columns`. A row of NDJSON may also be
    `{"features": [...]}`, or have the input in "input_data", as in the log.

    Raises FileRefused if the file is not of this format or lacks a column, OSError or
    ParquetUnavailable; and FileTooLarge if what is read from Parquet is more than `max_bytes` once
    it is decoded. Text takes hardly more memory than its file.
    """
    if file_format == "parquet":
        yield from _read_parquet(path, signature, others, optional, max_bytes)
    elif file_format == "csv":
        # Spreadsheets write CSV with a byte order mark.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            header, n_lines = read_header(lines)
            columns = Columns(signature, header, others, optional)
            yield from read_csv(lines, columns, lines_before=n_lines)
    else:
        with path.open("rb") as file:
            yield from read_ndjson(file, signature, others)


def _read_parquet(
    path: Path,
    signature: Signature,
    others: Sequence[str],
    optional: Collection[str],
    max_bytes: float,
) -> Iterator[FileRow]:
    parquet = parquet_module()
    columns = Columns(signature, parquet.column_names(path), others, optional)
    rows = parquet.read_columns(path, columns.names, max_bytes)
    for number, cells in enumerate(rows, start=1):
        yield columns.row_of(number, cells, columns.others_of(cells))


def parquet_module() -> Any:
    """The module that reads Parquet; raises ParquetUnavailable."""
    try:
        # On first use, as runtimes are: pyarrow is heavy, and optional.
        return import_module("predictions.input_files.parquet")
    except ModuleNotFoundError as error:
        message = f"Parquet needs {error.name}: pip install 'mlapi[parquet]'"
        raise ParquetUnavailable(message) from error
