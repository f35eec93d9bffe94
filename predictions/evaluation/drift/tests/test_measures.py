"""Distances and p-values equal those of SciPy for the same bins, to 1e-9."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.evaluation.drift import measures
from predictions.evaluation.drift.tables import FloatArray

TOLERANCE = 1e-9

Samples = tuple[FloatArray, FloatArray]


@pytest.fixture(params=range(20))
def samples(request: pytest.FixtureRequest) -> Samples:
    """Counts of a window and of a reference by the same bins, some of them empty."""
    rng = np.random.default_rng(request.param)
    bins = int(rng.integers(2, 40))
    shares = rng.dirichlet(np.full(bins, 0.7))
    moved = rng.dirichlet(1 + 50 * shares)
    a, b = rng.multinomial(int(rng.integers(100, 2000)), moved), rng.multinomial(5000, shares)
    return a.astype(np.float64), b.astype(np.float64)


@pytest.mark.parametrize("degrees", [1, 2, 3, 9, 10, 51, 100])
@pytest.mark.parametrize("statistic", [0.0, 1e-6, 0.3, 1.0, 9.9, 40.0, 333.0, 3000.0])
def test_chi_squared_tail(statistic: float, degrees: int) -> None:
    from scipy.stats import chi2

    expected = float(chi2.sf(statistic, degrees))

    assert measures.chi_squared_tail(statistic, degrees) == pytest.approx(expected, rel=TOLERANCE)


def test_homogeneity(samples: Samples) -> None:
    from scipy.stats import chi2_contingency

    used = samples[0] + samples[1] > 0
    table = np.stack(samples)[:, used]
    pearson = chi2_contingency(table, correction=False)
    ratio = chi2_contingency(table, correction=False, lambda_="log-likelihood")

    statistic, p_value, degrees = measures.homogeneity(*samples)

    assert statistic == pytest.approx(pearson.statistic, rel=TOLERANCE)
    assert degrees == pearson.dof
    assert p_value == pytest.approx(max(pearson.pvalue, ratio.pvalue), rel=TOLERANCE, abs=1e-300)


def test_rank_sum(samples: Samples) -> None:
    from scipy.stats import mannwhitneyu

    expected = mannwhitneyu(*values(samples), use_continuity=False, method="asymptotic").pvalue

    assert measures.rank_sum(*samples) == pytest.approx(expected, rel=TOLERANCE, abs=1e-300)


def test_kolmogorov_smirnov(samples: Samples) -> None:
    from scipy.stats import ks_2samp

    expected = ks_2samp(*values(samples), method="asymp").statistic

    assert measures.kolmogorov_smirnov(*samples) == pytest.approx(expected, abs=TOLERANCE)


def test_jensen_shannon(samples: Samples) -> None:
    from scipy.spatial.distance import jensenshannon

    expected = jensenshannon(*samples, base=2)

    assert measures.jensen_shannon(*samples) == pytest.approx(expected, abs=TOLERANCE)


def test_wasserstein(samples: Samples) -> None:
    from scipy.stats import wasserstein_distance

    positions = np.cumsum(np.random.default_rng(0).exponential(3, len(samples[0])))
    expected = wasserstein_distance(positions, positions, *samples)

    assert measures.wasserstein(*samples, positions) == pytest.approx(expected, rel=TOLERANCE)


def test_l_infinity() -> None:
    a, b = np.array([10.0, 90.0, 0.0]), np.array([50.0, 40.0, 10.0])

    assert measures.l_infinity(a, b) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("hits", "rows", "reference_hits", "reference_rows"),
    [
        (1, 100, 0, 5000),
        (30, 100, 900, 5000),
        (5, 100, 40, 5000),
        (2, 2, 1, 1),
        (150, 2000, 9, 300),
    ],
)
def test_excess(hits: int, rows: int, reference_hits: int, reference_rows: int) -> None:
    from scipy.stats import fisher_exact

    table = [[hits, rows - hits], [reference_hits, reference_rows - reference_hits]]
    expected = fisher_exact(table, alternative="greater").pvalue

    p_value = measures.excess(hits, rows, reference_hits, reference_rows)

    assert p_value == pytest.approx(expected, rel=TOLERANCE)


@given(st.integers(1, 300), st.integers(0, 300), st.integers(0, 400))
def test_no_excess_is_more_significant_than_the_least(
    rows: int, reference: int, total: int
) -> None:
    total = min(total, rows + reference)
    least = measures.least_excess(rows, reference, total)

    hits = min(total, rows)

    assert measures.excess(hits, rows, total - hits, reference) >= least * (1 - 1e-9)


def test_psi_of_the_same_distribution_has_the_mean_of_its_formula() -> None:
    rng = np.random.default_rng(7)
    n, m, bins = 100, 5000, 10
    shares = np.full(bins, 1 / bins)
    a, b = rng.multinomial(n, shares, 4000), rng.multinomial(m, shares, 4000)

    mean = np.mean([measures.psi(x, y) for x, y in zip(a * 1.0, b * 1.0, strict=True)])

    assert mean == pytest.approx(measures.psi_bias(bins, n, m), rel=0.1)


def test_psi_of_bins_that_expect_five_rows_keeps_its_mean() -> None:
    """Where bins may be empty, what takes the place of zero must not matter."""
    rng = np.random.default_rng(8)
    n, m, bins = 100, 5000, 20
    shares = np.full(bins, 1 / bins)
    a, b = rng.multinomial(n, shares, 4000), rng.multinomial(m, shares, 4000)

    mean = np.mean([measures.psi(x, y) for x, y in zip(a * 1.0, b * 1.0, strict=True)])

    assert (a == 0).any(axis=1).mean() > 0.05
    assert mean == pytest.approx(measures.psi_bias(bins, n, m), rel=0.15)


def test_psi_of_an_empty_bin_is_finite() -> None:
    assert math.isfinite(measures.psi(np.array([100.0, 0.0, 0.0]), np.array([0.0, 50.0, 0.0])))


def test_sparse_bins_join_their_neighbours() -> None:
    a, b = np.array([1.0, 2, 50, 1, 40, 1]), np.array([10.0, 20, 500, 10, 400, 10])

    merged_a, merged_b = measures.merge_sparse(a, b, np.arange(6), 5)

    assert merged_a.tolist() == [53, 42]
    assert merged_b.tolist() == [530, 420]


def test_holm_adjusts_by_the_number_of_tests_left() -> None:
    assert measures.holm([0.03, 0.001, 0.02, 0.9]) == pytest.approx([0.06, 0.004, 0.06, 0.9])


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_never_makes_a_p_value_smaller(p_values: list[float]) -> None:
    adjusted = measures.holm(p_values)

    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))


def values(samples: Samples) -> Samples:
    """The bins of all rows, instead of their counts."""
    a, b = (np.repeat(np.arange(len(s)), s.astype(int)).astype(np.float64) for s in samples)
    return a, b
