"""Whether contributions add up to the recorded answer. No Django here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictions.evaluation.explanations.errors import ExplanationRefused
from predictions.evaluation.explanations.recorded import Number
from predictions.evaluation.explanations.shapley import Floats, ShapleyValues
from registry.runtimes.contributions import Link, apply_link

# Relative to the size of what is added, if that is above 1.
TOLERANCE = 1e-6
# Of a library that computes in single precision, which has 24 bits and adds hundreds of trees.
SINGLE_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Part:
    """The explanation of one number of an answer. `total` is its margin, the base and all
    contributions; `explained` is the answer that the margin stands for, and `recorded` the log's.
    """

    output: str
    label: Any
    base: float
    contributions: Sequence[float]
    standard_errors: Sequence[float] | None
    total: float
    explained: float
    recorded: float

    @property
    def difference(self) -> float:
        return self.explained - self.recorded


def verified_parts(found: ShapleyValues, link: Link, numbers: Sequence[Number]) -> list[Part]:
    """The parts of an answer; raises ExplanationRefused unless they add up to it.

    There is one margin for each number, or a single one for two classes: that of the second.
    """
    totals = found.base + found.contributions.sum(axis=1)
    if len(totals) == 1 and len(numbers) == 2:
        numbers = numbers[1:]
    if len(totals) != len(numbers):
        raise ExplanationRefused("The explanation is of another number of outputs.")
    explained = apply_link(link, totals[np.newaxis])[0]
    if numbers[0].is_label_only:
        explained = _as_labels(totals)
    sizes = np.abs(found.base) + np.abs(found.contributions).sum(axis=1)
    errors = found.standard_errors
    parts = [
        Part(
            number.output,
            number.label,
            float(found.base[place]),
            found.contributions[place].tolist(),
            None if errors is None else errors[place].tolist(),
            float(totals[place]),
            float(explained[place]),
            number.value,
        )
        for place, number in enumerate(numbers)
    ]
    for part, number, size in zip(parts, numbers, sizes, strict=True):
        tolerance = SINGLE_TOLERANCE if number.is_single_precision else TOLERANCE
        # The exponential multiplies an error of its margin by itself.
        factor = max(1.0, abs(number.value)) if link == "log" else 1.0
        if not abs(part.difference) <= tolerance * max(1.0, size) * factor:
            raise ExplanationRefused(_message(part))
    return parts


def _as_labels(totals: Floats) -> Floats:
    """1 for the class that the margins decide for, 0 for others; of two classes, the second's."""
    if len(totals) == 1:
        return np.array([float(totals[0] > 0)])
    return np.asarray(np.arange(len(totals)) == totals.argmax(), np.float64)


def _message(part: Part) -> str:
    name = part.output if part.label is None else f"{part.output} {part.label!r}"
    return (
        f"The contributions add up to {part.explained:.9g} for {name}, but the recorded answer is "
        f"{part.recorded:.9g}. Nothing is shown, since they do not explain it: the answer may not "
        "be of this file, or the library cannot divide the answers of such a model."
    )
