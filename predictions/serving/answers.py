"""`Answer`: a model's answer for one row. No Django here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from registry.signatures.signature import DTYPES, Output

# In the place of a library's message, which may quote values.
MASKED_ERROR = "The model failed. Its message is not kept, since inputs of this model are masked."


class _AnswerColumns(Protocol):
    """The columns of an answer, as every table of answers has them."""

    prediction: float | None
    confidence: float | None
    output: object


@dataclass(slots=True)
class Answer:
    """A model's answer for one row, or in `error` the reason why there is none.

    `prediction` is a regressor's value or the index of a classifier's class, None if the answer is
    not a single number. `confidence` is the answered class's probability, None if the model gives
    no probabilities. `output` is the rest of the answer, as JSON: the label and the probabilities
    by class, or all outputs by name. `error` is an InvalidInput if the row does not fit the
    signature, else the runtime's InferenceError. `latency_ms` is the duration of the runtime call
    that scored the row, the same for all rows of that call. `flags` are the constraints that the
    row violates without being rejected, such as `age:max`; None if there are none.
    """

    prediction: float | None = None
    confidence: float | None = None
    output: object = None
    error: Exception | None = None
    latency_ms: float | None = None
    flags: list[str] | None = None

    @classmethod
    def recorded(cls, row: _AnswerColumns) -> Self:
        """The answer that a row of a table holds: a prediction, or a replay's result."""
        return cls(row.prediction, row.confidence, row.output)


def targets_of(outputs: Sequence[Output]) -> list[tuple[Output, ...]]:
    """Group outputs by what they predict: a label with its probabilities, others alone."""
    targets: list[tuple[Output, ...]] = []
    for output in outputs:
        if output.kind == "probabilities" and targets and targets[-1][-1].kind == "label":
            targets[-1] = (*targets[-1], output)
        else:
            targets.append((output,))
    return targets


def readable_reason(error: Exception) -> str:
    """The error's message as text that can be stored; the class's name if it is empty.

    A library may quote any byte of its input, but PostgreSQL stores neither NUL nor lone
    surrogates.
    """
    reason = str(error).replace("\0", "") or type(error).__name__
    return reason.encode(errors="replace").decode()


def output_values(answer: Answer, target: Sequence[Output], n_targets: int) -> list[object]:
    """The value that an answer holds for each output of one of the signature's `n_targets` targets.

    Integers and booleans keep their type, although `prediction` is a float.
    """
    first = target[0]
    output = answer.output
    if n_targets > 1:
        assert isinstance(output, Mapping)  # several targets are recorded by name
        output = output[first.name]
    if first.kind == "value":
        value = output[first.name] if isinstance(output, Mapping) else output
        return [_in_datatype(answer.prediction if value is None else value, first)]
    assert isinstance(output, Mapping)  # a class is recorded with its label
    values = {
        "label": output["label"],
        "probabilities": list(output.get("probabilities", {}).values()),
    }
    return [values[member.kind] for member in target]


def _in_datatype(value: object, output: Output) -> object:
    kind = DTYPES[output.datatype].kind
    if isinstance(value, float) and kind in "iub":
        return bool(value) if kind == "b" else int(value)
    return value
