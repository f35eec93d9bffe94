"""Whether a model's answer for a row depends on the rows beside it. No Django here.

Most models answer each row by itself. Some do not: a graph quantized dynamically takes its scale
from the whole batch, others subtract the batch's mean, and a graph may have no dimension for rows
at all. Joining the rows of several callers would give each a wrong answer.
"""

import time
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
REPETITIONS = 4
# A model that takes this long for a row is examined with two rows, or not at all: the proof has a
# time limit, and a slow model gains little from joined calls.
SLOW_SECONDS = 0.05
VERY_SLOW_SECONDS = 0.5


class Dependence(Enum):
    """How answers for rows scored together compare with those for the same rows alone."""

    NONE = auto()
    ON_CHANCE = auto()
    """The same rows get another answer each time."""
    ON_OTHER_ROWS = auto()
    ENTIRELY_ON_OTHER_ROWS = auto()
    """Every row alone gets the same answer, as from a softmax over the rows."""
    UNKNOWN = auto()
    """An output is empty, so there is nothing to compare, or the model is too slow to examine."""


def find_dependence(predict: Predict, rows: Arrays, tolerance: float | None = None) -> Dependence:
    """Score differing rows, one array (n, ...) for each input, alone, together, reordered and
    repeated.

    `tolerance` is the share of an answer's size that may differ, by default what rounding
    explains. Failing on rows together, and another number of rows than the input's, count as a
    dependence. Raises InferenceError if the model fails on a row alone.
    """
    first = predict(take(rows, [0]))
    started = time.perf_counter()
    again = predict(take(rows, [0]))
    seconds = time.perf_counter() - started
    if not _is_repeated(first, again, tolerance):
        return Dependence.ON_CHANCE
    if seconds > VERY_SLOW_SECONDS:
        return Dependence.UNKNOWN
    n_rows = len(next(iter(rows.values())))
    if seconds > SLOW_SECONDS:
        n_rows = min(n_rows, 2)
    alone = [first, *(predict(take(rows, [i])) for i in range(1, n_rows))]
    together = [(order, _predict_or_none(predict, rows, order)) for order in _orders(n_rows)]
    largest_order, largest = together[-1]
    repeated = _predict_or_none(predict, rows, largest_order)
    if largest and repeated and not _is_repeated(largest, repeated, tolerance):
        return Dependence.ON_CHANCE
    if any(values.size == 0 for outputs in alone for values in outputs.values()):
        return Dependence.UNKNOWN
    if all(_agree(alone, order, outputs, tolerance) for order, outputs in together):
        return Dependence.NONE
    answers_alone_differ = not all(_equal(alone[0], other) for other in alone[1:])
    if answers_alone_differ or any(outputs is None for _, outputs in together):
        return Dependence.ON_OTHER_ROWS
    return Dependence.ENTIRELY_ON_OTHER_ROWS


def has_differing_rows(rows: Arrays) -> bool:
    """Whether the rows are not all equal; equal rows show no dependence."""
    return any(
        not np.array_equal(row, array[0], equal_nan=array.dtype.kind == "f")
        for array in rows.values()
        for row in array[1:]
    )


def take(rows: Arrays, indexes: Sequence[int]) -> dict[str, np.ndarray]:
    """These rows of every input."""
    return {name: array[list(indexes)] for name, array in rows.items()}


def _orders(n_rows: int) -> list[list[int]]:
    """All rows, all in reverse, an odd number of them, and all repeated: kernels work in blocks of
    a power of two, and change with the number of rows.
    """
    rows = list(range(n_rows))
    some = rows[: max(2, n_rows // 2) | 1]
    return [rows, rows[::-1], some, [*rows * REPETITIONS, 0]] if n_rows > 1 else [rows]


def _predict_or_none(predict: Predict, rows: Arrays, order: Sequence[int]) -> Outputs | None:
    try:
        return predict(take(rows, order))
    except InferenceError:
        return None


def _agree(
    alone: Sequence[Outputs],
    order: Sequence[int],
    outputs: Outputs | None,
    tolerance: float | None,
) -> bool:
    if outputs is None:
        return False
    return all(
        len(values) == len(order)
        and _column_agrees([one[name] for one in alone], order, values, tolerance)
        for name, values in outputs.items()
    )


def _column_agrees(
    alone: Sequence[np.ndarray],
    order: Sequence[int],
    together: np.ndarray,
    tolerance: float | None,
) -> bool:
    """Whether one output's rows together are those of the same rows alone, each (1, ...)."""
    if any(alone[i].shape != (1, *together.shape[1:]) for i in order):
        return False
    return _are_alike(np.concatenate([alone[i] for i in order]), together, tolerance)


def _are_alike(expected: np.ndarray, actual: np.ndarray, tolerance: float | None) -> bool:
    """Whether answers of the same shape (n, ...) are equal, or numbers close."""
    if actual.dtype.kind != "f":
        return bool((expected == actual).all())
    if tolerance is None:
        tolerance = HALF_PRECISION_TOLERANCE if expected.dtype == np.float16 else TOLERANCE
    return not expected.size or _are_close(expected, actual, tolerance)


def _are_close(expected: np.ndarray, actual: np.ndarray, tolerance: float) -> bool:
    n_rows = len(expected)
    left = expected.astype(np.float64).reshape(n_rows, -1)
    right = actual.astype(np.float64).reshape(n_rows, -1)
    if not (np.isnan(left) == np.isnan(right)).all():
        return False
    finite = np.where(np.isfinite(left), np.abs(left), 0)
    # The size of a row's answer, or of the usual answer if this one happens to be near 0.
    sizes = finite.max(axis=1, initial=0)
    sizes = np.maximum(sizes, np.median(sizes) if n_rows else 0)[:, np.newaxis]
    # Small numbers beside large ones, but not those beside probabilities, have a size of their own.
    sizes = np.minimum(sizes, np.maximum(finite.max(axis=0, initial=0), 1))
    with np.errstate(invalid="ignore"):
        is_close = (left == right) | np.isnan(left) | (np.abs(left - right) <= tolerance * sizes)
    return bool(is_close.all())


def _is_repeated(first: Outputs, second: Outputs, tolerance: float | None) -> bool:
    """Whether the same rows got the same answers twice, up to rounding: a server with a GPU adds in
    another order each time.
    """
    return _equal(first, second) or all(
        first[name].shape == second[name].shape and _are_alike(first[name], second[name], tolerance)
        for name in first
    )


def _equal(left: Outputs, right: Outputs) -> bool:
    return all(
        left[name].shape == right[name].shape
        and bool(np.array_equal(left[name], right[name], equal_nan=left[name].dtype.kind == "f"))
        for name in left
    )
