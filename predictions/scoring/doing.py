"""`do`: what every engine calls for each task, in whatever process. No Django here."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from predictions.export.columns import Column
from predictions.export.destinations import open_destination
from predictions.export.destinations.base import (
    AlreadyPublished,
    Destination,
    DestinationUnavailable,
    DestinationUnusable,
)
from predictions.export.destinations.documents import (
    MANIFEST,
    as_bytes,
    file_digest,
    receipt_name,
)
from predictions.export.formats import FORMATS
from predictions.export.formats.parquet import arrow_type
from predictions.input_files.errors import FileRefused
from predictions.scoring.answering import Piece, Scorer, joined
from predictions.scoring.batches import RowBatch, TableBatch
from predictions.scoring.models import load
from predictions.scoring.outputs import ARM, VERSION_COLUMNS, table_columns
from predictions.scoring.sources.opening import require_unchanged
from predictions.scoring.tables import read_task
from predictions.scoring.work import (
    Instructions,
    Receipt,
    ScoringFailed,
    ScoringInterrupted,
    Source,
    Task,
)
from predictions.serving.arms import share_of
from registry.exact_json.values import JSONObject

# Those in a receipt; the part itself has the error of every row.
MAX_REPORTED_ERRORS = 100


def do(order: JSONObject) -> JSONObject:
    """Score the rows of a task and publish them as a part; returns its receipt.

    `order` is that of `order_of`. A task may be done twice, at the same time too: only the receipt
    that is published first counts, and every call returns that. Raises ScoringFailed, or
    ScoringInterrupted for what may pass.
    """
    instructions = Instructions.from_json(order["instructions"])
    source, task = Source(**order["source"]), Task(**order["task"])
    try:
        destination = open_destination(instructions.destination)
        receipt = find_receipt(destination, task.number)
        if receipt is None:
            receipt = _Part(instructions, source, task, destination).make()
    except FileRefused as error:
        raise ScoringFailed(f"{source.name}: {error}") from error
    except DestinationUnusable as error:
        raise ScoringFailed(str(error)) from error
    except (DestinationUnavailable, OSError) as error:
        raise ScoringInterrupted(str(error)) from error
    return receipt.as_json()


def find_receipt(destination: Destination, number: int) -> Receipt | None:
    content = destination.read(receipt_name(number))
    return None if content is None else Receipt.from_json(orjson.loads(content))


@dataclass(slots=True)
class _Chunk:
    columns: Sequence[Any]

    def __len__(self) -> int:
        return len(self.columns[0])


@dataclass(slots=True)
class _Part:
    instructions: Instructions
    source: Source
    task: Task
    destination: Destination
    _rows: int = field(init=False, default=0)
    _failed: int = field(init=False, default=0)
    _errors: list[tuple[int, str]] = field(init=False, default_factory=list)

    def make(self) -> Receipt:
        started, format = time.perf_counter(), self.instructions.format
        with self.destination.scratch(f"part-{self.task.number:05}.{format}") as path:
            self._write(path)
            require_unchanged(self.source)
            self._require_all_rows()
            digest = file_digest(path)
            # The digest in the name makes files of the same name the same.
            name = f"part-{self.task.number:05}-{digest[:16]}.{format}"
            receipt = Receipt(
                number=self.task.number,
                name=name,
                rows=self._rows,
                failed=self._failed,
                size_bytes=path.stat().st_size,
                sha256=digest,
                errors=self._errors,
                seconds=round(time.perf_counter() - started, 3),
                peak_memory_mib=peak_memory_mib(),
            )
            # A cluster may still do this for a driver that is gone.
            self._require_unsealed()
            with suppress(AlreadyPublished):
                self.destination.publish_once(path, name)
        try:
            self.destination.create(receipt_name(self.task.number), as_bytes(receipt.as_json()))
        except AlreadyPublished:
            if (found := find_receipt(self.destination, self.task.number)) is not None:
                return found
            # Sealing the result has removed it.
            self._require_unsealed()
            raise
        return receipt

    def _require_unsealed(self) -> None:
        """Refuse to add to a complete result, whose readers read every part that is there."""
        if self.destination.read(MANIFEST) is not None:
            raise ScoringInterrupted(f"{self.destination} was completed by another process")

    def _require_all_rows(self) -> None:
        if self.task.rows not in (None, self._rows):
            raise ScoringFailed(
                f"{self.source.name}: {self._rows} rows were read of {self.task.rows}"
            )

    def _write(self, path: Path) -> None:
        arms = [Arm.of(self.instructions, number) for number in range(len(self._versions))]
        signatures = [arm.scorer.model.signature for arm in arms]
        columns = table_columns(signatures, id_column_of(self.instructions), has_arms=len(arms) > 1)
        is_table = self.instructions.format == "parquet"
        with (
            path.open("wb") as file,
            closing(FORMATS[self.instructions.format].open(file, columns)) as writer,
        ):
            for batch in read_task(self.source, self.task, signatures[0], self.instructions.others):
                answered = self._answer(batch, arms)
                arrays = [answered[column.name] for column in columns]
                # Other formats take values.
                writer.write(_Chunk(arrays if is_table else [a.to_pylist() for a in arrays]))
                self._rows += len(batch)

    @property
    def _versions(self) -> Sequence[Any]:
        return self.instructions.arms.versions

    def _answer(self, batch: TableBatch | RowBatch, arms: Sequence["Arm"]) -> dict[str, Any]:
        pieces = []
        for arm, places in zip(arms, self._places_of_arms(batch), strict=True):
            if len(places):
                whole = len(places) == len(batch)
                pieces.append(arm.answer(batch if whole else batch.pick(places), places))
        piece = joined(pieces)
        self._note(batch, piece)
        return piece.arrays | self._given(batch)

    def _note(self, batch: TableBatch | RowBatch, piece: Piece) -> None:
        self._failed += len(piece.errors)
        for place in sorted(piece.errors)[: MAX_REPORTED_ERRORS - len(self._errors)]:
            self._errors.append((int(batch.numbers[place]), piece.errors[place]))

    def _given(self, batch: TableBatch | RowBatch) -> dict[str, Any]:
        """The columns that say which row it is."""
        given = {
            "file": pa.repeat(pa.scalar(self.source.name), len(batch)),
            "row": pa.array(batch.numbers),
        }
        if (column := id_column_of(self.instructions)) is not None:
            given[column.name] = batch.other(column.name, arrow_type(column))
        return given

    def _places_of_arms(self, batch: TableBatch | RowBatch) -> Iterator[Any]:
        """The places of the rows that each arm answers, as serving chooses them."""
        arms = self.instructions.arms
        if arms.canary is None:
            yield np.arange(len(batch))
            return
        assert self.instructions.subject_column is not None
        subjects = batch.other(self.instructions.subject_column, pa.string()).to_pylist()
        is_canary = np.array(
            [
                # Without a subject, each row counts as a subject of its own.
                share_of(subject or f"{self.source.name}:{number}", arms.salt) < arms.percent
                for subject, number in zip(subjects, batch.numbers.tolist(), strict=True)
            ],
            np.bool_,
        )
        yield np.flatnonzero(~is_canary)
        yield np.flatnonzero(is_canary)


@dataclass(frozen=True, slots=True)
class Arm:
    """A version that answers some of the rows, and what the result says of it."""

    name: str
    version: str
    sha256: str
    scorer: Scorer

    @classmethod
    def of(cls, instructions: Instructions, number: int) -> "Arm":
        file = instructions.arms.versions[number]
        scorer = Scorer(load(file))
        return cls(("primary", "canary")[number], file.name, file.sha256, scorer)

    def answer(self, batch: TableBatch | RowBatch, places: Any) -> Piece:
        """Its answers for a batch whose rows are at these places of the whole batch."""
        piece = self.scorer.answer(batch)
        texts = (self.version, self.sha256, self.name)
        for column, text in zip((*VERSION_COLUMNS, ARM), texts, strict=True):
            piece.arrays[column.name] = pa.repeat(pa.scalar(text), len(batch))
        errors = {int(places[place]): error for place, error in piece.errors.items()}
        return Piece(places, piece.arrays, errors)


def id_column_of(instructions: Instructions) -> Column | None:
    if instructions.id_column is None:
        return None
    return Column(instructions.id_column, instructions.id_datatype)


def peak_memory_mib() -> float:
    """The peak memory of this process; 0 where the system does not report it."""
    # Not getrusage, in which a process begins with the peak of its parent.
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    return 0.0
