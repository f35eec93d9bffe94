"""How far two rows of counts by the same bins lie apart, and how likely chance gives as much.

`a` is the window and `b` the reference: counts of shape (bins,), with positive sums. All but the
PSI and its like are those of SciPy for the same bins, without needing SciPy.
"""

import math
from collections.abc import Sequence

import numpy as np

from predictions.evaluation.drift.tables import FloatArray, IntArray

# What takes the place of a count of zero in the PSI.
EMPTY_BIN = 0.5


def psi(a: FloatArray, b: FloatArray) -> float:
    """The population stability index, Σ (p - q) ln(p / q), of bins that are not empty in both.

    A bin that is empty in one of them is taken to have half a row there, the others stay as they
    are. So the index is finite, and its mean formula still holds: with five expected rows a bin is
    empty in 1 of 150 windows, and then adds 5 ln(10) / n, not infinity; adding something to every
    bin, as is often done, would shrink all of them.
    """
    used = a + b > 0
    p = np.where(a[used] > 0, a[used], EMPTY_BIN) / a.sum()
    q = np.where(b[used] > 0, b[used], EMPTY_BIN) / b.sum()
    return float(((p - q) * np.log(p / q)).sum())


def psi_bias(bins: int, n: float, m: float) -> float:
    """The mean of the PSI of samples of n and m rows of the same distribution.

    (B - 1)(1 / n + 1 / m): B. Yurdakul and J. Naranjo, "Statistical properties of the population
    stability index", Journal of Risk Model Validation 14 (2020).
    """
    return (bins - 1) * (1 / n + 1 / m)


def l_infinity(a: FloatArray, b: FloatArray) -> float:
    """The largest difference of a share."""
    return float(np.abs(a / a.sum() - b / b.sum()).max())


def kolmogorov_smirnov(a: FloatArray, b: FloatArray) -> float:
    """The largest difference of the cumulative shares of ordered bins.

    A lower bound of that between the values themselves, near it for bins of 1 % each.
    """
    return float(np.abs(np.cumsum(a) / a.sum() - np.cumsum(b) / b.sum()).max())


def jensen_shannon(a: FloatArray, b: FloatArray) -> float:
    """The Jensen-Shannon distance, the root of the divergence to the base 2: from 0 to 1."""
    p, q = a / a.sum(), b / b.sum()
    middle = (p + q) / 2
    divergence = (_information(p, middle) + _information(q, middle)) / 2
    return math.sqrt(max(divergence, 0.0))


def _information(p: FloatArray, q: FloatArray) -> float:
    used = p > 0
    return float((p[used] * np.log2(p[used] / q[used])).sum())


def wasserstein(a: FloatArray, b: FloatArray, values: FloatArray) -> float:
    """The first Wasserstein distance, of bins with these values, ascending."""
    gaps = np.abs(np.cumsum(a) / a.sum() - np.cumsum(b) / b.sum())[:-1]
    return float((gaps * np.diff(values)).sum())


def merge_sparse(
    a: FloatArray, b: FloatArray, groups: IntArray, least: float
) -> tuple[FloatArray, FloatArray]:
    """Counts by group, where neighbouring groups are joined until each expects `least` in both.

    What is expected are the shares of both rows together, for each one's sum.
    """
    size = int(groups.max()) + 1
    grouped_a = np.bincount(groups, weights=a, minlength=size).tolist()
    grouped_b = np.bincount(groups, weights=b, minlength=size).tolist()
    n, m = float(a.sum()), float(b.sum())
    smaller = min(n, m) / (n + m)
    merged: list[list[float]] = []
    open_group = [0.0, 0.0]
    for x, y in zip(grouped_a, grouped_b, strict=True):
        open_group = [open_group[0] + x, open_group[1] + y]
        if sum(open_group) * smaller >= least:
            merged.append(open_group)
            open_group = [0.0, 0.0]
    if merged:
        # What is left over at the end joins the last group that is large enough.
        merged[-1] = [merged[-1][0] + open_group[0], merged[-1][1] + open_group[1]]
    else:
        merged = [open_group]
    both = np.array(merged).T
    return both[0], both[1]


def chi_squared_tail(statistic: float, degrees: int) -> float:
    """P(X >= statistic) of a chi-squared variable with a whole number of degrees of freedom.

    The finite series of M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions",
    26.4.4 (odd) and 26.4.5 (even); SciPy's `chi2.sf` gives the same.
    """
    half = statistic / 2
    if half <= 0:
        return 1.0
    # The terms half^k e^-half / Γ(k + 1) for k = 0, 1, ... or 1/2, 3/2, ... below degrees / 2.
    exponents = [k / 2 for k in range(degrees % 2, degrees - 1, 2)]
    terms = (math.exp(k * math.log(half) - half - math.lgamma(k + 1)) for k in exponents)
    first = math.erfc(math.sqrt(half)) if degrees % 2 else 0.0
    return min(first + math.fsum(terms), 1.0)


