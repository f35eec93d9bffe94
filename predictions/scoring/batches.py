"""Batches of rows of an input file, by columns or by rows. No Django here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from predictions.input_files import parquet
from predictions.input_files.columns import Columns
from predictions.input_files.rows import FileRow


@dataclass(frozen=True, slots=True)
class TableBatch:
    """Rows of Parquet: Arrow arrays in the order of `columns.names`."""

    columns: Columns
    cells: Sequence[Any]
    numbers: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def pick(self, places: npt.NDArray[np.int64]) -> "TableBatch":
        cells = [cell.take(pa.array(places)) for cell in self.cells]
        return TableBatch(self.columns, cells, self.numbers[places])

    def rows(self) -> list[FileRow]:
        """The batch as rows; raises FileRefused for columns of types that cannot be read."""
        names = self.columns.names
        columns = [parquet.values(name, cell) for name, cell in zip(names, self.cells, strict=True)]
        return [
            self.columns.row_of(number, cells, self.columns.others_of(cells))
            for number, *cells in zip(self.numbers.tolist(), *columns, strict=True)
        ]

    def other(self, name: str, kind: Any) -> Any:
        """Another column of texts or whole numbers, as an Arrow array of that type."""
        cell = self.cells[self.columns.names.index(name)]
        if pa.types.is_dictionary(cell.type):
            cell = cell.dictionary_decode()
        return cell.cast(kind)


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows of CSV or NDJSON, with the names of their `others`."""

    names: Sequence[str]
    read: list[FileRow]

    def __len__(self) -> int:
        return len(self.read)

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        return np.array([row.number for row in self.read], np.int64)

    def pick(self, places: npt.NDArray[np.int64]) -> "RowBatch":
        return RowBatch(self.names, [self.read[place] for place in places.tolist()])

    def rows(self) -> list[FileRow]:
        return self.read

    def other(self, name: str, kind: Any) -> Any:
        place = self.names.index(name)
        values = [row.others[place] if row.others else None for row in self.read]
        return pa.array(map(_text, values), pa.string()).cast(kind)


def _text(value: Any) -> str | None:
    """A value of JSON as text: texts as they are, everything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
