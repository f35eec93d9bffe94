"""Synthetic rows that fit a signature and resemble a model's training data. No Django here.

What the training data looked like is in the profiles that a runtime reads from its file.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from registry.signatures.signature import DTYPES, Input, Signature
from registry.signatures.validation import dtype_of

SEED = 0
MISSING_SHARE = 0.1
UNSEEN_WORDS = ("unseen", "Straße", "N7")
# Scales of the normally distributed values of a column about which the file says nothing.
MAGNITUDES = (0.1, 1.0, 10.0, 100.0)
# How far values may lie outside of the known range, as a share of its width.
MARGIN_SHARE = 0.25
MAX_WORDS_PER_TEXT = 8
MAX_THRESHOLD = 1e30
# Lengths to try for variable dimensions; convolutions need more than a few pixels.
VARIABLE_SIZES = (2, 1, 8, 32, 64)

MAX_PROBE_ROWS = 8
# How many sets of rows that the model can score.
N_PROBE_SETS = 2
# A model of images may take a second for each.
MAX_LARGE_PROBE_ROWS = 2
LARGE_ROW_VALUES = 50_000

Guess: TypeAlias = Literal["wide", "small", "constant"]
"""The numbers in a column about which the file says nothing: normally distributed with the scales
of MAGNITUDES; from 0 to 3; or 1 in every row.
"""

GUESSES: Sequence[Guess] = ("wide", "small", "constant")


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """A column's values: `choices` or else numbers from `low` to `high`, or texts of `words`."""

    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()
    words: tuple[str, ...] = ()


Profiles: TypeAlias = Mapping[int, ColumnProfile]
"""By the position of a column's value in the `features` list of a row. Columns about which the file
says nothing are left out.
"""


def synthesize_rows(
    signature: Signature, profiles: Profiles, n_rows: int
) -> list[dict[str, list[object]]]:
    """n rows of `input_data` for a model whose inputs all fit a `features` list; the same ones on
    every call.
    """
    random = np.random.default_rng(SEED)
    columns = [
        _column(random, tensor, profiles.get(position), n_rows, "wide")
        for position, tensor in enumerate(_flat_columns(signature))
    ]
    return [{"features": list(row)} for row in zip(*columns, strict=True)]


def synthesize_arrays(
    signature: Signature,
    profiles: Profiles,
    n_rows: int,
    *,
    guess: Guess = "wide",
    variable_size: int = 1,
) -> dict[str, np.ndarray]:
    """n differing rows as one array of shape (n, ...) for each input; the same ones on every call.

    Variable dimensions have the length `variable_size`.
    """
    random = np.random.default_rng(SEED)
    arrays: dict[str, np.ndarray] = {}
    position = 0
    for tensor in signature.inputs:
        row_shape = tuple(variable_size if size == -1 else size for size in tensor.row_shape)
        width = int(np.prod(row_shape, dtype=np.int64))
        dtype = dtype_of(tensor)
        if dtype.kind == "O" or any(i in profiles for i in range(position, position + width)):
            array = np.empty((n_rows, width), dtype)
            for i in range(width):
                array[:, i] = _column(random, tensor, profiles.get(position + i), n_rows, guess)
        else:
            # An image has too many columns to go through them one by one.
            array = _table(random, dtype, (n_rows, width), guess)
        arrays[tensor.name] = array.reshape(n_rows, *row_shape)
        position += width
    return arrays


def n_probe_rows(signature: Signature) -> int:
    """How many rows a model is examined with."""
    n_values = sum(abs(math.prod(tensor.row_shape)) for tensor in signature.inputs)
    return MAX_LARGE_PROBE_ROWS if n_values > LARGE_ROW_VALUES else MAX_PROBE_ROWS


def synthesize_sets(
    signature: Signature, profiles: Profiles, n_rows: int, guesses: Sequence[Guess] = GUESSES
) -> Iterator[dict[str, np.ndarray]]:
    """Sets of n rows to try on a model, from the most realistic to constant ones."""
    has_variable = any(-1 in tensor.row_shape for tensor in signature.inputs)
    for guess in guesses:
        for size in VARIABLE_SIZES if has_variable else VARIABLE_SIZES[:1]:
            yield synthesize_arrays(signature, profiles, n_rows, guess=guess, variable_size=size)


