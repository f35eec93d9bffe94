"""Whether two versions' answers to one input agree, and how far they are apart. No ORM."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from predictions.serving.answers import Answer

# Of values that should be equal: what another order of the same sums may change.
ROUNDING = 1e-9
# Sums of so many as a table holds stay finite. No model answers on such a scale.
MAX_DIFFERENCE = 1e300


@dataclass(frozen=True, slots=True)
class Pair:
    """How two answers compare.

    `difference` is the new value less the recorded one; between labels, of the recorded label's
    probability; None where there is no such number. `distance` is its size; where there is none, 1
    for different answers and 0 for equal ones.
    """

    agrees: bool
    distance: float
    difference: float | None = None


def compare(recorded: Answer, new: Answer, tolerance: float | None = None) -> Pair | None:
    """How two answers compare, None where they can not be: a number beside a label, or no number.

    Labels agree where they are equal, whatever the order of the classes: never by class index.
    Values agree where they differ by `tolerance` at most; where it is None, by ROUNDING of the
    larger one, or of 1. Several outputs agree where each of them does.
    """
    if _has_label(recorded) and _has_label(new):
        return _labels(recorded.output, new.output)
    if _has_value(recorded) and _has_value(new):
        return _values(recorded.prediction or 0.0, new.prediction or 0.0, tolerance)
    if _has_several(recorded) and _has_several(new):
        agrees = _equal(_unnamed(recorded.output), _unnamed(new.output), tolerance)
        return Pair(agrees, 0.0 if agrees else 1.0)
    return None


def agree(recorded: float, new: float, tolerance: float | None = None) -> bool:
    """Whether two values agree."""
    allowed = ROUNDING * max(1.0, abs(recorded), abs(new)) if tolerance is None else tolerance
    return abs(new - recorded) <= allowed


def _labels(recorded: Mapping[str, Any], new: Mapping[str, Any]) -> Pair:
    agrees = _same_label(recorded["label"], new["label"])
    key = str(recorded["label"])
    before, after = _probability(recorded, key), _probability(new, key)
    if before is None or after is None:
        return Pair(agrees, 0.0 if agrees else 1.0)
    difference = _difference(before, after)
    return Pair(agrees, abs(difference), difference)


def _same_label(recorded: Any, new: Any) -> bool:
    # In Python True == 1; as labels they are two.
    return isinstance(recorded, bool) == isinstance(new, bool) and bool(recorded == new)


def _probability(output: Mapping[str, Any], key: str) -> float | None:
    # Imported rows may hold anything.
    probabilities = output.get("probabilities")
    value = probabilities.get(key) if isinstance(probabilities, dict) else None
    return float(value) if _is_number(value) else None


def _values(recorded: float, new: float, tolerance: float | None) -> Pair | None:
    if not (math.isfinite(recorded) and math.isfinite(new)):
        return None
    difference = _difference(recorded, new)
    return Pair(agree(recorded, new, tolerance), abs(difference), difference)


def _difference(recorded: float, new: float) -> float:
    return max(-MAX_DIFFERENCE, min(MAX_DIFFERENCE, new - recorded))


def _has_label(answer: Answer) -> bool:
    return isinstance(answer.output, dict) and "label" in answer.output


def _has_value(answer: Answer) -> bool:
    """Whether it is a single number; `output` may hold a large integer exactly."""
    return answer.prediction is not None and not _has_label(answer)


def _has_several(answer: Answer) -> bool:
    return answer.prediction is None and answer.output is not None and not _has_label(answer)


def _unnamed(output: Any) -> Any:
    """What an output of one entry holds: versions may name it differently."""
    if isinstance(output, dict) and len(output) == 1:
        return next(iter(output.values()))
    return output


def _equal(recorded: Any, new: Any, tolerance: float | None) -> bool:
    if isinstance(recorded, dict) and isinstance(new, dict):
        if "label" in recorded and "label" in new:
            return _same_label(recorded["label"], new["label"])
        return recorded.keys() == new.keys() and all(
            _equal(recorded[name], new[name], tolerance) for name in recorded
        )
    if isinstance(recorded, list) and isinstance(new, list):
        return len(recorded) == len(new) and all(
            _equal(a, b, tolerance) for a, b in zip(recorded, new, strict=True)
        )
    if _is_number(recorded) and _is_number(new):
        return agree(float(recorded), float(new), tolerance)
    return bool(recorded == new)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
