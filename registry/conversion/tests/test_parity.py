import numpy as np

from registry.conversion.parity import compare
from registry.signatures.signature import Output, Signature


def test_differences_are_counted_by_row() -> None:
    signature = Signature(
        (),
        (
            Output("label", "INT64", (-1,), "label", (0, 1)),
            Output("probabilities", "FP64", (-1, 2), "probabilities", (0, 1)),
            Output("value", "FP64", (-1,)),
        ),
    )
    expected = {
        "label": np.array([0, 1, 1]),
        "probabilities": np.array([[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]),
        "value": np.array([1000.0, 1.0, 0.0]),
    }
    actual = {
        "label": np.array([0, 0, 1]),
        "probabilities": np.array([[0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]),
        "value": np.array([1000.001, 1.0, np.nan]),
    }

    parity = compare(signature, expected, actual)

    assert (parity.rows, parity.labels_differ, parity.rows_differ) == (3, 1, 2)
    assert not parity.is_proved
    assert compare(signature, expected, expected).is_proved
