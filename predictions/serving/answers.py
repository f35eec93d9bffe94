"""`Answer`: what a model said of one row. No Django here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from registry.signatures.signature import DTYPES, Output


class _AnswerColumns(Protocol):
    """The columns of an answer, as every table of answers has them."""

    prediction: float | None
    confidence: float | None
    output: object


@dataclass(slots=True)
class Answer:
    """What a model said of one row, or in `error` why it did not.

    `prediction` is a regressor's value or the index of a classifier's class, None where no single
    number is the answer. `confidence` is the answered class's probability, None where the model
    gives none. `output` is everything beside the one number, as JSON: the label and the
    probabilities by class, or all outputs by name. `error` is an InvalidInput where the row does
    not fit the signature, else the runtime's InferenceError. `latency_ms` is the time of the
    runtime call that scored the row, shared by all rows of that call.
    """

    prediction: float | None = None
    confidence: float | None = None
    output: object = None
    error: Exception | None = None
    latency_ms: float | None = None

    @classmethod
    def recorded(cls, row: _AnswerColumns) -> Self:
        """The answer in a row that holds one: a prediction, or a replay's result."""
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


def output_values(answer: Answer, target: Sequence[Output], n_targets: int) -> list[object]:
    """The value that an answer holds for each output of one of the signature's `n_targets` targets.

    Integers and booleans come back as such, although `prediction` is a float.
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
    return [values[each.kind] for each in target]


def _in_datatype(value: object, output: Output) -> object:
    kind = DTYPES[output.datatype].kind
    if isinstance(value, float) and kind in "iub":
        return bool(value) if kind == "b" else int(value)
    return value
