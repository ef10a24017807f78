"""What it costs to look at the same comparison again and again, adding seeds each time until it is decided.

Pocock's (1977) group-sequential design: the same nominal level at every look. Looks that add equally many seeds are
taken for granted. Where all looks share one sample of texts their estimates have more in common than that, since part
of the variance never changes (with variances V + W / S_j as without V, the covariance of two looks is the variance of
the later one): the bounds then err to the safe side.
"""

from functools import cache

import numpy as np
from scipy import integrate, optimize, stats

_GRID = 101  # points of the integral, an odd number for Simpson's rule
_WIDEST = 9.0  # standard deviations: no bound is beyond


@cache
def crossing(bound: float, looks: int) -> float:
    """The probability that the standardized estimate leaves (-bound, bound) at one of so many looks at no difference.

    By the recursive integration of Armitage, McPherson and Rowe (1969), over sums of independent normal increments.
    """
    bound = min(bound, _WIDEST)
    sums = np.linspace(-bound, bound, _GRID)
    density = stats.norm.pdf(sums)
    for look in range(2, looks + 1):
        later = np.linspace(-bound * np.sqrt(look), bound * np.sqrt(look), _GRID)
        steps = np.exp(-((later[:, None] - sums) ** 2) / 2) / np.sqrt(2 * np.pi)
        density = integrate.simpson(steps * density, x=sums)
        sums = later
    return float(np.clip(1 - integrate.simpson(density, x=sums), 0, 1))


def over_looks(p: float, looks: int) -> float:
    """A two-sided p-value, corrected for so many planned looks: how likely one as small is at any of them."""
    return p if looks == 1 or p >= 1 else max(p, crossing(float(stats.norm.isf(p / 2)), looks))


@cache
def nominal(level: float, looks: int) -> float:
    """The two-sided level of each of so many looks, for `level` over all of them."""
    if looks == 1:
        return level
    bound = optimize.brentq(lambda bound: crossing(float(bound), looks) - level, 1.0, _WIDEST, xtol=1e-6)
    return float(2 * stats.norm.sf(bound))
