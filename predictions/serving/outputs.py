"""What a recorded answer holds of each output of its signature. No ORM."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from registry.signatures.signature import DTYPES, Output


class Scored(Protocol):
    """What is read of a committed prediction."""

    prediction: float | None
    output: Any


def targets_of(outputs: Sequence[Output]) -> list[list[Output]]:
    """Each label with its probabilities, and every other output alone."""
    targets: list[list[Output]] = []
    for output in outputs:
        if output.kind == "probabilities" and targets and targets[-1][-1].kind == "label":
            targets[-1].append(output)
        else:
            targets.append([output])
    return targets


def cells_of_target(target: Sequence[Output], row: Scored, n_targets: int) -> list[Any]:
    """What the record holds of each output of a target, of `n_targets` in the signature."""
    first = target[0]
    told = row.output if n_targets == 1 else row.output[first.name]
    if first.kind == "value":
        value = told[first.name] if isinstance(told, Mapping) else told
        return [_exact(row.prediction if value is None else value, first)]
    cells = {"label": told["label"], "probabilities": list(told.get("probabilities", {}).values())}
    return [cells[output.kind] for output in target]


def _exact(value: Any, output: Output) -> Any:
    """A number as the model answered it, which the record keeps as a float."""
    kind = DTYPES[output.datatype].kind
    if isinstance(value, float) and kind in "iub":
        return bool(value) if kind == "b" else int(value)
    return value
