"""When two versions' answers to one input agree."""

import math
from typing import Any

import pytest

from predictions.evaluation.agreement import Pair, compare
from predictions.serving.answers import Answer


def label(name: Any, **probabilities: float) -> Answer:
    output = {"label": name} | ({"probabilities": probabilities} if probabilities else {})
    return Answer(0.0, None, output)


def several(**outputs: object) -> Answer:
    return Answer(output=outputs)


@pytest.mark.parametrize(
    ("recorded", "new", "expected"),
    [
        (Answer(1.0), Answer(1.0), Pair(True, 0.0, 0.0)),
        (Answer(1.0), Answer(1.0 + 1e-10), Pair(True, 1e-10, 1e-10)),
        (Answer(1e6), Answer(1e6 + 9e-4), Pair(True, 9e-4, 9e-4)),
        (Answer(1.0), Answer(0.5), Pair(False, 0.5, -0.5)),
        (Answer(-1.7e308), Answer(1.7e308), Pair(False, 1e300, 1e300)),
        (label("a"), label("a"), Pair(True, 0.0)),
        (label("a"), label("b"), Pair(False, 1.0)),
        (label(1), label(1.0), Pair(True, 0.0)),
        (label(1), label(True), Pair(False, 1.0)),
        (label(1), label("1"), Pair(False, 1.0)),
        (label("a", a=0.75, b=0.25), label("b", b=0.75, a=0.25), Pair(False, 0.5, -0.5)),
        (label("a", a=0.75), label("b", b=1.0), Pair(False, 1.0)),
        (several(y=[1.0, 2]), several(z=[1.0, 2]), Pair(True, 0.0)),
        (
            Answer(None, None, {"y": 1, "z": 2}),
            Answer(None, None, {"y": 1, "z": 3}),
            Pair(False, 1.0),
        ),
        (
            Answer(None, None, {"y": 1, "z": 2}),
            Answer(None, None, {"y": 1, "x": 2}),
            Pair(False, 1.0),
        ),
        (Answer(1.0), label("a"), None),
        (label("a"), Answer(1.0), None),
        (Answer(None), Answer(1.0), None),
        (Answer(1.0), several(y=[1.0, 2.0]), None),
        (Answer(math.nan), Answer(1.0), None),
    ],
)
def test_answers_are_compared(recorded: Answer, new: Answer, expected: Pair | None) -> None:
    found = compare(recorded, new)

    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.agrees == expected.agrees
        assert found.distance == pytest.approx(expected.distance, rel=1e-6)
        assert (found.difference is None) == (expected.difference is None)
        assert (found.difference or 0.0) == pytest.approx(expected.difference or 0.0, rel=1e-6)


def test_a_tolerance_is_absolute() -> None:
    assert compare(Answer(10.0), Answer(10.5), tolerance=0.5) == Pair(True, 0.5, 0.5)
    assert compare(Answer(10.0), Answer(10.75), tolerance=0.5) == Pair(False, 0.75, 0.75)
    assert compare(Answer(1e6), Answer(1e6 + 1e-4), tolerance=0.0) is not None
    assert not compare(Answer(1e6), Answer(1e6 + 1e-4), tolerance=0.0).agrees  # type: ignore[union-attr]