def with_missing_values(
    signature: Signature, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray] | None:
    """The arranged rows with some values missing in every nullable input, the same on every call.

    None if no input is nullable.
    """
    random = np.random.default_rng(SEED)
    result = dict(inputs)
    for tensor in signature.inputs:
        if tensor.nullable:
            values = inputs[tensor.name]
            is_missing = random.random(values.size).reshape(values.shape) < MISSING_SHARE
            result[tensor.name] = values.copy()
            result[tensor.name][is_missing] = None if values.dtype == object else np.nan
    return result if any(tensor.nullable for tensor in signature.inputs) else None


def ranges_of_thresholds(thresholds: Iterable[tuple[int, float]]) -> dict[int, ColumnProfile]:
    """The range of each column's thresholds in a model of trees, from (column, threshold)."""
    profiles: dict[int, ColumnProfile] = {}
    for column, value in thresholds:
        # A split between present and missing values has no finite threshold.
        if not abs(value) <= MAX_THRESHOLD:
            continue
        known = profiles.get(column, ColumnProfile(value, value))
        profiles[column] = ColumnProfile(min(known.low, value), max(known.high, value))
    return profiles


# -- values of a column


def _flat_columns(signature: Signature) -> list[Input]:
    """The input of each value of a `features` list."""
    return [
        tensor
        for tensor in signature.inputs
        for _ in range(abs(int(np.prod(tensor.row_shape, dtype=np.int64))))
    ]


def _column(
    random: np.random.Generator,
    tensor: Input,
    profile: ColumnProfile | None,
    n_rows: int,
    guess: Guess,
) -> Sequence[object]:
    if tensor.datatype == "BYTES":
        return _texts(random, profile or ColumnProfile(), n_rows)
    if tensor.datatype == "BOOL":
        booleans: list[bool] = (random.random(n_rows) < 0.5).tolist()
        return booleans
    numbers = _numbers(random, profile, n_rows, guess)
    dtype = DTYPES[tensor.datatype or "FP64"]
    if dtype.kind == "f":
        return numbers
    limits = np.iinfo(dtype)
    return [min(max(round(number), limits.min), limits.max) for number in numbers]


def _texts(random: np.random.Generator, profile: ColumnProfile, n_rows: int) -> list[str]:
    if profile.choices:
        return [str(profile.choices[i]) for i in random.integers(len(profile.choices), size=n_rows)]
    words = np.array([*profile.words, *(word.upper() for word in profile.words), *UNSEEN_WORDS])
    return [
        " ".join(random.choice(words, size=random.integers(1, MAX_WORDS_PER_TEXT + 1)).tolist())
        for _ in range(n_rows)
    ]


def _numbers(
    random: np.random.Generator, profile: ColumnProfile | None, n_rows: int, guess: Guess
) -> list[float]:
    numbers: list[float]
    if profile is None:
        numbers = _guessed_numbers(random, (n_rows,), guess).tolist()
    elif profile.choices:
        numbers = [profile.choices[i] for i in random.integers(len(profile.choices), size=n_rows)]
    else:
        margin = MARGIN_SHARE * (profile.high - profile.low) or max(1.0, abs(profile.low))
        numbers = random.uniform(profile.low - margin, profile.high + margin, n_rows).tolist()
    return numbers


def _table(
    random: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...], guess: Guess
) -> np.ndarray:
    """The values of columns about which the file says nothing."""
    if dtype == np.bool_:
        return random.random(shape) < 0.5
    numbers = _guessed_numbers(random, shape, guess)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        numbers = np.rint(numbers).clip(limits.min, limits.max)
    return numbers.astype(dtype)


def _guessed_numbers(
    random: np.random.Generator, shape: tuple[int, ...], guess: Guess
) -> np.ndarray:
    if guess == "constant":
        return np.ones(shape)
    if guess == "small":
        return random.uniform(0, 3, shape)
    numbers: np.ndarray = random.standard_normal(shape) * random.choice(MAGNITUDES, shape)
    return numbers
