"""Sets the reference of a version from the rows of a file, which the version answers first."""

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings

from predictions.evaluation.counting.segments import is_segmented_by_metadata
from predictions.evaluation.references import services
from predictions.evaluation.references.building import ComparedVersion, evenly_spaced
from predictions.evaluation.references.errors import (
    ReferenceBusy,
    ReferenceRefused,
    ReferenceTooLarge,
)
from predictions.evaluation.references.services import MAX_ROWS, Source
from predictions.evaluation.references.tables import Rows
from predictions.evaluation.replays.runner import MAX_CALL_ROWS, load_model
from predictions.input_files.errors import FileTooLarge
from predictions.input_files.reading import UNITS, format_of, read_file
from predictions.input_files.rows import FileRow
from predictions.models import Reference
from predictions.serving.answers import Answer
from predictions.serving.inference import answer_rows
from registry.access.accessor import SYSTEM, Accessor
from registry.exact_json.values import JSONObject, parse_json
from registry.loading.cache import LoadedModel
from registry.loading.errors import ModelNotReady, ModelQuarantined
from registry.models import ModelVersion
from registry.runtimes.base import DeadlineExceeded, RuntimeUnavailable
from registry.signatures.signature import Signature
from registry.signatures.validation import InvalidInput

BATCH_ROWS = 2000
# The column of metadata, as exports of the log name it.
METADATA = "metadata"

_request_lock = threading.Lock()


def set_from_file(
    version: ModelVersion,
    path: Path,
    file_format: str,
    *,
    label_column: str | None = None,
    description: str = "",
    accessor: Accessor = SYSTEM,
    max_rows: int = MAX_ROWS,
    max_bytes: float = math.inf,
    progress: Callable[[int], object] = lambda rows: None,
) -> Reference:
    """Let the version answer the rows of a file, and make them its reference.

    Raises ReferenceRefused for rows that cannot be read or do not fit the signature,
    ReferenceTooLarge for more than `max_rows` or a Parquet file that is decoded to more than
    `max_bytes`, what `load_model` and `read_file` raise, and ModelNotReady if a remote model cannot
    be reached.
    """
    compared = ComparedVersion(version)
    reader = _Reader(compared.signature, label_column, is_segmented_by_metadata(version.name))
    rows = _limited(reader.read(path, file_format, max_bytes), max_rows)
    answered = _Answered(load_model(version), reader, UNITS[file_format])
    while batch := list(islice(rows, BATCH_ROWS)):
        answered.add(batch)
        progress(len(batch))
    if not answered.inputs:
        raise ReferenceRefused("The file has no rows")
    if label_column is not None and all(label is None for label in answered.labels):
        raise ReferenceRefused(f"No row has a label in '{label_column}'")
    return services.set_reference(
        compared,
        answered.rows(),
        answered.labels if label_column is not None else None,
        source=Source(description=description),
        background=evenly_spaced(answered.inputs),
        accessor=accessor,
    )


def set_now(version: ModelVersion, path: Path, file_format: str, **options: Any) -> Reference:
    """As set_from_file, while a caller waits: with at most MAX_REFERENCE_BYTES and
    MAX_REFERENCE_ROWS, and one file at a time.

    Raises ReferenceBusy and ReferenceTooLarge as well.
    """
    if (size_bytes := path.stat().st_size) > settings.MAX_REFERENCE_BYTES:
        raise ReferenceTooLarge(
            f"The file has {size_bytes} bytes; a request may send {settings.MAX_REFERENCE_BYTES}."
            f" For more, run: manage.py set_reference {version} FILE"
        )
    if not _request_lock.acquire(blocking=False):
        raise ReferenceBusy("Another reference is being set. Try again in a few seconds.")
    try:
        return set_from_file(
            version,
            path,
            file_format,
            max_rows=settings.MAX_REFERENCE_ROWS,
            max_bytes=settings.MAX_REFERENCE_BYTES,
            **options,
        )
    finally:
        _request_lock.release()


