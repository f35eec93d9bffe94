"""Rows of inputs and answers as the tables that are compared."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from predictions.evaluation.drift.tables import (
    CONFIDENCE,
    LATENCY,
    PREDICTION,
    BoolArray,
    Categories,
    Column,
    FloatArray,
    IntArray,
    Numbers,
    Table,
)
from predictions.evaluation.quality.tasks import Task, class_index
from predictions.evaluation.references.features import Feature
from registry.signatures.flat_rows import FlatRows
from registry.signatures.signature import Signature

_NUMBER_TYPES = frozenset({int, float, type(None)})
_NONE = type(None)


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows with their answers, as the log has them; `inputs` and `outputs` are parsed JSON.

    `latencies` and `subjects` are None if they say nothing about live rows.
    """

    inputs: Sequence[Any]
    predictions: Sequence[float | None]
    confidences: Sequence[float | None]
    outputs: Sequence[Any] | None
    failed: Sequence[bool]
    latencies: Sequence[float | None] | None = None
    subjects: Sequence[str | None] | None = None
    flags: Sequence[Sequence[str] | None] | None = None
    """The constraints that each row violates."""
    metadata: Sequence[Any] | None = None

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(slots=True)
class TableReader:
    """Makes tables of the rows of one version.

    `task` is None for a version with several outputs, whose answers are not compared.
    """

    signature: Signature
    features: Sequence[Feature]
    task: Task | None
    _rows: FlatRows = field(init=False)

    def __post_init__(self) -> None:
        self._rows = FlatRows(self.signature)

    def table(self, rows: Rows, values: Sequence[Sequence[Any]] | None = None) -> Table:
        """The table of some rows; `values` are those of `columns_of`, if they are known."""
        if values is None:
            values = self.columns_of(rows.inputs)
        columns = self.input_columns(values) | self._answers(rows)
        probabilities, predicted = self._probabilities(rows)
        return Table(
            rows=len(rows),
            columns=columns,
            failed=np.array(rows.failed, np.bool_),
            subjects=rows.subjects,
            probabilities=probabilities,
            predicted=predicted,
            violations=_violations(rows.flags or ()),
        )

    def columns_of(self, inputs: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """The values of each of the signature's features; a list for a tensor without names."""
        return self._rows.columns(inputs)

    def input_columns(self, columns: Sequence[Sequence[Any]]) -> dict[str, Column]:
        """The columns of the features that are compared, by the keys of their variables."""
        made: dict[str, Column] = {}
        for feature in self.features:
            values = columns[feature.place]
            if feature.item is not None:
                values = [_item(value, feature.item) for value in values]
            made |= _FORMS[feature.kind](feature, values)
        return made

    def _answers(self, rows: Rows) -> dict[str, Column]:
        made: dict[str, Column] = {}
        if rows.latencies is not None:
            made[LATENCY] = _numbers(rows.latencies)
        if self.task is None:
            return made
        if not self.task.is_classification:
            return made | {PREDICTION: _numbers(rows.predictions)}
        labels = {float(i): category(label) for i, label in enumerate(self.task.classes)}
        # An index that there is not, from an import, is a category of its own.
        made[PREDICTION] = Categories(
            [
                None if value is None else labels.get(value, category(value))
                for value in rows.predictions
            ]
        )
        if self.task.has_probabilities:
            made[CONFIDENCE] = _numbers(rows.confidences)
        return made

    def _probabilities(self, rows: Rows) -> tuple[FloatArray | None, IntArray | None]:
        if rows.outputs is None or self.task is None or not self.task.has_probabilities:
            return None, None
        names = [str(label) for label in self.task.classes]
        nothing = [math.nan] * len(names)
        probabilities = np.array(
            [_probabilities_of(output, names) or nothing for output in rows.outputs], np.float64
        ).reshape(len(rows), len(names))
        indexes = [class_index(value, len(names)) for value in rows.predictions]
        predicted = np.array([-1 if index is None else index for index in indexes], np.int64)
        return probabilities, predicted


def _violations(flags: Sequence[Sequence[str] | None]) -> dict[str, BoolArray]:
    """By constraint, which rows violate it."""
    found: dict[str, BoolArray] = {}
    for place, names in enumerate(flags):
        for name in names or ():
            if name not in found:
                found[name] = np.zeros(len(flags), np.bool_)
            found[name][place] = True
    return found


def category(value: object) -> str:
    """The text of a category: a text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        value = int(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _probabilities_of(output: object, names: Sequence[str]) -> list[float] | None:
    by_class = output.get("probabilities") if type(output) is dict else None
    if type(by_class) is not dict:
        return None
    row: list[Any] = [by_class.get(name) for name in names]
    return row if all(type(value) is float or type(value) is int for value in row) else None


def _item(value: object, item: int) -> object:
    """An item of a list; null if the value is no list that has it."""
    return value[item] if type(value) is list and item < len(value) else None


def _numbers(values: Sequence[Any]) -> Numbers:
    if _NUMBER_TYPES.issuperset(map(type, values)):
        # None becomes NaN.
        return Numbers(np.array(values, np.float64))
    unparsable = np.array([type(value) not in _NUMBER_TYPES for value in values], np.bool_)
    numbers = [value if type(value) in _NUMBER_TYPES else None for value in values]
    return Numbers(np.array(numbers, np.float64), unparsable)


def _number_columns(feature: Feature, values: Sequence[Any]) -> Mapping[str, Column]:
    return {feature.key: _numbers(values)}


def _category_columns(feature: Feature, values: Sequence[Any]) -> Mapping[str, Column]:
    if feature.datatype == "BOOL":
        # The numbers 0 and 1 are how tables without booleans write them.
        values = [
            bool(value) if type(value) in (int, float) and value in (0, 1) else value
            for value in values
        ]
    elif {str, _NONE}.issuperset(map(type, values)):
        return {feature.key: Categories(values)}
    return {feature.key: Categories([None if v is None else category(v) for v in values])}


def _text_columns(feature: Feature, values: Sequence[Any]) -> Mapping[str, Column]:
    characters, words = feature.keys
    present = [
        None if value is None else (value if type(value) is str else ...) for value in values
    ]
    unparsable = np.array([value is ... for value in present], np.bool_)
    texts = [value if type(value) is str else None for value in present]
    return {
        characters: Numbers(_lengths(texts, len), unparsable),
        words: Numbers(_lengths(texts, lambda text: len(text.split())), unparsable),
    }


def _lengths(texts: Sequence[str | None], length: Any) -> FloatArray:
    return np.array([None if text is None else length(text) for text in texts], np.float64)


_FORMS = {
    "number": _number_columns,
    "category": _category_columns,
    "text": _text_columns,
}
