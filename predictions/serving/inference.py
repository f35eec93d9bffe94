"""Arranged rows in, answers out: the runtime's call, and what its arrays mean. No ORM."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from registry.loader import LoadedModel
from registry.runtimes.base import InferenceError, Outputs, RuntimeUnavailable
from registry.signatures.signature import Output, Signature

# Arranged rows: one array of shape (n, ...) for each input of a signature.
Inputs: TypeAlias = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said of one row.

    `prediction` is a regressor's value or the index of a classifier's class, None where there is no
    one number. `confidence` is the answered class's probability, None where the model gives none.
    `output` holds all there is beside the one number, as JSON.
    """

    prediction: float | None
    confidence: float | None = None
    output: Any = None


def score(model: LoadedModel, inputs: Inputs) -> list[Answer | InferenceError]:
    """Score n arranged rows in one call of the runtime: an answer or the model's failure for each.

    Where the model fails on all of them together, they are scored one by one, so that a failure
    reaches exactly the row that caused it; a model that can not be asked now is not asked again.
    """
    size = len(next(iter(inputs.values())))
    try:
        outputs = model.runtime.predict(inputs)
    except RuntimeUnavailable as error:
        return [error] * size
    except InferenceError as error:
        if size == 1:
            return [error]
        singles = ({name: array[i : i + 1] for name, array in inputs.items()} for i in range(size))
        return [answer for single in singles for answer in score(model, single)]
    return _answers(model.signature, outputs)


def join(rows: Sequence[Inputs]) -> Inputs:
    """One set of arrays of the arranged rows, which must have the same `shape_of`."""
    if len(rows) == 1:
        return rows[0]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def shape_of(row: Inputs) -> tuple[tuple[int, ...], ...]:
    """What rows must have in common to be joined: a dimension that varies may vary between them."""
    return tuple(array.shape[1:] for array in row.values())


def _answers(signature: Signature, outputs: Outputs) -> list[Answer | InferenceError]:
    targets = _targets(signature.outputs)
    columns = [_answers_of_target(target, outputs) for target in targets]
    if len(columns) == 1:
        return columns[0]
    names = [target[0].name for target in targets]
    return [_joined(names, row) for row in zip(*columns, strict=True)]


def _joined(
    names: Sequence[str], row: Sequence[Answer | InferenceError]
) -> Answer | InferenceError:
    """One answer of the answers to several questions."""
    output = {}
    for name, answer in zip(names, row, strict=True):
        if isinstance(answer, InferenceError):
            return answer
        output[name] = answer.prediction if answer.output is None else answer.output
    return Answer(prediction=None, output=output)


def _targets(outputs: Sequence[Output]) -> list[tuple[Output, ...]]:
    """Outputs that answer one question together: a label with its probabilities, else one alone."""
    targets: list[tuple[Output, ...]] = []
    for output in outputs:
        if output.kind == "probabilities" and targets and targets[-1][-1].kind == "label":
            targets[-1] = (*targets[-1], output)
        else:
            targets.append((output,))
    return targets


def _answers_of_target(
    target: tuple[Output, ...], outputs: Outputs
) -> list[Answer | InferenceError]:
    first, last = target[0], target[-1]
    if first.kind == "value":
        return [
            cell if isinstance(cell, InferenceError) else _answer_of_value(cell, first)
            for cell in _column(first, outputs)
        ]
    if first.kind == "label":
        places = np.asarray(outputs[first.name]).tolist()
    else:
        places = np.argmax(outputs[first.name], axis=1).tolist()
    if last.kind != "probabilities":
        return [Answer(float(place), None, {"label": first.classes[place]}) for place in places]
    names = [str(label) for label in first.classes]
    return [
        row if isinstance(row, InferenceError) else _answer_of_class(place, row, first, names)
        for place, row in zip(places, _column(last, outputs), strict=True)
    ]


def _answer_of_class(
    place: int, probabilities: Sequence[float], output: Output, names: Sequence[str]
) -> Answer:
    by_class = dict(zip(names, probabilities, strict=True))
    # Probabilities in single precision may sum to a hair more than one.
    confidence = min(probabilities[place], 1.0)
    label = output.classes[place]
    return Answer(float(place), confidence, {"label": label, "probabilities": by_class})


def _answer_of_value(value: Any, output: Output) -> Answer:
    if isinstance(value, int | float):
        # A large integer may be none of the numbers a float can be; then it stands beside.
        exact = float(value) == value
        return Answer(float(value), output=None if exact else {output.name: value})
    return Answer(prediction=None, output={output.name: value})


def _column(output: Output, outputs: Outputs) -> list[Any]:
    """An output's rows as Python values; in place of one with NaN or infinity, the failure."""
    array = np.asarray(outputs[output.name])
    cells: list[Any] = array.tolist()
    if array.dtype.kind == "f":
        unusable = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        for row in np.flatnonzero(unusable):
            what = "NaN" if np.isnan(array[row]).any() else "infinity"
            cells[row] = InferenceError(f"The model answered {what} for {output.name}")
    return cells
