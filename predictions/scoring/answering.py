"""Scores batches of a table: the same answers as requests get, as columns. No Django here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from predictions.export.formats.parquet import arrow_type
from predictions.input_files.rows import FileRow
from predictions.scoring.arranging import Mask, arrange_columns, selected
from predictions.scoring.batches import RowBatch, TableBatch
from predictions.scoring.models import TableModel
from predictions.scoring.outputs import (
    CONFIDENCE,
    ERROR,
    FAILED,
    FLAGS,
    INVALID,
    PREDICTION,
    STATUS,
    SUCCEEDED,
    Arrays,
    OutputReader,
)
from predictions.scoring.work import ScoringInterrupted
from predictions.serving.answers import MASKED_ERROR, Answer, readable_reason
from predictions.serving.inference import answer_rows, has_varying_shape
from registry.runtimes.base import (
    DeadlineExceeded,
    InferenceError,
    RuntimeUnavailable,
    require_valid_outputs,
)
from registry.signatures.validation import InvalidInput

# The most rows that a model scores in one call when they are not read as whole columns.
MAX_CALL_ROWS = 2000
HIDDEN = "Values are not shown, since inputs of this model are masked."

Places = npt.NDArray[np.int64]


@dataclass(slots=True)
class Piece:
    """The answers for the rows of a batch that are at `places`, by column."""

    places: Places
    arrays: Arrays
    errors: dict[int, str]


class Scorer:
    """Answers batches with one model."""

    def __init__(self, model: TableModel) -> None:
        self.model = model
        self._reader = OutputReader(model.signature)
        self.columns = [STATUS, PREDICTION, CONFIDENCE, *self._reader.columns, FLAGS, ERROR]
        self._is_joinable = model.signature.is_joinable and not has_varying_shape(model.signature)

    def answer(self, batch: TableBatch | RowBatch) -> Piece:
        """The answers for all rows of a batch; `errors` are by place.

        Raises ScoringInterrupted if a remote model cannot be reached, and FileRefused for columns
        of types that cannot be read.
        """
        pieces: list[Piece] = []
        rest = np.arange(len(batch))
        if self._is_joinable and isinstance(batch, TableBatch):
            arranged = arrange_columns(batch.columns, batch.cells)
            if arranged is not None and (quick := self._answer_arrays(*arranged)) is not None:
                pieces.append(quick)
                rest = np.setdiff1d(rest, quick.places, assume_unique=True)
        if len(rest):
            remaining = batch.pick(rest) if len(rest) < len(batch) else batch
            pieces.append(self._answer_rows(rest, remaining.rows()))
        return joined(pieces)

    # -- whole columns

    def _answer_arrays(self, arrays: Arrays, certain: Mask) -> Piece | None:
        """The answers for those certain rows that are allowed and have usable answers; the model is
        called once. None if there are none.
        """
        flags: dict[int, list[str]] = {}
        if self.model.checks is not None:
            found = self.model.checks.find(arrays)
            # Those of uncertain rows are about arbitrary values.
            flags = {row: names for row, names in found.flags.items() if certain[row]}
            if found.errors:
                certain = certain.copy()
                certain[list(found.errors)] = False
        places = np.flatnonzero(certain)
        if not len(places):
            return None
        try:
            outputs = self.model.runtime.predict(selected(arrays, certain))
            require_valid_outputs(self.model.signature, outputs, len(places))
        except (RuntimeUnavailable, DeadlineExceeded) as error:
            raise _interrupted(error) from error
        except InferenceError:
            # Row by row, this finds the rows that cause it.
            return None
        read, finite = self._reader.of_outputs(outputs, len(places))
        size = len(places)
        read[STATUS.name] = pa.repeat(pa.scalar(SUCCEEDED), size)
        read = self._complete(read, size)
        if flags:
            read[FLAGS.name] = pa.array([flags.get(row) for row in places.tolist()], _FLAGS_TYPE)
        if not finite.all():
            kept = np.flatnonzero(finite)
            read = {name: array.take(pa.array(kept)) for name, array in read.items()}
            places = places[kept]
        return Piece(places, read, {})

    def _complete(self, read: Arrays, size: int) -> Arrays:
        return {
            column.name: read[column.name]
            if column.name in read
            else pa.nulls(size, arrow_type(column))
            for column in self.columns
        }

    # -- rows

    def _answer_rows(self, places: Places, rows: Sequence[FileRow]) -> Piece:
        answers = [Answer(error=InvalidInput(0, {"": [row.error]})) for row in rows]
        readable = [place for place, row in enumerate(rows) if not row.error]
        if readable:
            inputs = [rows[place].input_data for place in readable]
            found = answer_rows(self.model, inputs, max_call_rows=MAX_CALL_ROWS)
            for place, answer in zip(readable, found, strict=True):
                if isinstance(answer.error, RuntimeUnavailable | DeadlineExceeded):
                    raise _interrupted(answer.error)
                answers[place] = answer
        values = self._reader.of_answers(answers)
        values[FLAGS.name] = [answer.flags for answer in answers]
        values[STATUS.name] = [_status_of(answer) for answer in answers]
        values[ERROR.name] = [self._error_of(answer) for answer in answers]
        arrays = {
            column.name: pa.array(values[column.name], arrow_type(column))
            for column in self.columns
        }
        errors = {
            place: error
            for place, error in zip(places.tolist(), values[ERROR.name], strict=True)
            if error is not None
        }
        return Piece(places, arrays, errors)

    def _error_of(self, answer: Answer) -> str | None:
        if answer.error is None:
            return None
        if not self.model.is_masked:
            return readable_reason(answer.error)
        if isinstance(answer.error, InvalidInput):
            # The names of its features, without the values that messages quote.
            names = ", ".join(name for name in answer.error.errors if name)
            return f"The row does not fit{f': {names}' if names else ''}. {HIDDEN}"
        return MASKED_ERROR


def _status_of(answer: Answer) -> str:
    if answer.error is None:
        return SUCCEEDED
    return INVALID if isinstance(answer.error, InvalidInput) else FAILED


_FLAGS_TYPE = arrow_type(FLAGS)


def joined(pieces: Sequence[Piece]) -> Piece:
    """The answers of several pieces, in the order of their places. A column that a piece does not
    have is null there.
    """
    if len(pieces) == 1:
        return pieces[0]
    places = np.concatenate([piece.places for piece in pieces])
    order = pa.array(np.argsort(places, kind="stable"))
    types: dict[str, Any] = {
        name: array.type for piece in pieces for name, array in piece.arrays.items()
    }
    arrays = {}
    for name, kind in types.items():
        parts = [
            piece.arrays[name] if name in piece.arrays else pa.nulls(len(piece.places), kind)
            for piece in pieces
        ]
        arrays[name] = pa.concat_arrays(parts).take(order)
    errors = {place: error for piece in pieces for place, error in piece.errors.items()}
    return Piece(np.sort(places), arrays, errors)


def _interrupted(error: Exception) -> ScoringInterrupted:
    return ScoringInterrupted(f"The model cannot be reached: {readable_reason(error)}")
