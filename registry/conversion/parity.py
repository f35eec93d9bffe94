"""How closely the outputs of two forms of a model agree. No Django here."""

from dataclasses import dataclass

import numpy as np

from registry.runtimes.base import Outputs
from registry.signatures.signature import Signature

# For values and probabilities: absolute up to 1, relative above.
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Parity:
    """How much two forms of a model differ on the same rows."""

    rows: int
    labels_differ: int
    """Rows with a different label."""
    rows_differ: int
    """Rows with a value or probability that differs by more than TOLERANCE."""
    max_difference: float

    @property
    def is_proved(self) -> bool:
        return self.labels_differ == 0 and self.max_difference <= TOLERANCE

    @property
    def distance(self) -> tuple[int, float]:
        """A sort key: the smaller, the closer the two forms."""
        return self.labels_differ, self.max_difference

    def __str__(self) -> str:
        return (
            f"of {self.rows:,} rows, {self.labels_differ:,} have a different label and "
            f"{self.rows_differ:,} a value that differs by more than {TOLERANCE:g}; the largest "
            f"difference is {self.max_difference:.3g}"
        )


def compare(signature: Signature, expected: Outputs, actual: Outputs) -> Parity:
    """Compare two forms' outputs; `signature` says which of them are labels."""
    n_rows = len(next(iter(expected.values())))
    has_other_label = np.zeros(n_rows, bool)
    row_difference = np.zeros(n_rows)
    for output in signature.outputs:
        left, right = expected[output.name], actual[output.name]
        if output.kind == "label":
            has_other_label |= left != right
            continue
        left = left.astype(np.float64).reshape(n_rows, -1)
        difference = np.abs(left - right.astype(np.float64).reshape(n_rows, -1))
        difference /= np.maximum(1, np.abs(left))
        # The expected outputs are finite, so NaN and infinity count as the largest difference.
        difference = np.nan_to_num(difference, nan=np.inf)
        row_difference = np.fmax(row_difference, difference.max(axis=1))
    return Parity(
        rows=n_rows,
        labels_differ=int(has_other_label.sum()),
        rows_differ=int((row_difference > TOLERANCE).sum()),
        # JSON cannot represent infinity.
        max_difference=float(min(row_difference.max(), np.finfo(np.float64).max)),
    )
