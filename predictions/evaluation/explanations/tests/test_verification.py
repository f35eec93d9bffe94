"""What is shown adds up to the recorded answer, or nothing is shown."""

import numpy as np
import pytest

from predictions.evaluation.explanations.errors import ExplanationRefused
from predictions.evaluation.explanations.recorded import Number, recorded_numbers
from predictions.evaluation.explanations.shapley import ShapleyValues
from predictions.evaluation.explanations.verification import verified_parts
from predictions.serving.answers import Answer
from registry.signatures.signature import Signature


def values(*margins: float) -> ShapleyValues:
    """Of two features each, with a base of 0.5."""
    parts = np.array([[margin - 1.0, 0.5] for margin in margins])
    return ShapleyValues(np.full(len(margins), 0.5), parts)


def numbers(*recorded: float, label_only: bool = False, single: bool = False) -> list[Number]:
    return [Number("y", i, value, single, label_only) for i, value in enumerate(recorded)]


def test_the_margin_of_two_classes_belongs_to_the_second() -> None:
    [part] = verified_parts(values(0.0), "logit", numbers(0.5, 0.5))

    assert (part.label, part.explained, part.total) == (1, 0.5, 0.0)


@pytest.mark.parametrize(
    ("margins", "recorded"), [((0.2,), (0.0, 1.0)), ((-0.2,), (1.0, 0.0)), ((1, 3, 2), (0, 1, 0))]
)
def test_the_margins_of_a_classifier_without_probabilities_decide_its_label(
    margins: tuple[float, ...], recorded: tuple[float, ...]
) -> None:
    parts = verified_parts(values(*margins), "identity", numbers(*recorded, label_only=True))

    assert all(part.difference == 0 for part in parts)


def test_another_label_is_refused() -> None:
    with pytest.raises(ExplanationRefused, match="but the recorded answer is 0"):
        verified_parts(values(0.2), "identity", numbers(1.0, 0.0, label_only=True))


@pytest.mark.parametrize(
    ("error", "single", "is_shown"),
    [(5e-7, False, True), (5e-6, False, False), (5e-6, True, True), (5e-5, True, False)],
)
def test_the_limit_is_that_of_the_models_precision(
    error: float, single: bool, is_shown: bool
) -> None:
    recorded = numbers(1.0 + error, single=single)
    if is_shown:
        assert verified_parts(values(1.0), "identity", recorded)
    else:
        with pytest.raises(ExplanationRefused):
            verified_parts(values(1.0), "identity", recorded)


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ExplanationRefused):
        verified_parts(values(np.nan), "identity", numbers(1.0))


def test_an_answer_of_lists_has_no_numbers() -> None:
    boxes = {"name": "boxes", "datatype": "FP32", "shape": [-1, 4], "kind": "value"}
    signature = Signature.from_json({"inputs": [{"name": "x"}], "outputs": [boxes]})

    assert recorded_numbers(signature, Answer(output={"boxes": [1, 2, 3, 4]})) == []
