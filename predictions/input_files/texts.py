"""Reads the rows of CSV and NDJSON, whole files or ranges of lines. No Django here."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from predictions.input_files.columns import Columns
from predictions.input_files.errors import FileRefused
from predictions.input_files.rows import FileRow
from registry.exact_json.values import BYTE_ORDER_MARK, MAX_INTEGER, MIN_INTEGER, parse_json
from registry.signatures.signature import DTYPES, Input, Signature

# Reading a longer line whole would exhaust the memory.
MAX_LINE_BYTES = 10_000_000
_BOOLEANS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
# Decoding puts these in place of bytes that are not UTF-8, so that they affect one row only.
_SURROGATES = range(0xDC80, 0xDD00)


# -- CSV


def read_header(lines: Iterable[str]) -> tuple[list[str], int]:
    """The names in the first row of CSV and the number of its lines, which are all that it takes;
    raises FileRefused.
    """
    reader = _reader(lines)
    try:
        return next(reader, []), reader.line_num
    except csv.Error as error:
        raise FileRefused(f"line {reader.line_num}: {error}") from error


def read_csv(lines: Iterable[str], columns: Columns, *, lines_before: int = 0) -> Iterator[FileRow]:
    """The rows in the lines after the header, which were decoded with `surrogateescape`. Raises
    FileRefused where the end of a row cannot be found.
    """
    header = list(columns.header)
    places = [header.index(name) for name in columns.names]
    reader = _reader(lines)
    try:
        for cells in reader:
            if cells:
                number = lines_before + reader.line_num
                yield _csv_row(columns, places, cells, len(header), number)
    except csv.Error as error:
        raise FileRefused(f"line {lines_before + reader.line_num}: {error}") from error


def _reader(lines: Iterable[str]) -> Any:
    csv.field_size_limit(MAX_LINE_BYTES)
    return csv.reader(lines, strict=True)


def _csv_row(
    columns: Columns, places: Sequence[int], cells: Sequence[str], width: int, number: int
) -> FileRow:
    if len(cells) != width:
        return FileRow.unreadable(number, f"it has {len(cells)} cells; the header has {width}")
    own = [cells[place] for place in places]
    # CSV writes a missing value as an empty cell.
    others = tuple(cell or None for cell in columns.others_of(own))
    if any(not cell.isascii() and _has_surrogates(cell) for cell in own):
        return FileRow.unreadable(number, "it is not valid UTF-8")
    return columns.row_of(number, own, others, _from_text)


def _has_surrogates(text: str) -> bool:
    return any(ord(character) in _SURROGATES for character in text)


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
    if "_" in text:
        # Python's own notation, 1_000, is not that of files.
        raise ValueError(f"{text!r:.60} is not a number")
    try:
        whole = int(text)
        # Requests have no longer integers either, since databases do not store them exactly.
        if MIN_INTEGER <= whole <= MAX_INTEGER:
            return whole
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text!r:.60} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{text!r:.60} is not finite")
    return number


# -- NDJSON


def read_ndjson(
    file: BinaryIO,
    signature: Signature,
    others: Sequence[str] = (),
    *,
    lines_before: int = 0,
) -> Iterator[FileRow]:
    """The rows of a file from its position on. `others` may be missing in any row."""
    reader = _Objects(signature, others)
    number = lines_before
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            _skip_line(file, line)
            yield FileRow.unreadable(number, f"it is longer than {MAX_LINE_BYTES} bytes")
            continue
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if line.strip():
            yield reader.read(number, line)


def _skip_line(file: BinaryIO, piece: bytes) -> None:
    while piece and not piece.endswith(b"\n"):
        piece = file.readline(MAX_LINE_BYTES)


@dataclass(slots=True)
class _Objects:
    """Reads lines of one file; its objects may have their features under different names."""

    signature: Signature
    others: Sequence[str]
    _known: dict[frozenset[str], Columns] = field(init=False, default_factory=dict)

    def read(self, number: int, line: bytes) -> FileRow:
        try:
            row = parse_json(line)
        except ValueError as error:
            return FileRow.unreadable(number, f"it is not valid JSON: {error}")
        if not isinstance(row, dict):
            return FileRow.unreadable(number, "it must be an object")
        others = tuple(row.get(name) for name in self.others)
        try:
            return FileRow(number, self._input_of(row), others)
        except FileRefused as error:
            reason = str(error).replace("The file", "it")
            return FileRow.unreadable(number, reason, others)

    def _input_of(self, row: Mapping[str, Any]) -> Any:
        names = self.signature.feature_names
        if "input_data" in row and "input_data" not in names:
            return row["input_data"]
        if isinstance(row.get("features"), list) and "features" not in names:
            return {"features": row["features"]}
        header = frozenset(row)
        if (columns := self._known.get(header)) is None:
            columns = self._known[header] = Columns(self.signature, header)
        return columns.input_of([row[name] for name in columns.names])
