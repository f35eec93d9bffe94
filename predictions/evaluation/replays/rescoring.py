"""Recorded inputs in, another version's answers out. No ORM."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from predictions.serving import inference
from predictions.serving.inference import Answer, Inputs
from registry.loader import LoadedModel
from registry.runtimes.base import InferenceError
from registry.signatures.arrangement import InvalidInput, arrange
from registry.signatures.signature import Signature

# Where a model fails on all rows of one call, they are scored again one by one: not too many.
CALL_ROWS = 500

Outcome: TypeAlias = Answer | InvalidInput | InferenceError


def rescore(model: LoadedModel, inputs: Sequence[Any]) -> list[Outcome]:
    """What the model says of each recorded input: an answer, why the input does not fit its
    signature, or its failure.
    """
    outcomes: dict[int, Outcome] = {}
    groups: dict[Any, tuple[list[int], list[Inputs]]] = {}
    for places, piece in _arranged(model.signature, inputs, outcomes):
        indexes, pieces = groups.setdefault(inference.shape_of(piece), ([], []))
        indexes += places
        pieces.append(piece)
    for indexes, pieces in groups.values():
        joined = inference.join(pieces)
        for start in range(0, len(indexes), CALL_ROWS):
            part = slice(start, start + CALL_ROWS)
            answers = inference.score(model, {name: rows[part] for name, rows in joined.items()})
            outcomes.update(zip(indexes[part], answers, strict=True))
    return [outcomes[index] for index in range(len(inputs))]


def has_varying_shape(signature: Signature) -> bool:
    return any(-1 in tensor.row_shape for tensor in signature.inputs)


def _arranged(
    signature: Signature, inputs: Sequence[Any], refused: dict[int, Outcome]
) -> Iterator[tuple[range, Inputs]]:
    """Runs of rows that fit, with their places; the others go into `refused`.

    A row is arranged at most twice: `arrange` stops at the first that does not fit.
    """
    # Rows of varying shape need not be alike, which `arrange` demands of those it gets together.
    step = 1 if has_varying_shape(signature) else max(1, len(inputs))
    start = 0
    while start < len(inputs):
        end = min(start + step, len(inputs))
        try:
            yield range(start, end), arrange(signature, inputs[start:end])
        except InvalidInput as error:
            end = start + error.row
            refused[end] = error
            if end > start:
                yield range(start, end), arrange(signature, inputs[start:end])
            end += 1
        start = end
