"""Where input files can be cut into parts: between row groups of Parquet, and between rows of CSV
and NDJSON. Text is read once for this, which also gives its digest. No Django here.
"""

import csv
import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from predictions.input_files import parquet
from predictions.input_files.errors import FileRefused
from predictions.input_files.texts import MAX_LINE_BYTES, read_header
from predictions.scoring.sources.opening import READ_BYTES, identified, open_source
from predictions.scoring.tables import bounded_lines, decoded
from predictions.scoring.work import Source, Task

# The size of a part of a text file.
PART_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Cut:
    """A place between two rows of a text file: its position, and the lines before it."""

    position: int
    lines: int


def split(
    source: Source, number: int, part_rows: int, progress: Callable[[int], object]
) -> tuple[Source, list[Task]]:
    """The source with its identity, and its tasks, numbered from 0; raises ScoringFailed, or
    FileRefused for a file that is not of its format.

    `number` is the source's own. `progress` is called with numbers of bytes.
    """
    if source.format == "parquet":
        return _split_parquet(source, number, part_rows, progress)
    digest = hashlib.sha256()
    cuts = [_start(source)]
    with closing(open_source(source)) as file:
        cutter = _Cutter(is_csv=source.format == "csv", start=cuts[0].position)
        position = 0
        while piece := file.read(READ_BYTES):
            digest.update(piece)
            position += len(piece)
            for cut in cutter.feed(piece):
                if cut.position - cuts[-1].position >= PART_BYTES:
                    cuts.append(cut)
            progress(len(piece))
    if cuts[-1].position < position:
        cuts.append(Cut(position, 0))
    tasks = [
        Task(number=0, source=number, start=a.position, stop=b.position, rows_before=a.lines)
        for a, b in pairwise(cuts)
    ]
    return identified(source, digest), tasks


def _start(source: Source) -> Cut:
    """Where the first row begins: after the header."""
    if source.format != "csv":
        return Cut(0, 0)
    with closing(open_source(source)) as file:
        _, lines = read_header(decoded(bounded_lines(file)))
        return Cut(file.tell(), lines)


class _Cutter:
    """Finds places between the rows of a text that comes in pieces."""

    def __init__(self, *, is_csv: bool, start: int) -> None:
        self._is_csv, self._start = is_csv, start
        self._read = self._position = self._lines = 0
        # The last line of CSV, which may go on in the next piece.
        self._tail = b""
        # Whether the next line of CSV begins within quotation marks, and the size of its row so
        # far.
        self._is_open = False
        self._row_bytes = 0

    def feed(self, piece: bytes) -> Iterator[Cut]:
        """At least the last place in this piece, if it has any; raises FileRefused."""
        if self._is_csv and (self._is_open or b'"' in self._tail or b'"' in piece):
            yield from self._feed_quoted(piece)
            return
        # Without a quotation mark, every line is a row.
        end = piece.rfind(b"\n") + 1
        self._read += len(piece)
        if end:
            self._position = self._read - len(piece) + end
            self._lines += piece.count(b"\n")
            self._tail = b""
            yield Cut(self._position, self._lines)
        if self._is_csv:
            self._tail += piece[end:]
            self._require_bounded(len(self._tail))

    def _feed_quoted(self, piece: bytes) -> Iterator[Cut]:
        """Find out line by line whether a row goes on, because its quotation marks are open."""
        self._read += len(piece)
        *lines, self._tail = (self._tail + piece).split(b"\n")
        for line in lines:
            self._position += len(line) + 1
            self._lines += 1
            # The header has been parsed already.
            if self._position > self._start:
                self._row_bytes += len(line) + 1
                self._require_bounded(self._row_bytes)
                self._is_open = self._is_open_after(line)
                if not self._is_open:
                    self._row_bytes = 0
                    yield Cut(self._position, self._lines)
        self._require_bounded(len(self._tail))

    def _is_open_after(self, line: bytes) -> bool:
        """Whether the row goes on in the next line, within quotation marks; raises FileRefused."""
        if b'"' not in line:
            return self._is_open
        # A line that begins within quotation marks is read as if they were opened here: the lines
        # before it need not be read again, which would take time with the square of their number.
        text = b'"' * self._is_open + line + b"\n"
        if _error_in(text) is None:
            return False
        if (error := _error_in(text + b'"')) is not None:
            raise FileRefused(f"line {self._lines}: {error}")
        return True

    def _require_bounded(self, size_bytes: int) -> None:
        if size_bytes > MAX_LINE_BYTES:
            raise FileRefused(f"line {self._lines + 1}: it is longer than {MAX_LINE_BYTES} bytes")


def _error_in(text: bytes) -> csv.Error | None:
    """Why the text is not complete rows of CSV; None if it is."""
    try:
        list(csv.reader([text.decode("utf-8", "surrogateescape")], strict=True))
    except csv.Error as error:
        return error
    return None


def _split_parquet(
    source: Source, number: int, part_rows: int, progress: Callable[[int], object]
) -> tuple[Source, list[Task]]:
    digest = hashlib.sha256()
    with closing(open_source(source)) as file:
        # Objects have an entity tag instead.
        while not source.identity and (piece := file.read(READ_BYTES)):
            digest.update(piece)
            progress(len(piece))
        file.seek(0)
        with parquet.open_file(file) as opened:
            tasks = list(_row_groups(opened.metadata, number, part_rows))
    return identified(source, digest), tasks


def _row_groups(metadata: Any, source: int, part_rows: int) -> Iterator[Task]:
    """Tasks of whole row groups: as many as fit into `part_rows`, but at least one."""
    start = before = rows = 0
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).num_rows
        if rows and rows + size > part_rows:
            yield Task(
                number=0, source=source, start=start, stop=group, rows_before=before, rows=rows
            )
            start, before, rows = group, before + rows, 0
        rows += size
    if rows:
        stop = metadata.num_row_groups
        yield Task(number=0, source=source, start=start, stop=stop, rows_before=before, rows=rows)
