"""The columns of a scored table: who answered, and what. No Django here."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from predictions.export.columns import FLOAT, INTEGER, TEXT, Column
from predictions.export.formats.parquet import arrow_type
from predictions.scoring.work import ScoringFailed
from predictions.serving.answers import Answer, output_values, targets_of
from registry.runtimes.base import Outputs
from registry.signatures.signature import DTYPES, ClassLabel, Output, Signature, label_datatype

Arrays: TypeAlias = dict[str, Any]
"""Arrow arrays by the name of their column."""
Values: TypeAlias = dict[str, list[Any]]
Mask: TypeAlias = npt.NDArray[np.bool_]

# With more classes, the probabilities are one column of lists.
MAX_CLASS_COLUMNS = 100

PREDICTION, CONFIDENCE = Column("prediction", FLOAT), Column("confidence", FLOAT)
# Whether the model answered, failed, or was not asked because the row does not fit.
STATUS = Column("status", TEXT)
SUCCEEDED, FAILED, INVALID = "succeeded", "failed", "invalid"
FLAGS, ERROR = Column("flags", TEXT, depth=1), Column("error", TEXT)
PLACE_COLUMNS = (Column("file", TEXT), Column("row", INTEGER))
VERSION_COLUMNS = (Column("version", TEXT), Column("sha256", TEXT))
ARM = Column("arm", TEXT)
# The names of JSON in the API, such as output.label and output.probabilities.yes.
OUTPUT_PREFIX = "output."


def table_columns(
    signatures: Sequence[Signature], id_column: Column | None, *, has_arms: bool
) -> list[Column]:
    """All columns of a scored table; raises ScoringFailed if two of them have the same name."""
    outputs: dict[str, Column] = {}
    for signature in signatures:
        for column in OutputReader(signature).columns:
            if outputs.setdefault(column.name, column) != column:
                raise ScoringFailed(
                    f"The canary answers '{column.name}' in another form: score without --canary"
                )
    columns = [
        *([] if id_column is None else [id_column]),
        *PLACE_COLUMNS,
        STATUS,
        PREDICTION,
        CONFIDENCE,
        *outputs.values(),
        FLAGS,
        ERROR,
        *VERSION_COLUMNS,
        *([ARM] if has_arms else []),
    ]
    names = [column.name for column in columns]
    if id_column is not None and names.count(id_column.name) > 1:
        raise ScoringFailed(
            f"--id-column: '{id_column.name}' is the name of a column of the result; rename it in"
            " the input"
        )
    return columns


class OutputReader:
    """Reads the answers of one signature as columns."""

    def __init__(self, signature: Signature) -> None:
        targets = targets_of(signature.outputs)
        self._targets = [_target(target, len(targets)) for target in targets]

    @property
    def columns(self) -> list[Column]:
        """Those besides prediction and confidence."""
        return [column for target in self._targets for column in target.columns]

    def of_outputs(self, outputs: Outputs, n_rows: int) -> tuple[Arrays, Mask]:
        """The columns of n rows from the arrays of a call, and which rows have finite numbers."""
        arrays: Arrays = {}
        finite = np.ones(n_rows, np.bool_)
        for target in self._targets:
            finite &= target.are_finite(outputs, n_rows)
            arrays |= target.arrays(outputs, n_rows)
        return arrays, finite

    def of_answers(self, answers: Sequence[Answer]) -> Values:
        """The columns of answers; None where there is none."""
        values: Values = {
            PREDICTION.name: [answer.prediction for answer in answers],
            CONFIDENCE.name: [answer.confidence for answer in answers],
        }
        for target in self._targets:
            rows = [None if answer.error else target.cells(answer) for answer in answers]
            for place, column in enumerate(target.columns):
                values[column.name] = [None if row is None else row[place] for row in rows]
        return values

    def to_outputs(self, columns: Arrays) -> Outputs:
        """What the model returned, given the columns of rows that it answered; see `of_outputs`."""
        return {
            name: array
            for target in self._targets
            for name, array in target.to_outputs(columns).items()
        }

    @property
    def is_regular(self) -> bool:
        """Whether the arrays of several rows can be one."""
        return all(column.depth < 2 for column in self.columns)


def _target(outputs: Sequence[Output], n_targets: int) -> "_Value | _Classes":
    kind = _Value if outputs[0].kind == "value" else _Classes
    return kind(outputs, n_targets)


class _Value:
    """Numbers or texts."""

    def __init__(self, outputs: Sequence[Output], n_targets: int) -> None:
        self._outputs, self._n_targets = outputs, n_targets
        self._output = output = outputs[0]
        self._dtype = DTYPES[output.datatype]
        self._is_prediction = n_targets == 1 and output.is_scalar and self._dtype.kind != "O"
        # A float cannot hold every 64-bit integer.
        is_exact = self._dtype.kind in "fb" or self._dtype.itemsize < 8
        depth = 0 if output.is_scalar else len(output.row_shape)
        datatype = FLOAT if self._dtype.kind == "f" else output.datatype
        column = Column(f"{OUTPUT_PREFIX}{output.name}", datatype, depth)
        self.columns = [] if self._is_prediction and is_exact else [column]

    def are_finite(self, outputs: Outputs, n_rows: int) -> Mask:
        return _finite(outputs[self._output.name], n_rows)

    def arrays(self, outputs: Outputs, n_rows: int) -> Arrays:
        values = np.asarray(outputs[self._output.name])
        if self._output.is_scalar:
            values = values.reshape(n_rows)
        arrays = {column.name: _nested(values, column) for column in self.columns}
        if self._is_prediction:
            arrays[PREDICTION.name] = pa.array(values.astype(np.float64))
        return arrays

    def to_outputs(self, columns: Arrays) -> Outputs:
        if not self.columns:
            return {self._output.name: columns[PREDICTION.name].to_numpy()}
        dtype = DTYPES[self.columns[0].datatype]
        values = columns[self.columns[0].name].to_pylist()
        return {self._output.name: np.array(values, dtype)}

    def cells(self, answer: Answer) -> Sequence[Any]:
        values = output_values(answer, self._outputs, self._n_targets)
        return values if self.columns else []


class _Classes:
    """A class, with the probabilities of all classes if the model gives them."""

    def __init__(self, outputs: Sequence[Output], n_targets: int) -> None:
        self._first, self._last = outputs[0], outputs[-1]
        self._is_only = n_targets == 1
        prefix = OUTPUT_PREFIX if self._is_only else f"{OUTPUT_PREFIX}{self._first.name}."
        classes = self._first.classes
        datatype = label_datatype(classes)
        self._label = Column(f"{prefix}label", datatype)
        convert = {"O": str, "b": bool, "f": float}.get(DTYPES[datatype].kind, int)
        self._labels: Mapping[ClassLabel, Any] = {label: convert(label) for label in classes}
        self._probabilities: list[Column] = []
        if self._last.kind == "probabilities":
            name = f"{prefix}probabilities"
            self._probabilities = [Column(f"{name}.{label}", FLOAT) for label in classes]
            if len(classes) > MAX_CLASS_COLUMNS:
                self._probabilities = [Column(name, FLOAT, depth=1)]
        self.columns = [self._label, *self._probabilities]

    def are_finite(self, outputs: Outputs, n_rows: int) -> Mask:
        if not self._probabilities:
            return np.ones(n_rows, np.bool_)
        return _finite(outputs[self._last.name], n_rows)

    def arrays(self, outputs: Outputs, n_rows: int) -> Arrays:
        index = np.asarray(outputs[self._first.name])
        if self._first.kind == "probabilities":
            index = np.argmax(index, axis=1)
        index = index.reshape(n_rows)
        labels = pa.array(list(self._labels.values()), arrow_type(self._label))
        arrays = {self._label.name: labels.take(pa.array(index))}
        if self._is_only:
            arrays[PREDICTION.name] = pa.array(index.astype(np.float64))
        if self._probabilities:
            table = np.asarray(outputs[self._last.name]).astype(np.float64)
            if self._is_only:
                chosen = table[np.arange(n_rows), index]
                # Probabilities in single precision may sum to slightly more than one.
                arrays[CONFIDENCE.name] = pa.array(np.minimum(chosen, 1.0))
            if self._probabilities[0].depth:
                arrays[self._probabilities[0].name] = _nested(table, self._probabilities[0])
            else:
                for place, column in enumerate(self._probabilities):
                    arrays[column.name] = pa.array(table[:, place])
        return arrays

    def to_outputs(self, columns: Arrays) -> Outputs:
        outputs: Outputs = {}
        if self._first.kind == "label":
            index = {label: place for place, label in enumerate(self._labels.values())}
            labels = columns[self._label.name].to_pylist()
            outputs[self._first.name] = np.array([index[label] for label in labels], np.int64)
        if self._probabilities:
            table = [columns[column.name].to_pylist() for column in self._probabilities]
            is_list = bool(self._probabilities[0].depth)
            rows = np.array(table[0] if is_list else table, np.float64)
            outputs[self._last.name] = rows if is_list else rows.T
        return outputs

    def cells(self, answer: Answer) -> Sequence[Any]:
        output: Any = answer.output if self._is_only else _part(answer, self._first)
        label = self._labels[output["label"]]
        if not self._probabilities:
            return [label]
        probabilities = list(output["probabilities"].values())
        return [label, probabilities] if self._probabilities[0].depth else [label, *probabilities]


def _part(answer: Answer, first: Output) -> object:
    assert isinstance(answer.output, Mapping)  # several targets are answered by name
    return answer.output[first.name]


def _finite(values: Any, n_rows: int) -> Mask:
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return np.ones(n_rows, np.bool_)
    found: Mask = np.isfinite(array).reshape(n_rows, -1).all(axis=1)
    return found


def _nested(values: npt.NDArray[Any], column: Column) -> Any:
    """An Arrow array of n values, or of n lists of them."""
    dtype = DTYPES[column.datatype]
    if dtype.kind == "O":
        return pa.array(values.tolist(), arrow_type(column))
    array = pa.array(values.reshape(-1).astype(dtype))
    for size in reversed(values.shape[1:]):
        offsets = np.arange(0, len(array) + 1, size, dtype=np.int32)
        array = pa.ListArray.from_arrays(offsets, array)
    return array