def set_for_registration(version: ModelVersion, path: Path, label_column: str | None) -> str:
    """The hook of `register_model --reference`."""
    try:
        reference = set_from_file(version, path, format_of(path.name), label_column=label_column)
    except (ModelNotReady, ModelQuarantined) as error:
        raise ReferenceRefused(str(error)) from error
    return f"{reference.rows:,} rows are the reference of {version}: {reference.digest}"


def _limited(rows: Iterable[FileRow], max_rows: int) -> Iterator[FileRow]:
    try:
        for number, row in enumerate(rows):
            if number >= max_rows:
                raise ReferenceTooLarge(
                    f"The file has more than {max_rows} rows, which is the limit: a sample of them"
                    " is as good a reference"
                )
            yield row
    except FileTooLarge as error:
        raise ReferenceTooLarge(
            f"{error} of a request: send fewer rows, or use manage.py set_reference"
        ) from error


class _Reader:
    """Reads what a reference is made of: the features, the labels if there is a column of them, and
    the metadata if they are wanted, the file has them, and no feature has their name.
    """

    def __init__(
        self, signature: Signature, label_column: str | None, wants_metadata: bool
    ) -> None:
        is_taken = METADATA in (label_column, *signature.feature_names)
        self._signature = signature
        self._labels = [] if label_column is None else [label_column]
        self._metadata = [METADATA] if wants_metadata and not is_taken else []

    def read(self, path: Path, file_format: str, max_bytes: float) -> Iterator[FileRow]:
        """See `read_file`."""
        return read_file(
            path,
            file_format,
            self._signature,
            self._labels + self._metadata,
            optional=self._metadata,
            max_bytes=max_bytes,
        )

    def label_of(self, row: FileRow) -> Any:
        return row.others[0] if self._labels else None

    def metadata_of(self, row: FileRow) -> JSONObject | None:
        """An object, which CSV and Parquet have as JSON in a text; raises ValueError."""
        value = row.others[-1] if self._metadata else None
        if isinstance(value, str):
            value = parse_json(value.encode()) if value else None
        if value is not None and not isinstance(value, dict):
            raise ValueError("must be a JSON object")
        return value


class _Answered:
    """Rows with the version's answers."""

    def __init__(self, model: LoadedModel, reader: _Reader, unit: str) -> None:
        self._model = model
        self._reader = reader
        self._unit = unit
        self._answers: list[Answer] = []
        self.inputs: list[Any] = []
        self.labels: list[Any] = []
        self._metadata: list[Any] = []

    def add(self, rows: list[FileRow]) -> None:
        for row in rows:
            self._read(row)
        inputs = [row.input_data for row in rows]
        answers = answer_rows(self._model, inputs, max_call_rows=MAX_CALL_ROWS)
        for row, answer in zip(rows, answers, strict=True):
            if isinstance(answer.error, InvalidInput):
                raise self._refused(row, answer.error) from answer.error
            if isinstance(answer.error, RuntimeUnavailable | DeadlineExceeded):
                raise ModelNotReady(f"The model cannot be reached: {answer.error}")
        self.inputs += inputs
        self._answers += answers

    def _read(self, row: FileRow) -> None:
        if row.error:
            raise self._refused(row, row.error)
        self.labels.append(self._reader.label_of(row))
        try:
            self._metadata.append(self._reader.metadata_of(row))
        except ValueError as error:
            raise self._refused(row, f"column '{METADATA}': {error}") from error

    def _refused(self, row: FileRow, reason: object) -> ReferenceRefused:
        return ReferenceRefused(f"{self._unit} {row.number}: {reason}")

    def rows(self) -> Rows:
        answers = self._answers
        return Rows(
            inputs=self.inputs,
            predictions=[answer.prediction for answer in answers],
            confidences=[answer.confidence for answer in answers],
            outputs=[answer.output for answer in answers],
            failed=[answer.error is not None for answer in answers],
            flags=[answer.flags for answer in answers],
            metadata=self._metadata,
        )
