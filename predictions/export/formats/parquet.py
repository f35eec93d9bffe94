"""Exports as Parquet, by pyarrow: the one module of exports that imports it."""

from collections.abc import Sequence
from typing import IO, Any

import pyarrow as pa
from pyarrow import compute, parquet

from predictions.export.columns import JSON, TEXT, TIME, Column
from predictions.export.formats.base import Chunk, Sink
from registry.signatures.signature import DTYPES

# Larger groups compress better and are read faster; the memory for one of them is needed at once.
GROUP_ROWS = 100_000
GROUP_BYTES = 64 * 2**20
COMPRESSION = "zstd"


class ParquetWriter:
    """Row groups of GROUP_ROWS or GROUP_BYTES, whichever comes first, compressed by zstd.

    Columns may be Arrow arrays of the column's type, which are written as they are.
    """

    def __init__(self, file: Sink, columns: Sequence[Column]) -> None:
        self._schema = pa.schema([(column.name, arrow_type(column)) for column in columns])
        self._writer = parquet.ParquetWriter(file, self._schema, compression=COMPRESSION)
        self._waiting: list[Any] = []
        self._n_rows = self._size_bytes = 0

    def write(self, chunk: Chunk) -> None:
        arrays = [
            values if isinstance(values, pa.Array) else pa.array(values, field.type)
            for values, field in zip(chunk.columns, self._schema, strict=True)
        ]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._waiting.append(table)
        self._n_rows += len(chunk)
        self._size_bytes += table.nbytes
        if self._n_rows >= GROUP_ROWS or self._size_bytes >= GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting, self._n_rows, self._size_bytes = [], 0, 0

    def close(self) -> None:
        if self._waiting:
            self._write_group()
        self._writer.close()


def arrow_type(column: Column) -> Any:
    if column.datatype == TIME:
        datatype = pa.timestamp("us", tz="UTC")
    elif column.datatype in (TEXT, JSON):
        datatype = pa.string()
    else:
        datatype = pa.from_numpy_dtype(DTYPES[column.datatype])
    for _ in range(column.depth):
        datatype = pa.list_(datatype)
    return datatype


def count_and_sum(file: IO[bytes], column: str) -> tuple[int, int]:
    """How many values a column of integers has in a file, and their sum."""
    values = parquet.read_table(file, columns=[column])[column]
    return len(values), int(compute.sum(values).as_py() or 0)
