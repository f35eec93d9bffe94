"""The numbers of a recorded answer, and the same of a model's arrays. No Django here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from predictions.serving.answers import Answer, output_values, targets_of
from registry.signatures.signature import DTYPES, ClassLabel, Signature

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Number:
    """One number of an answer: a value, or the probability of a class. Of a classifier without
    probabilities it is 1 for the answered class and 0 for others.
    """

    output: str
    label: ClassLabel | None
    value: float
    is_single_precision: bool
    is_label_only: bool = False


def recorded_numbers(signature: Signature, answer: Answer) -> list[Number]:
    """The numbers of an answer, target by target; none if some output is not a single number."""
    targets = targets_of(signature.outputs)
    numbers: list[Number] = []
    for target in targets:
        first, last = target[0], target[-1]
        values = output_values(answer, target, len(targets))
        is_single = DTYPES[last.datatype].itemsize < 8 if last.datatype in DTYPES else False
        if first.kind == "value":
            if not first.is_scalar or not isinstance(values[0], int | float):
                return []
            numbers.append(Number(first.name, None, float(values[0]), is_single))
        elif last.kind == "probabilities":
            chances: Any = values[-1]
            pairs = zip(first.classes, chances, strict=True)
            numbers += [Number(first.name, label, chance, is_single) for label, chance in pairs]
        else:
            numbers += [
                Number(first.name, label, float(label == values[0]), False, True)
                for label in first.classes
            ]
    return numbers


def numbers_of(signature: Signature, outputs: Mapping[str, npt.NDArray[Any]]) -> Floats:
    """The numbers of n answers (n, k), in the order of `recorded_numbers`; classifiers must have
    probabilities.
    """
    columns = []
    for target in targets_of(signature.outputs):
        values = np.asarray(outputs[target[-1].name], np.float64)
        columns.append(values.reshape(len(values), -1))
    return np.concatenate(columns, axis=1)
