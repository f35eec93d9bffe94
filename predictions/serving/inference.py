"""Turns rows of JSON into answers: the only code that calls a model. No Django here."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from predictions.serving.answers import Answer, targets_of
from registry.runtimes.base import (
    DeadlineExceeded,
    InferenceError,
    Interruptible,
    Outputs,
    Runtime,
    RuntimeUnavailable,
    require_valid_outputs,
)
from registry.signatures.arrangement import arrange
from registry.signatures.checking import Checks
from registry.signatures.signature import Output, Signature
from registry.signatures.validation import InvalidInput

if TYPE_CHECKING:
    from predictions.serving.limits.deadlines import Deadline

# One array of shape (n, ...) for each input of a signature.
Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
# The places of some rows, and the rows as arrays.
Run: TypeAlias = tuple[Sequence[int], Arrays]


class Model(Protocol):
    """What is called: a LoadedModel, or a model in a process that has no database."""

    @property
    def signature(self) -> Signature: ...

    @property
    def runtime(self) -> Runtime: ...

    @property
    def interruptible(self) -> Interruptible | None: ...

    @property
    def checks(self) -> Checks | None: ...


def answer_rows(
    model: Model,
    rows: Sequence[object],
    *,
    all_must_fit: bool = False,
    max_call_rows: int | None = None,
    deadline: "Deadline | None" = None,
    observe_seconds: Callable[[float], object] | None = None,
) -> list[Answer]:
    """Arrange rows of `input_data`, score them in as few runtime calls as possible, and return an
    answer for each, in their order.

    Rows of one shape share a call, up to `max_call_rows`; a model that is not joinable scores one
    row a call. A row that does not fit the signature, or that its constraints reject, gets an
    Answer whose error is InvalidInput; with `all_must_fit`, the first one is raised instead, before
    anything is scored.

    Once `deadline` has passed, no call is begun, and a runtime that can be interrupted gives up its
    call: the rows that have no answer by then get one whose error is DeadlineExceeded.
    `observe_seconds` receives the duration of each call.
    """
    call = _Scoring(model, max_call_rows, deadline, observe_seconds)
    if all_must_fit and model.checks is None and not has_varying_shape(model.signature):
        return call.score(arrange(model.signature, rows))
    answers: list[Answer | None] = [None] * len(rows)
    flags: dict[int, list[str]] = {}
    runs: Iterator[Run] = _arrange_each(model.signature, rows, answers, all_must_fit)
    if model.checks is not None:
        runs = _allowed(model.checks, runs, answers, flags, all_must_fit)
    for places, pieces in _by_shape(runs):
        for place, answer in zip(places, call.score(_joined(pieces)), strict=True):
            answers[place] = answer
    complete = [answer for answer in answers if answer is not None]
    for index, names in flags.items():
        complete[index].flags = names
    return complete


# -- arranging


def _arrange_each(
    signature: Signature,
    rows: Sequence[object],
    answers: list[Answer | None],
    all_must_fit: bool,
) -> Iterator[Run]:
    """Yield runs of rows that fit, with their places; put the errors of the others in `answers`,
    or with `all_must_fit` raise the first.

    A row is arranged at most twice: `arrange` stops at the first that does not fit.
    """
    # `arrange` requires rows of one shape, and these may differ.
    step = 1 if has_varying_shape(signature) else max(1, len(rows))
    start = 0
    while start < len(rows):
        end = min(start + step, len(rows))
        try:
            yield range(start, end), arrange(signature, rows[start:end])
        except InvalidInput as error:
            end = start + error.row
            if all_must_fit:
                raise InvalidInput(end, error.errors) from error
            answers[end] = Answer(error=error)
            if end > start:
                yield range(start, end), arrange(signature, rows[start:end])
            end += 1
        start = end


def _allowed(
    checks: Checks,
    runs: Iterator[Run],
    answers: list[Answer | None],
    flags: dict[int, list[str]],
    all_must_fit: bool,
) -> Iterator[Run]:
    """Yield runs without the rows that constraints reject, whose errors become answers, or with
    `all_must_fit` the first is raised; put the flags of rows in `flags`.
    """
    for places, arrays in runs:
        found = checks.find(arrays)
        flags |= {places[row]: names for row, names in found.flags.items()}
        if not found.errors:
            yield places, arrays
            continue
        for row in sorted(found.errors):
            error = InvalidInput(places[row], found.errors[row])
            if all_must_fit:
                raise error
            answers[places[row]] = Answer(error=error)
        if kept := [row for row in range(len(places)) if row not in found.errors]:
            yield [places[row] for row in kept], {k: array[kept] for k, array in arrays.items()}


def _by_shape(runs: Iterator[Run]) -> list[tuple[list[int], list[Arrays]]]:
    """The places and arrays of all rows of each shape."""
    groups: dict[tuple[tuple[int, ...], ...], tuple[list[int], list[Arrays]]] = {}
    for places, arrays in runs:
        shape = tuple(array.shape[1:] for array in arrays.values())
        all_places, pieces = groups.setdefault(shape, ([], []))
        all_places += places
        pieces.append(arrays)
    return list(groups.values())


def has_varying_shape(signature: Signature) -> bool:
    return any(-1 in tensor.row_shape for tensor in signature.inputs)


def _joined(pieces: Sequence[Arrays]) -> Arrays:
    if len(pieces) == 1:
        return pieces[0]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


# -- scoring


@dataclass(slots=True)
class _Scoring:
    """Scores arranged rows with one model, under the conditions of `answer_rows`."""

    model: Model
    max_call_rows: int | None
    deadline: "Deadline | None"
    observe_seconds: Callable[[float], object] | None

    def score(self, arrays: Arrays) -> list[Answer]:
        size = len(next(iter(arrays.values())))
        step = (self.max_call_rows or size) if self.model.signature.is_joinable else 1
        answers: list[Answer] = []
        for start in range(0, size, step):
            part = arrays
            if step < size:
                part = {name: array[start : start + step] for name, array in arrays.items()}
            started = time.perf_counter()
            scored = self._score_part(part)
            seconds = time.perf_counter() - started
            if self.observe_seconds is not None:
                self.observe_seconds(seconds)
            for answer in scored:
                answer.latency_ms = seconds * 1000
            answers += scored
        return answers

    def _score_part(self, arrays: Arrays) -> list[Answer]:
        """Score n arranged rows in one runtime call.

        If the model fails on all of them together, they are scored one by one, so that the failure
        reaches exactly the row that caused it. A model that cannot be reached, or that did not
        answer in time, is not tried again.
        """
        size = len(next(iter(arrays.values())))
        try:
            outputs = self._call_runtime(arrays)
            require_valid_outputs(self.model.signature, outputs, size)
        except (RuntimeUnavailable, DeadlineExceeded) as error:
            return [Answer(error=error) for _ in range(size)]
        except InferenceError as error:
            if size == 1:
                return [Answer(error=error)]
            singles = ({k: array[i : i + 1] for k, array in arrays.items()} for i in range(size))
            return [answer for single in singles for answer in self._score_part(single)]
        return read_answers(self.model.signature, outputs)

    def _call_runtime(self, arrays: Arrays) -> Outputs:
        if self.deadline is None:
            return self.model.runtime.predict(arrays)
        seconds = self.deadline.at - time.monotonic()
        if seconds <= 0:
            raise self.deadline.exceeded()
        if (interruptible := self.model.interruptible) is not None:
            return interruptible.predict_within(arrays, seconds)
        return self.model.runtime.predict(arrays)


# -- reading the runtime's arrays


def read_answers(signature: Signature, outputs: Outputs) -> list[Answer]:
    """The answers in valid outputs of a call, one for each row."""
    targets = targets_of(signature.outputs)
    columns = [_read_target(target, outputs) for target in targets]
    if len(columns) == 1:
        return columns[0]
    firsts = [target[0] for target in targets]
    return [_combined(firsts, row) for row in zip(*columns, strict=True)]


def _combined(firsts: Sequence[Output], answers: Sequence[Answer]) -> Answer:
    """One answer from the answers for several targets, by the name of each one's first output: a
    class with its label and probabilities, a plain value as it is.
    """
    output: dict[str, object] = {}
    for first, answer in zip(firsts, answers, strict=True):
        if answer.error is not None:
            return answer
        value = answer.prediction if answer.output is None else answer.output
        if first.kind == "value" and isinstance(value, dict):
            value = value[first.name]
        output[first.name] = value
    return Answer(output=output)


def _read_target(target: tuple[Output, ...], outputs: Outputs) -> list[Answer]:
    first, last = target[0], target[-1]
    if first.kind == "value":
        return [
            Answer(error=value) if isinstance(value, InferenceError) else _of_value(value, first)
            for value in _finite_rows(first, outputs)
        ]
    if first.kind == "label":
        indexes = np.asarray(outputs[first.name]).tolist()
    else:
        indexes = np.argmax(outputs[first.name], axis=1).tolist()
    if last.kind != "probabilities":
        return [Answer(float(i), None, {"label": first.classes[i]}) for i in indexes]
    names = [str(label) for label in first.classes]
    return [
        Answer(error=row) if isinstance(row, InferenceError) else _of_class(i, row, first, names)
        for i, row in zip(indexes, _finite_rows(last, outputs), strict=True)
    ]


def _of_class(
    index: int, probabilities: Sequence[float], output: Output, names: Sequence[str]
) -> Answer:
    by_class = dict(zip(names, probabilities, strict=True))
    # Probabilities in single precision may sum to slightly more than one.
    confidence = min(probabilities[index], 1.0)
    label = output.classes[index]
    return Answer(float(index), confidence, {"label": label, "probabilities": by_class})


def _of_value(value: object, output: Output) -> Answer:
    if isinstance(value, int | float):
        # A float cannot hold every large integer; then `output` holds it exactly.
        is_exact = float(value) == value
        return Answer(float(value), output=None if is_exact else {output.name: value})
    return Answer(output={output.name: value})


def _finite_rows(output: Output, outputs: Outputs) -> list[Any]:
    """An output's rows as Python values; an InferenceError in place of NaN or infinity."""
    array = np.asarray(outputs[output.name])
    if array.ndim > 1 and output.is_scalar:
        array = array.reshape(len(array))
    rows: list[Any] = array.tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        unusable = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        for place in np.flatnonzero(unusable):
            kind = "NaN" if np.isnan(array[place]).any() else "infinity"
            rows[place] = InferenceError(f"The model answered {kind} for {output.name}")
    return rows
