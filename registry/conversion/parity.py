"""How alike two forms of one model answer. No Django here."""

from dataclasses import dataclass

import numpy as np

from registry.runtimes.base import Outputs
from registry.signatures.signature import Signature

# Of values and probabilities; of values above 1, relative.
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two forms of one model differ over the same rows."""

    rows: int
    labels_differ: int
    rows_differ: int
    """Rows with a value or probability that differs by more than TOLERANCE."""
    max_difference: float

    @property
    def is_proved(self) -> bool:
        return self.labels_differ == 0 and self.max_difference <= TOLERANCE

    @property
    def distance(self) -> tuple[int, float]:
        """By which two of these are ordered, the closer one first."""
        return self.labels_differ, self.max_difference

    def __str__(self) -> str:
        return (
            f"of {self.rows:,} rows, {self.labels_differ:,} have another label and "
            f"{self.rows_differ:,} a value that differs by more than {TOLERANCE:g}; the largest "
            f"difference is {self.max_difference:.3g}"
        )


def compare(signature: Signature, theirs: Outputs, ours: Outputs) -> Parity:
    """The figures between two forms' answers; `signature` tells which outputs are labels."""
    n_rows = len(next(iter(theirs.values())))
    is_other_label = np.zeros(n_rows, bool)
    difference = np.zeros(n_rows)
    for output in signature.outputs:
        expected, found = theirs[output.name], ours[output.name]
        if output.kind == "label":
            is_other_label |= expected != found
            continue
        wide = expected.astype(np.float64).reshape(n_rows, -1)
        apart = np.abs(wide - found.astype(np.float64).reshape(n_rows, -1))
        apart /= np.maximum(1, np.abs(wide))
        # The source answers finite numbers; what is not one is as far off as can be.
        difference = np.fmax(difference, np.nan_to_num(apart, nan=np.inf).max(axis=1))
    return Parity(
        rows=n_rows,
        labels_differ=int(is_other_label.sum()),
        rows_differ=int((difference > TOLERANCE).sum()),
        # Infinity is no JSON.
        max_difference=float(min(difference.max(), np.finfo(np.float64).max)),
    )
