"""Whether a model's answer for a row depends on the rows beside it. No Django here.

Most models answer each row by itself. Some do not: a graph quantized dynamically takes its scale
from the whole batch, others subtract the batch's mean, and a graph may have no dimension for rows
at all. Joining the rows of several callers would give each a wrong answer.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import TypeAlias

import numpy as np

from registry.runtimes.base import InferenceError, Outputs

Arrays: TypeAlias = Mapping[str, np.ndarray]
Predict: TypeAlias = Callable[[Arrays], Outputs]

# How much of an answer's size may differ, since libraries sum in another order for more rows.
TOLERANCE = 1e-6
HALF_PRECISION_TOLERANCE = 2e-3


class Dependence(Enum):
    """How answers for rows scored together compare with those for the same rows alone."""

    NONE = auto()
    ON_CHANCE = auto()
    """A row alone gets another answer each time."""
    ON_OTHER_ROWS = auto()
    ENTIRELY_ON_OTHER_ROWS = auto()
    """Every row alone gets the same answer, as from a softmax over the rows."""


def find_dependence(predict: Predict, rows: Arrays) -> Dependence:
    """Score differing rows, one array (n, ...) for each input, alone, together and reordered.

    Raises InferenceError if the model fails on a row alone. Failing on rows together, and another
    number of rows than the input's, count as a dependence.
    """
    n_rows = len(next(iter(rows.values())))
    alone = [predict(take(rows, [i])) for i in range(n_rows)]
    # A server with a GPU adds in another order each time, which the tolerance covers.
    if not _agree(alone, [0], predict(take(rows, [0]))):
        return Dependence.ON_CHANCE
    together = [(order, _predict_or_none(predict, rows, order)) for order in _orders(n_rows)]
    if all(_agree(alone, order, outputs) for order, outputs in together):
        return Dependence.NONE
    answers_alone_differ = not all(_equal(alone[0], other) for other in alone[1:])
    if answers_alone_differ or any(outputs is None for _, outputs in together):
        return Dependence.ON_OTHER_ROWS
    return Dependence.ENTIRELY_ON_OTHER_ROWS


def has_differing_rows(rows: Arrays) -> bool:
    """Whether the rows are not all equal; equal rows show no dependence."""
    lists = [array.tolist() for array in rows.values()]
    return any(row != values[0] for values in lists for row in values[1:])


def take(rows: Arrays, indexes: Sequence[int]) -> dict[str, np.ndarray]:
    """These rows of every input."""
    return {name: array[list(indexes)] for name, array in rows.items()}


def _orders(n_rows: int) -> list[list[int]]:
    """All rows, all in reverse, and an odd number of them: kernels work in blocks of a power of
    two.
    """
    rows = list(range(n_rows))
    return [rows, rows[::-1], rows[: max(2, n_rows // 2) | 1]]


def _predict_or_none(predict: Predict, rows: Arrays, order: Sequence[int]) -> Outputs | None:
    try:
        return predict(take(rows, order))
    except InferenceError:
        return None


def _agree(alone: Sequence[Outputs], order: Sequence[int], outputs: Outputs | None) -> bool:
    if outputs is None:
        return False
    return all(
        len(values) == len(order) and _column_agrees([one[name] for one in alone], order, values)
        for name, values in outputs.items()
    )


def _column_agrees(alone: Sequence[np.ndarray], order: Sequence[int], together: np.ndarray) -> bool:
    """Whether one output's rows together are those of the same rows alone, each (1, ...)."""
    if any(alone[i].shape != (1, *together.shape[1:]) for i in order):
        return False
    expected = np.concatenate([alone[i] for i in order])
    if together.dtype.kind != "f":
        return bool((expected == together).all())
    return _are_close(expected, together)


def _are_close(expected: np.ndarray, actual: np.ndarray) -> bool:
    tolerance = HALF_PRECISION_TOLERANCE if expected.dtype == np.float16 else TOLERANCE
    n_rows = len(expected)
    left = expected.astype(np.float64).reshape(n_rows, -1)
    right = actual.astype(np.float64).reshape(n_rows, -1)
    if not (np.isnan(left) == np.isnan(right)).all():
        return False
    finite = np.where(np.isfinite(left), np.abs(left), 0)
    # The size of a row's answer, or of the usual answer if this one happens to be near 0.
    sizes = finite.max(axis=1, initial=0)
    sizes = np.maximum(sizes, np.median(sizes) if n_rows else 0)[:, np.newaxis]
    with np.errstate(invalid="ignore"):
        is_close = (left == right) | np.isnan(left) | (np.abs(left - right) <= tolerance * sizes)
    return bool(is_close.all())


def _equal(left: Outputs, right: Outputs) -> bool:
    return all(
        left[name].shape == right[name].shape
        and bool(np.array_equal(left[name], right[name], equal_nan=left[name].dtype.kind == "f"))
        for name in left
    )
