"""Significance levels for repeated looks at one comparison, with seeds added between looks until it is decided.

Pocock's (1977) group-sequential design: the same nominal level at every look. It assumes that every look adds equally
many seeds. If all looks share one sample of texts, the estimate after S_j seeds has the variance V + W / S_j, where V
comes from the texts and never changes. The estimates are then more correlated than the design assumes, and the bounds
are conservative.
"""

from functools import cache

import numpy as np
from scipy import integrate, optimize, stats

_GRID = 101  # points of the integral; Simpson's rule needs an odd number
_WIDEST = 9.0  # the largest bound, in standard deviations


@cache
def crossing(bound: float, looks: int) -> float:
    """The probability that the standardized estimate leaves (-bound, bound) at any look, without a true difference.

    Recursive integration over sums of independent normal increments (Armitage, McPherson and Rowe 1969).
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
    """A two-sided p-value corrected for the planned looks: the probability of one as small at any look."""
    return p if looks == 1 or p >= 1 else max(p, crossing(float(stats.norm.isf(p / 2)), looks))


@cache
def nominal(level: float, looks: int) -> float:
    """The two-sided level of a single look that gives `level` over all looks."""
    if looks == 1:
        return level
    bound = optimize.brentq(lambda bound: crossing(float(bound), looks) - level, 1.0, _WIDEST, xtol=1e-6)
    return float(2 * stats.norm.sf(bound))
