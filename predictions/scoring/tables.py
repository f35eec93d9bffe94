"""Reads the rows of a task in batches that are bounded in rows and bytes. No Django here."""

import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np

from predictions.input_files import parquet
from predictions.input_files.columns import Columns
from predictions.input_files.errors import FileRefused
from predictions.input_files.rows import FileRow
from predictions.input_files.texts import MAX_LINE_BYTES, read_csv, read_header, read_ndjson
from predictions.scoring.batches import RowBatch, TableBatch
from predictions.scoring.sources.opening import ByteRange, buffered, open_source
from predictions.scoring.work import Source, Task
from registry.exact_json.values import BYTE_ORDER_MARK
from registry.signatures.signature import Signature

BATCH_ROWS = 8192
TEXT_BATCH_ROWS = 2000
BATCH_BYTES = 16 * 2**20


def read_task(
    source: Source, task: Task, signature: Signature, others: Sequence[str]
) -> Iterator[TableBatch | RowBatch]:
    """Raises FileRefused or ScoringFailed."""
    with closing(open_source(source)) as file:
        if source.format == "parquet":
            yield from _read_parquet(file, task, signature, others)
        else:
            yield from _read_text(file, source, task, signature, others)


def _read_parquet(
    file: Any, task: Task, signature: Signature, others: Sequence[str]
) -> Iterator[TableBatch]:
    with parquet.open_file(file) as opened:
        columns = Columns(signature, parquet.names_of(opened), others)
        metadata = opened.metadata
    groups = range(task.start, task.stop)
    number = task.rows_before + 1
    # In a dictionary, a text that repeats takes as little memory as it takes space in the file.
    texts = parquet.repeating_texts(metadata, columns.names)
    with parquet.open_file(file, texts, metadata) as opened:
        read = parquet.read_batches(opened, columns.names, groups, _batch_rows(metadata, groups))
        for batch in (piece for whole in read for piece in parquet.bounded(whole, BATCH_BYTES)):
            cells = [parquet.without_views(batch.column(name)) for name in columns.names]
            numbers = np.arange(number, number + len(batch), dtype=np.int64)
            yield TableBatch(columns, cells, numbers)
            number += len(batch)


def _batch_rows(metadata: Any, groups: Sequence[int]) -> int:
    """How many average rows have at most BATCH_BYTES, within BATCH_ROWS."""
    read = [metadata.row_group(group) for group in groups]
    n_rows: int = sum(group.num_rows for group in read)
    n_bytes: int = sum(group.total_byte_size for group in read)
    return max(1, min(BATCH_ROWS, BATCH_BYTES * n_rows // max(1, n_bytes)))


def _read_text(
    file: Any, source: Source, task: Task, signature: Signature, others: Sequence[str]
) -> Iterator[RowBatch]:
    header = csv_header(file) if source.format == "csv" else []
    raw = ByteRange(file, task.start, task.stop)
    lines = buffered(raw)
    if source.format == "csv":
        text = io.TextIOWrapper(lines, encoding="utf-8", errors="surrogateescape", newline="")
        columns = Columns(signature, header, others)
        rows = read_csv(text, columns, lines_before=task.rows_before)
    else:
        rows = read_ndjson(lines, signature, others, lines_before=task.rows_before)
    while batch := list(_bounded(islice(rows, TEXT_BATCH_ROWS), raw)):
        yield RowBatch(others, batch)


def _bounded(rows: Iterator[FileRow], raw: ByteRange) -> Iterator[FileRow]:
    """The rows until BATCH_BYTES have been read for them."""
    start = raw.n_read
    for row in rows:
        yield row
        if raw.n_read - start >= BATCH_BYTES:
            return


def csv_header(file: Any) -> list[str]:
    """The names in the first row of CSV; raises FileRefused."""
    file.seek(0)
    return read_header(decoded(bounded_lines(file)))[0]


def bounded_lines(file: Any) -> Iterator[bytes]:
    """The lines of a file from its position on; raises FileRefused for one that is too long."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise FileRefused(f"line {number}: it is longer than {MAX_LINE_BYTES} bytes")
        yield line


def decoded(lines: Iterator[bytes]) -> Iterator[str]:
    """Lines from the beginning of a file as text."""
    for number, line in enumerate(lines):
        piece = line.removeprefix(BYTE_ORDER_MARK) if number == 0 else line
        yield piece.decode("utf-8", "surrogateescape")
