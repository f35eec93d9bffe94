"""The formats of exports, by their name, which is also the ending of their files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from predictions.export.columns import Column, Inputs
from predictions.export.formats.base import Sink, Writer


class FormatUnavailable(Exception):
    """A format needs a library that is not installed; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its media type, and the form of inputs unless the caller chooses one."""

    name: str
    media_type: str
    default_inputs: Inputs
    writer: str

    def open(self, file: Sink, columns: Sequence[Column]) -> Writer:
        """A writer into the file; raises FormatUnavailable."""
        writer: Writer = self.load()(file, columns)
        return writer

    def load(self) -> Callable[[Sink, Sequence[Column]], Writer]:
        """The class of its writers; raises FormatUnavailable."""
        module, _, name = self.writer.rpartition(".")
        try:
            # On first use, as runtimes are: pyarrow is heavy, and optional.
            found = import_module(f"{__name__}.{module}")
        except ModuleNotFoundError as error:
            message = f"{self.name} needs {error.name}: pip install 'mlapi[parquet]'"
            raise FormatUnavailable(message) from error
        writer: Callable[[Sink, Sequence[Column]], Writer] = getattr(found, name)
        return writer


FORMATS: Mapping[str, Format] = {
    format.name: format
    for format in (
        Format("parquet", "application/vnd.apache.parquet", "columns", "parquet.ParquetWriter"),
        Format("csv", "text/csv; charset=utf-8", "columns", "spreadsheet.CSVWriter"),
        Format("ndjson", "application/x-ndjson", "json", "ndjson.NDJSONWriter"),
    )
}
