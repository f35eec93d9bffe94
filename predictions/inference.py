"""Arranged rows in, answers out: the runtime's call, and what its arrays mean. No ORM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from registry.loader import LoadedModel
from registry.runtimes.base import InferenceError, Outputs
from registry.signature import ClassLabel, Output, Signature

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
    reaches exactly the row that caused it.
    """
    size = len(next(iter(inputs.values())))
    try:
        outputs = model.runtime.predict(inputs)
    except InferenceError as error:
        if size == 1:
            return [error]
        singles = ({name: array[i : i + 1] for name, array in inputs.items()} for i in range(size))
        return [answer for single in singles for answer in score(model, single)]
    return _answers(model.signature, outputs, size)


def join(rows: Sequence[Inputs]) -> Inputs:
    """One set of arrays of the arranged rows, which must have the same `shape_of`."""
    if len(rows) == 1:
        return rows[0]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def shape_of(row: Inputs) -> tuple[tuple[int, ...], ...]:
    """What rows must have in common to be joined: a dimension that varies may vary between them."""
    return tuple(array.shape[1:] for array in row.values())


def _answers(signature: Signature, outputs: Outputs, size: int) -> list[Answer | InferenceError]:
    targets = _targets(signature.outputs)
    answers: list[Answer | InferenceError] = []
    for row in range(size):
        try:
            answers.append(_answer(targets, outputs, row))
        except InferenceError as error:
            answers.append(error)
    return answers


def _answer(targets: Sequence[tuple[Output, ...]], outputs: Outputs, row: int) -> Answer:
    if len(targets) == 1:
        return _answer_of_target(targets[0], outputs, row)
    answers = {target[0].name: _answer_of_target(target, outputs, row) for target in targets}
    return Answer(
        prediction=None,
        output={
            name: answer.prediction if answer.output is None else answer.output
            for name, answer in answers.items()
        },
    )


def _targets(outputs: Sequence[Output]) -> list[tuple[Output, ...]]:
    """Outputs that answer one question together: a label with its probabilities, else one alone."""
    targets: list[tuple[Output, ...]] = []
    for output in outputs:
        if output.kind == "probabilities" and targets and targets[-1][-1].kind == "label":
            targets[-1] = (*targets[-1], output)
        else:
            targets.append((output,))
    return targets


def _answer_of_target(target: tuple[Output, ...], outputs: Outputs, row: int) -> Answer:
    first = target[0]
    if first.kind == "value":
        return _answer_of_value(_plain(first, outputs, row), first)
    probabilities = _plain(target[-1], outputs, row) if target[-1].kind == "probabilities" else None
    if first.kind == "label":
        index = int(outputs[first.name][row])
    else:
        index = int(np.argmax(outputs[first.name][row]))
    output: dict[str, Any] = {"label": first.classes[index]}
    if probabilities is not None:
        output["probabilities"] = _by_class(first.classes, probabilities)
    # Probabilities in single precision may sum to a hair more than one.
    confidence = min(probabilities[index], 1.0) if probabilities is not None else None
    return Answer(float(index), confidence, output)


def _answer_of_value(value: Any, output: Output) -> Answer:
    if isinstance(value, int | float):
        # A large integer may be none of the numbers a float can be; then it stands beside.
        exact = float(value) == value
        return Answer(float(value), output=None if exact else {output.name: value})
    return Answer(prediction=None, output={output.name: value})


def _by_class(classes: Sequence[ClassLabel], values: Sequence[float]) -> Mapping[str, float]:
    return {str(label): value for label, value in zip(classes, values, strict=True)}


def _plain(output: Output, outputs: Outputs, row: int) -> Any:
    """One row of an output, as Python values; raises InferenceError for NaN and infinity."""
    cell = outputs[output.name][row]
    if isinstance(cell, np.ndarray | np.generic):
        if cell.dtype.kind == "f" and not np.isfinite(cell).all():
            raise InferenceError(f"The model answered {_unusable(cell)} for {output.name}")
        return cell.tolist()
    return cell


def _unusable(cell: np.ndarray | np.generic) -> str:
    return "NaN" if np.isnan(cell).any() else "infinity"
