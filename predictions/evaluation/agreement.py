"""When two versions' answers to one input agree, and how far apart they are.

This is the only definition. `agreement_sql` applies it to rows in the database, with the constants
and functions of this module.

Labels agree if they are equal, whatever the order of the classes: class indices are never compared.
Values agree if they differ by at most the tolerance. The default tolerance is ROUNDING, relative to
the larger of the two values and 1. Several outputs agree if each of them does.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeGuard

# Adding the same numbers in another order may change a result by this much.
ROUNDING = 1e-9
# The sum of as many differences as a table holds stays finite. No model answers on such a scale.
MAX_DIFFERENCE = 1e300


class ComparableAnswer(Protocol):
    """What `compare` reads from an answer: two of the columns of a prediction."""

    @property
    def prediction(self) -> float | None: ...

    @property
    def output(self) -> object: ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two answers compare.

    `difference` is the new value less the recorded one; for labels, the difference of the
    probabilities of the recorded label. It is None if there is no such number. `distance` is its
    absolute value; without a difference, 0 for answers that agree and 1 for those that do not.
    """

    agrees: bool
    distance: float
    difference: float | None = None


def compare(
    recorded: ComparableAnswer, new: ComparableAnswer, tolerance: float | None = None
) -> Comparison | None:
    """How two answers compare; None if they cannot be compared.

    A label cannot be compared to a number, and several outputs to neither. `tolerance` is absolute;
    None means the default of the module's rule.
    """
    recorded_output, new_output = recorded.output, new.output
    if _has_label(recorded_output) and _has_label(new_output):
        return _compare_labels(recorded_output, new_output)
    if _is_value(recorded) and _is_value(new):
        return _compare_values(recorded.prediction or 0.0, new.prediction or 0.0, tolerance)
    if _has_several_outputs(recorded) and _has_several_outputs(new):
        agrees = _outputs_agree(_unwrap(recorded_output), _unwrap(new_output), tolerance)
        return Comparison(agrees, 0.0 if agrees else 1.0)
    return None


def values_agree(recorded: float, new: float, tolerance: float | None = None) -> bool:
    if tolerance is None:
        tolerance = ROUNDING * max(1.0, abs(recorded), abs(new))
    return abs(new - recorded) <= tolerance


def labels_agree(recorded: object, new: object) -> bool:
    # In Python True == 1, but they are different labels.
    return isinstance(recorded, bool) == isinstance(new, bool) and bool(recorded == new)


def _has_label(output: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(output, dict) and "label" in output


def _is_value(answer: ComparableAnswer) -> bool:
    """Whether it is one number. The output may repeat a large integer exactly."""
    return answer.prediction is not None and not _has_label(answer.output)


def _has_several_outputs(answer: ComparableAnswer) -> bool:
    return answer.prediction is None and answer.output is not None and not _has_label(answer.output)


def _compare_labels(recorded: Mapping[str, object], new: Mapping[str, object]) -> Comparison:
    agrees = labels_agree(recorded["label"], new["label"])
    key = str(recorded["label"])
    before, after = _probability(recorded, key), _probability(new, key)
    if before is None or after is None:
        return Comparison(agrees, 0.0 if agrees else 1.0)
    difference = _difference(before, after)
    return Comparison(agrees, abs(difference), difference)


def _probability(output: Mapping[str, object], key: str) -> float | None:
    # Imported predictions may hold any JSON here.
    probabilities = output.get("probabilities")
    value = probabilities.get(key) if isinstance(probabilities, dict) else None
    return float(value) if _is_number(value) else None


def _compare_values(recorded: float, new: float, tolerance: float | None) -> Comparison | None:
    if not (math.isfinite(recorded) and math.isfinite(new)):
        return None
    difference = _difference(recorded, new)
    return Comparison(values_agree(recorded, new, tolerance), abs(difference), difference)


def _difference(recorded: float, new: float) -> float:
    return max(-MAX_DIFFERENCE, min(MAX_DIFFERENCE, new - recorded))


def _unwrap(output: object) -> object:
    """The content of an output with one entry: versions may name it differently."""
    if isinstance(output, dict) and len(output) == 1:
        return next(iter(output.values()))
    return output


def _entry(outputs: Mapping[str, object], name: str) -> object:
    """One of several outputs. Earlier releases recorded a tensor below its name twice."""
    entry = outputs[name]
    return entry[name] if isinstance(entry, dict) and entry.keys() == {name} else entry


def _outputs_agree(recorded: object, new: object, tolerance: float | None) -> bool:
    if isinstance(recorded, dict) and isinstance(new, dict):
        if "label" in recorded and "label" in new:
            return labels_agree(recorded["label"], new["label"])
        return recorded.keys() == new.keys() and all(
            _outputs_agree(_entry(recorded, name), _entry(new, name), tolerance)
            for name in recorded
        )
    if isinstance(recorded, list) and isinstance(new, list):
        return len(recorded) == len(new) and all(
            _outputs_agree(a, b, tolerance) for a, b in zip(recorded, new, strict=True)
        )
    if _is_number(recorded) and _is_number(new):
        return values_agree(float(recorded), float(new), tolerance)
    return bool(recorded == new)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
