"""Records the rows of a scored table in the log, exactly once.

The rows of a chunk share a request ID that says which chunk of which run it is. They are written in
one transaction, which locks that ID and writes nothing if the log has it already.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
from django.conf import settings
from django.db import connection, transaction

from predictions.export.destinations.base import Destination
from predictions.input_files import parquet
from predictions.input_files.rows import FileRow
from predictions.models import Prediction
from predictions.models.predictions import MAX_CALLERS_NAME_LENGTH, MAX_ERROR_LENGTH
from predictions.scoring.outputs import FAILED, SUCCEEDED, OutputReader
from predictions.scoring.planning import Plan
from predictions.scoring.tables import read_task
from predictions.scoring.work import Receipt, ScoringFailed, Task, VersionFile
from predictions.serving.answers import Answer
from predictions.serving.inference import read_answers
from registry.database import clock
from registry.runtimes.base import InferenceError
from registry.signatures.masking import Masks
from registry.signatures.signature import Signature

CHUNK_ROWS = 5000
COLUMNS = (
    "model_id",
    "input_data",
    "prediction",
    "confidence",
    "output",
    "flags",
    "metadata",
    "status",
    "error",
    "request_id",
    "user_id",
    "api_key_id",
    "created_at",
    "reference",
    "subject",
    "alias",
    "arm",
)
JSON_COLUMNS = ("input_data", "output", "flags", "metadata")


@dataclass(slots=True)
class Version:
    """What is needed to record the answers of a version."""

    file: VersionFile
    signature: Signature = field(init=False)
    reader: OutputReader = field(init=False)
    masks: Masks | None = field(init=False)

    def __post_init__(self) -> None:
        self.signature = Signature.from_json(self.file.signature)
        self.reader = OutputReader(self.signature)
        self.masks = Masks.of(self.signature, settings.MASKING_KEY.encode())

    def answers(self, columns: dict[str, Any], places: npt.NDArray[np.int64]) -> list[Answer]:
        """Its answers that are at these places of a part."""
        rows = pa.array(places)
        picked = {name: column.take(rows) for name, column in columns.items()}
        return read_answers(self.signature, self.reader.to_outputs(picked))


@dataclass(slots=True)
class Recorder:
    """Records the parts of one run; `user_id` and `api_key_id` say who asked for it, if a job."""

    plan: Plan
    destination: Destination
    user_id: int | None = None
    api_key_id: int | None = None
    _versions: dict[str, Version] = field(init=False)

    def __post_init__(self) -> None:
        files = self.plan.instructions.arms.versions
        self._versions = {file.name: Version(file) for file in files}

    def record(self, task: Task, receipt: Receipt, progress: Callable[[int], object]) -> int:
        """Record the rows of a part, except those that do not fit the signature, as the service
        records requests. Returns how many rows of the part the log has.

        Calls `progress` with numbers of rows. Raises ScoringFailed and database errors.
        """
        count = 0
        with ExitStack() as stack:
            path = stack.enter_context(self.destination.local(receipt.name))
            answered = parquet.open_file(path)
            stack.callback(answered.close)
            rows = self._rows(task, answered)
            for number in itertools.count():
                chunk = list(islice(rows, CHUNK_ROWS))
                if not chunk:
                    break
                kept = [row for row in chunk if row is not None]
                count += len(kept)
                self._write(f"score:{self.plan.run}:{task.number}:{number}", kept)
                progress(len(chunk))
        return count

    def _rows(self, task: Task, answered: Any) -> Iterator[dict[str, Any] | None]:
        """The row of the log for each row of the part; None for one that is not recorded."""
        instructions = self.plan.instructions
        signature = next(iter(self._versions.values())).signature
        asked = (
            row
            for batch in read_task(
                self.plan.sources[task.source], task, signature, instructions.others
            )
            for row in batch.rows()
        )
        for batch in answered.iter_batches(CHUNK_ROWS, use_threads=False):
            columns = {name: batch.column(name) for name in batch.schema.names}
            answers = self._answers(columns, len(batch))
            now = clock.now()
            numbers = columns["row"].to_pylist()
            names = columns["version"].to_pylist()
            arms = columns["arm"].to_pylist() if "arm" in columns else [None] * len(batch)
            for number, name, arm, answer in zip(numbers, names, arms, answers, strict=True):
                question = next(asked, None)
                if question is None or question.number != number:
                    raise ScoringFailed(f"Part {task.number} is not about the rows of its input")
                if answer is None:
                    yield None
                else:
                    yield self._row(question, self._versions[name], arm, answer, now)

    def _answers(self, columns: dict[str, Any], n_rows: int) -> list[Answer | None]:
        """The answers in a part; None for rows that did not fit the signature."""
        answers: list[Answer | None] = [None] * n_rows
        names = np.array(columns["version"].to_pylist(), object)
        errors = columns["error"].to_pylist()
        statuses, flags = columns["status"].to_pylist(), columns["flags"].to_pylist()
        is_good = np.array([status == SUCCEEDED for status in statuses], np.bool_)
        for name, version in self._versions.items():
            places = np.flatnonzero(is_good & (names == name))
            # Rows of arrays that differ in their shape are read one by one.
            step = max(1, len(places)) if version.reader.is_regular else 1
            for start in range(0, len(places), step):
                part = places[start : start + step]
                for place, answer in zip(
                    part.tolist(), version.answers(columns, part), strict=True
                ):
                    answers[place] = answer
        for place, status in enumerate(statuses):
            if status == FAILED:
                answers[place] = Answer(error=InferenceError(errors[place]))
        for answered, own in zip(answers, flags, strict=True):
            if answered is not None:
                answered.flags = own
        return answers

    def _row(
        self,
        question: FileRow,
        version: Version,
        arm: str | None,
        answer: Answer,
        now: datetime,
    ) -> dict[str, Any]:
        others = dict(zip(self.plan.instructions.others, question.others, strict=True))
        asked = question.input_data
        return {
            "model_id": version.file.id,
            "input_data": asked if version.masks is None else version.masks.apply(asked),
            "prediction": answer.prediction,
            "confidence": answer.confidence,
            "output": answer.output,
            "flags": answer.flags,
            "metadata": {"scored_table": self.plan.run},
            "status": "succeeded" if answer.error is None else "failed",
            "error": "" if answer.error is None else str(answer.error)[:MAX_ERROR_LENGTH],
            "user_id": self.user_id,
            "api_key_id": self.api_key_id,
            "created_at": now,
            "reference": _name(others, self.plan.instructions.id_column, question),
            "subject": _name(others, self.plan.instructions.subject_column, question),
            "alias": self.plan.alias,
            "arm": (arm or "primary") if self.plan.alias else None,
        }

    def _write(self, request_id: str, rows: Sequence[dict[str, Any]]) -> None:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [request_id]
                    )
            # The index of requests finds it. On SQLite, one transaction writes at a time.
            if not rows or Prediction.objects.filter(request_id=request_id).exists():
                return
            for row in rows:
                row["request_id"] = request_id
            if connection.vendor == "postgresql":
                _copy(rows)
            else:
                Prediction.objects.bulk_create([Prediction(**row) for row in rows], 500)


def _copy(rows: Sequence[dict[str, Any]]) -> None:
    statement = f"COPY {Prediction._meta.db_table} ({', '.join(COLUMNS)}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            for name in JSON_COLUMNS:
                if row[name] is not None:
                    row[name] = orjson.dumps(row[name]).decode()
            copy.write_row([row[name] for name in COLUMNS])


def _name(others: dict[str, Any], column: str | None, question: FileRow) -> str | None:
    """The reference or the subject of a row; raises ScoringFailed."""
    value = others.get(column) if column else None
    if value is None:
        return None
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if len(text) > MAX_CALLERS_NAME_LENGTH or "\0" in text:
        raise ScoringFailed(
            f"Row {question.number}: '{column}' cannot be recorded: it must have at most"
            f" {MAX_CALLERS_NAME_LENGTH} characters and no NUL"
        )
    return text
