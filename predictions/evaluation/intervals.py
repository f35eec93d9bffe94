"""Intervals of figures that are estimated from samples. No Django.

All intervals are at 95 % and use the normal approximation, which is good from about thirty rows on.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self, TypeAlias

Interval: TypeAlias = tuple[float, float]

# The quantile that leaves 2.5 % of a normal distribution above it.
Z = NormalDist().inv_cdf(0.975)


def wilson_interval(successes: int, trials: int) -> Interval | None:
    """The interval of a proportion, estimated from `successes` in `trials`; None without trials.

    Wilson's score interval without continuity correction: E. B. Wilson, "Probable inference, the
    law of succession, and statistical inference", JASA 22 (1927), 209-212.
    """
    if trials == 0:
        return None
    share = successes / trials
    weight = Z * Z / trials
    centre = (share + weight / 2) / (1 + weight)
    half_width = Z / (1 + weight) * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    # Exact at both ends, where rounding would leave a tiny remainder.
    low = 0.0 if successes == 0 else centre - half_width
    high = 1.0 if successes == trials else centre + half_width
    return low, high


@dataclass(frozen=True, slots=True)
class Moments:
    """The size of a sample, its mean, and its variance with n - 1 (0 for n < 2)."""

    n: int
    mean: float
    variance: float

    @classmethod
    def from_sums(cls, n: int, total: float, squares: float, *, origin: float = 0.0) -> Self | None:
        """The moments, given the sums of x - origin and of (x - origin)²; None for n = 0.

        The nearer `origin` is to the mean, the fewer digits the variance loses.
        """
        if n == 0:
            return None
        shifted = total / n
        variance = max(squares - total * shifted, 0.0) / (n - 1) if n > 1 else 0.0
        return cls(n, origin + shifted, variance)

    @property
    def interval(self) -> Interval | None:
        """The interval of the population's mean, mean ± z s / √n; None for n < 2."""
        return _around(self.mean, self.variance / self.n) if self.n > 1 else None


def difference_interval(a: Moments, b: Moments) -> Interval | None:
    """The interval of the mean of `a` less the mean of `b`, two independent samples.

    None if one of them has fewer than two rows. The variances may differ: B. L. Welch, "The
    generalization of 'Student's' problem when several different population variances are involved",
    Biometrika 34 (1947), 28-35, in its limit of large samples.
    """
    if min(a.n, b.n) < 2:
        return None
    return _around(a.mean - b.mean, a.variance / a.n + b.variance / b.n)


def _around(centre: float, variance: float) -> Interval:
    half_width = Z * math.sqrt(variance)
    return centre - half_width, centre + half_width
