"""When two versions' answers to one input agree."""

import math
from typing import Any

import pytest

from predictions.evaluation.agreement import Comparison, compare
from predictions.serving.answers import Answer


def label(name: Any, **probabilities: float) -> Answer:
    output = {"label": name} | ({"probabilities": probabilities} if probabilities else {})
    return Answer(0.0, None, output)


def several_outputs(**outputs: object) -> Answer:
    return Answer(output=outputs)


@pytest.mark.parametrize(
    ("recorded", "new", "expected"),
    [
        (Answer(1.0), Answer(1.0), Comparison(True, 0.0, 0.0)),
        (Answer(1.0), Answer(1.0 + 1e-10), Comparison(True, 1e-10, 1e-10)),
        (Answer(1e6), Answer(1e6 + 9e-4), Comparison(True, 9e-4, 9e-4)),
        (Answer(1.0), Answer(0.5), Comparison(False, 0.5, -0.5)),
        (Answer(-1.7e308), Answer(1.7e308), Comparison(False, 1e300, 1e300)),
        (label("a"), label("a"), Comparison(True, 0.0)),
        (label("a"), label("b"), Comparison(False, 1.0)),
        (label(1), label(1.0), Comparison(True, 0.0)),
        (label(1), label(True), Comparison(False, 1.0)),
        (label(1), label("1"), Comparison(False, 1.0)),
        (label("a", a=0.75, b=0.25), label("b", b=0.75, a=0.25), Comparison(False, 0.5, -0.5)),
        (label("a", a=0.75), label("b", b=1.0), Comparison(False, 1.0)),
        (several_outputs(y=[1.0, 2]), several_outputs(z=[1.0, 2]), Comparison(True, 0.0)),
        (
            several_outputs(y=1, z=2),
            several_outputs(y=1, z=3),
            Comparison(False, 1.0),
        ),
        (
            several_outputs(y=1, z=2),
            several_outputs(y=1, x=2),
            Comparison(False, 1.0),
        ),
        (Answer(1.0), label("a"), None),
        (label("a"), Answer(1.0), None),
        (Answer(None), Answer(1.0), None),
        (Answer(1.0), several_outputs(y=[1.0, 2.0]), None),
        (Answer(math.nan), Answer(1.0), None),
    ],
)
def test_answers_are_compared(recorded: Answer, new: Answer, expected: Comparison | None) -> None:
    comparison = compare(recorded, new)

    if comparison is None or expected is None:
        assert comparison is expected
    else:
        assert comparison.agrees == expected.agrees
        assert comparison.distance == pytest.approx(expected.distance, rel=1e-6)
        assert (comparison.difference is None) == (expected.difference is None)
        assert (comparison.difference or 0.0) == pytest.approx(expected.difference or 0.0, rel=1e-6)


def test_a_tolerance_is_absolute() -> None:
    assert compare(Answer(10.0), Answer(10.5), tolerance=0.5) == Comparison(True, 0.5, 0.5)
    assert compare(Answer(10.0), Answer(10.75), tolerance=0.5) == Comparison(False, 0.75, 0.75)
    comparison = compare(Answer(1e6), Answer(1e6 + 1e-4), tolerance=0.0)
    assert comparison is not None
    assert not comparison.agrees