def homogeneity(a: FloatArray, b: FloatArray) -> tuple[float, float, int]:
    """Whether two rows of counts have the same shares: Pearson's chi-squared and its p-value.

    Gives the statistic, the p-value and the degrees of freedom. Bins that are empty in both are
    left out. Both rows must have a positive sum.

    The p-value is the larger of those of Pearson's statistic and of the likelihood ratio
    (G = 2 Σ O ln(O / E)). For few expected rows Pearson's finds surpluses too significant, twice as
    often at p = 0.0002 as it should, and the ratio finds gaps so; neither has the other's fault.
    """
    used = a + b > 0
    rows = np.stack((a[used], b[used]))
    expected = rows.sum(axis=1, keepdims=True) * rows.sum(axis=0) / rows.sum()
    degrees = rows.shape[1] - 1
    statistic = float(((rows - expected) ** 2 / expected).sum())
    logarithms = np.log(np.where(rows > 0, rows, expected) / expected)
    likelihood_ratio = 2 * float((rows * logarithms).sum())
    if not degrees:
        return statistic, 1.0, degrees
    return statistic, chi_squared_tail(min(statistic, likelihood_ratio), degrees), degrees


def rank_sum(a: FloatArray, b: FloatArray) -> float:
    """The two-sided p-value of the rank-sum test, where all values of a bin are ties.

    Finds values that moved up or down with far fewer rows than the chi-squared test, which does not
    know the order of the bins: H. B. Mann and D. R. Whitney, "On a test of whether one of two
    random variables is stochastically larger than the other", Annals of Mathematical Statistics 18
    (1947), 50-60. By the normal approximation, with the variance for ties.
    """
    n, m = float(a.sum()), float(b.sum())
    ties, total = a + b, n + m
    wins = float((a * (np.cumsum(b) - b / 2)).sum())
    variance = n * m / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    return 2 * normal_tail(abs(wins - n * m / 2) / math.sqrt(variance))


def excess(hits: int, rows: int, reference_hits: int, reference_rows: int) -> float:
    """The p-value of a share of rows as large as this, where it is that of the reference.

    Fisher's exact test, one-sided: R. A. Fisher, "Statistical Methods for Research Workers" (1934),
    21.02. The normal approximation would give 1e-12 for one row of 100 against none of 5,000; this
    gives 0.02. Exact up to rounding of about 1e-16 times the number of rows.
    """
    total, both = hits + reference_hits, rows + reference_rows
    largest = min(total, rows)
    if hits * both <= total * rows:
        return 1.0  # No excess: at least about a half, and of no interest.
    # Above the mean, terms shrink at least geometrically; these are more than can matter.
    deviation = math.sqrt(total * rows / both)
    steps = np.arange(hits, min(largest, hits + int(40 * deviation) + 100), dtype=np.float64)
    ratios = (total - steps) * (rows - steps)
    ratios /= (steps + 1) * (reference_rows - total + steps + 1)
    series = 1.0 + float(np.cumprod(ratios).sum())
    return min(math.exp(_log_hypergeometric(hits, rows, total, both)) * series, 1.0)


def least_excess(rows: int, reference_rows: int, total: int) -> float:
    """The smallest p-value that `excess` can give for so many hits in both together.

    A comparison that cannot reach significance cannot be a false alarm, and need not count among
    those that a correction allows for: R. E. Tarone, "A modified Bonferroni method for discrete
    data", Biometrics 46 (1990), 515-522.
    """
    largest = min(total, rows)
    return math.exp(_log_hypergeometric(largest, rows, total, rows + reference_rows))


def _log_hypergeometric(hits: int, rows: int, total: int, both: int) -> float:
    """The logarithm of the probability of `hits` in `rows`, of `total` in `both`."""
    return (
        _log_choose(total, hits) + _log_choose(both - total, rows - hits) - _log_choose(both, rows)
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def normal_tail(z: float) -> float:
    """P(Z >= z) of a standard normal variable."""
    return math.erfc(z / math.sqrt(2)) / 2


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: if all below x are called significant, the chance of any error is x.

    At most, and however the tests depend on each other: S. Holm, "A simple sequentially rejective
    multiple test procedure", Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(order) - rank)))
        adjusted[index] = largest
    return adjusted
