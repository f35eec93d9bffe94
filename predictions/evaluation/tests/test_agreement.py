"""When two versions' answers to one input agree."""

import math
from typing import Any

import pytest

from predictions.evaluation.agreement import Answered, Pair, compare


def label(name: Any, **probabilities: float) -> Answered:
    output = {"label": name} | ({"probabilities": probabilities} if probabilities else {})
    return Answered(0.0, output)


@pytest.mark.parametrize(
    ("recorded", "new", "expected"),
    [
        (Answered(1.0), Answered(1.0), Pair(True, 0.0, 0.0)),
        (Answered(1.0), Answered(1.0 + 1e-10), Pair(True, 1e-10, 1e-10)),
        (Answered(1e6), Answered(1e6 + 9e-4), Pair(True, 9e-4, 9e-4)),
        (Answered(1.0), Answered(0.5), Pair(False, 0.5, -0.5)),
        (Answered(-1.7e308), Answered(1.7e308), Pair(False, 1e300, 1e300)),
        (label("a"), label("a"), Pair(True, 0.0)),
        (label("a"), label("b"), Pair(False, 1.0)),
        (label(1), label(1.0), Pair(True, 0.0)),
        (label(1), label(True), Pair(False, 1.0)),
        (label(1), label("1"), Pair(False, 1.0)),
        (label("a", a=0.75, b=0.25), label("b", b=0.75, a=0.25), Pair(False, 0.5, -0.5)),
        (label("a", a=0.75), label("b", b=1.0), Pair(False, 1.0)),
        (Answered(None, {"y": [1.0, 2]}), Answered(None, {"z": [1.0, 2]}), Pair(True, 0.0)),
        (Answered(None, {"y": 1, "z": 2}), Answered(None, {"y": 1, "z": 3}), Pair(False, 1.0)),
        (Answered(None, {"y": 1, "z": 2}), Answered(None, {"y": 1, "x": 2}), Pair(False, 1.0)),
        (Answered(1.0), label("a"), None),
        (label("a"), Answered(1.0), None),
        (Answered(None), Answered(1.0), None),
        (Answered(1.0), Answered(None, {"y": [1.0, 2.0]}), None),
        (Answered(math.nan), Answered(1.0), None),
    ],
)
def test_answers_are_compared(recorded: Answered, new: Answered, expected: Pair | None) -> None:
    found = compare(recorded, new)

    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.agrees == expected.agrees
        assert found.distance == pytest.approx(expected.distance, rel=1e-6)
        assert (found.difference is None) == (expected.difference is None)
        assert (found.difference or 0.0) == pytest.approx(expected.difference or 0.0, rel=1e-6)


def test_a_tolerance_is_absolute() -> None:
    assert compare(Answered(10.0), Answered(10.5), tolerance=0.5) == Pair(True, 0.5, 0.5)
    assert compare(Answered(10.0), Answered(10.75), tolerance=0.5) == Pair(False, 0.75, 0.75)
    assert compare(Answered(1e6), Answered(1e6 + 1e-4), tolerance=0.0) is not None
    assert not compare(Answered(1e6), Answered(1e6 + 1e-4), tolerance=0.0).agrees  # type: ignore[union-attr]
