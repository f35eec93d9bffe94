"""What every runtime's outputs are checked for."""

import numpy as np
import pytest

from registry.runtimes.base import InferenceError, Outputs, class_outputs, require_valid_outputs
from registry.signatures.signature import Input, Signature

SIGNATURE = Signature((Input("features", "FP64", (-1, 2)),), class_outputs((0, 1), "FP64"))
LABELS, SCORES = np.array([0, 1]), np.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"label": LABELS}, "The model did not return 'probabilities'"),
        ({"label": LABELS, "probabilities": SCORES[:1]}, r"the shape \[1, 2\] for 2 rows"),
        ({"label": LABELS, "probabilities": SCORES[0]}, r"the shape \[2\] for 2 rows"),
        ({"label": LABELS.astype(object), "probabilities": SCORES}, "without whole numbers"),
        ({"label": LABELS + 0.5, "probabilities": SCORES}, "without whole numbers"),
        ({"label": LABELS + 1, "probabilities": SCORES}, "outside its classes"),
        ({"label": LABELS - 1, "probabilities": SCORES}, "outside its classes"),
    ],
)
def test_outputs_that_differ_from_the_signature_are_an_inference_error(
    outputs: Outputs, message: str
) -> None:
    with pytest.raises(InferenceError, match=message):
        require_valid_outputs(SIGNATURE, outputs, 2)


def test_outputs_of_the_signature_are_accepted() -> None:
    outputs = {"label": LABELS, "probabilities": SCORES, "an output of no interest": LABELS}

    require_valid_outputs(SIGNATURE, outputs, 2)
