"""`FileRow`: a row of a file of rows. No Django here."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class FileRow:
    """What the model is asked, and the values of other columns that were requested.

    `number` is that of the row in Parquet and of its last line in CSV and NDJSON, from 1. `error`
    says why the row cannot be read; the file can, and its other rows are not affected.
    """

    number: int
    input_data: Any
    others: tuple[Any, ...] = ()
    error: str = ""

    @classmethod
    def unreadable(cls, number: int, error: str, others: tuple[Any, ...] = ()) -> Self:
        return cls(number, None, others, error)
