"""The rows that a model is examined with."""

import time

import numpy as np
import pytest

from registry.signatures.signature import DTYPES, Input, Signature
from registry.signatures.synthetic_rows import ColumnProfile, Guess, synthesize_arrays

NUMBERS = sorted(set(DTYPES) - {"BYTES", "BOOL"})


def signature(datatype: str, *shape: int) -> Signature:
    return Signature((Input("x", datatype, (-1, *shape)),))


@pytest.mark.parametrize("guess", ["wide", "small"])
@pytest.mark.parametrize("datatype", NUMBERS)
def test_guessed_numbers_fit_the_datatype_and_differ(datatype: str, guess: Guess) -> None:
    values = synthesize_arrays(signature(datatype, 2, 3), {}, 8, guess=guess)["x"]

    assert (values.shape, values.dtype) == ((8, 2, 3), DTYPES[datatype])
    assert np.isfinite(values).all()
    assert len(np.unique(values)) > 2
    again = synthesize_arrays(signature(datatype, 2, 3), {}, 8, guess=guess)["x"]
    np.testing.assert_array_equal(values, again)


def test_guessed_booleans_are_both() -> None:
    values = synthesize_arrays(signature("BOOL", 4), {}, 8)["x"]

    assert values.dtype == np.bool_
    assert 0 < values.sum() < values.size


def test_a_known_column_among_others_has_its_own_values() -> None:
    profiles = {1: ColumnProfile(choices=(7, 9)), 2: ColumnProfile(low=100, high=200)}

    values = synthesize_arrays(signature("FP64", 3), profiles, 50)["x"]

    assert set(values[:, 1]) == {7, 9}
    assert 75 <= values[:, 2].min() < values[:, 2].max() <= 225
    assert np.abs(values[:, 0]).min() < 10


def test_the_pixels_of_images_take_no_step_each() -> None:
    started = time.process_time()

    values = synthesize_arrays(signature("FP32", 3, 640, 640), {}, 8)["x"]

    assert values.shape == (8, 3, 640, 640)
    # A step for each of the million values of a row took 25 seconds.
    assert time.process_time() - started < 3
