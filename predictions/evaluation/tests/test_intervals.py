"""Intervals, compared with published figures."""

import math

import pytest

from predictions.evaluation.intervals import Moments, difference_interval, wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_wilson_intervals_equal_newcombes(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_without_trials_there_is_no_interval() -> None:
    assert wilson_interval(0, 0) is None


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide_on_each_side() -> None:
    moments = Moments.from_sums(4, 20.0, 120.0)

    assert moments is not None
    assert (moments.mean, moments.variance) == (5.0, 20 / 3)
    low, high = moments.interval or (0.0, 0.0)
    assert high - low == pytest.approx(2 * 1.959964 * math.sqrt(20 / 3 / 4), rel=1e-6)


def test_one_row_has_no_interval() -> None:
    one, two = Moments(1, 5.0, 0.0), Moments(2, 5.0, 1.0)

    assert one.interval is None
    assert difference_interval(one, two) is None
    assert Moments.from_sums(0, 0.0, 0.0) is None


def test_the_variances_of_independent_means_add_up() -> None:
    low, high = difference_interval(Moments(100, 3.0, 4.0), Moments(50, 1.0, 6.0)) or (0.0, 0.0)

    assert (low + high) / 2 == pytest.approx(2.0)
    assert high - low == pytest.approx(2 * 1.959964 * 0.4, rel=1e-6)
