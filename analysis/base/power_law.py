"""How a score goes with the number of texts that were learned from: score(n) = limit - scale * n^-rate.

Cortes, Jackel, Solla, Vapnik and Denker, "Learning Curves: Asymptotic Values and Rate of Convergence" (NIPS 1993,
printed 1994), fit errors so.

Shapes: D draws, P points, R rates.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

#: Rates that are tried: measured ones are about 0.1 to 1.
RATES = np.geomspace(0.05, 2.0, 60)
MIN_POINTS = 4  # for three numbers that are found
NUM_DRAWS = 2000


class Gain(NamedTuple):
    """What twice the texts would add to a score, with the 95 % interval; NaN bounds where no spread is known."""

    value: float
    low: float
    high: float


def gain_of_doubling(
    sizes: ArrayLike, means: ArrayLike, sds: ArrayLike, counts: ArrayLike, rng: np.random.Generator, best: float
) -> Gain | None:
    """By how much more is reached at twice the largest of the sizes than there, by the fitted law; never less than 0.

    sizes: of each point, different. means, sds, counts: of its scores over seeds, a larger score being better; the sd
    of a single one is not looked at. best: the best score that there can be. The interval is that of refits to points
    that are moved at random: by the standard error over seeds and by how far the law misses them.
    None for fewer than MIN_POINTS.
    """
    sizes_P, means_P, sds_P, counts_P = (np.asarray(each, dtype=np.float64) for each in (sizes, means, sds, counts))
    if len(sizes_P) < MIN_POINTS:
        return None
    relative_P = sizes_P / sizes_P.max()
    found, fitted_1P = _fit(relative_P, means_P[None], best)
    of_seeds, of_fit = int((counts_P - 1).sum()), len(sizes_P) - 3
    several_P = counts_P > 1
    within = (sds_P[several_P] ** 2 * (counts_P[several_P] - 1)).sum() / max(1, of_seeds)
    missed = ((fitted_1P[0] - means_P) ** 2).sum() / of_fit
    spread_P, freedom = np.sqrt(within / counts_P + missed), of_seeds or of_fit
    if not spread_P.any():
        return Gain(float(found[0]), np.nan, np.nan)
    moved_DP = means_P + spread_P * stats.t.rvs(freedom, size=(NUM_DRAWS, len(sizes_P)), random_state=rng)
    low, high = np.quantile(_fit(relative_P, moved_DP, best)[0], [0.025, 0.975])
    return Gain(float(found[0]), min(float(low), float(found[0])), max(float(high), float(found[0])))


def _fit(relative_P: np.ndarray, scores_DP: np.ndarray, best: float) -> tuple[np.ndarray, np.ndarray]:
    """By least squares, the scale not negative and the limit at most `best`: the gain of doubling (D) and the fitted
    scores (D, P). For each rate the rest is linear."""
    powers_RP = -(relative_P[None] ** -RATES[:, None])
    centred_RP = powers_RP - powers_RP.mean(1, keepdims=True)
    scales_DR = np.maximum(scores_DP @ centred_RP.T / (centred_RP**2).sum(1), 0.0)
    limits_DR = scores_DP.mean(1, keepdims=True) - scales_DR * powers_RP.mean(1)
    if np.isfinite(best):
        over_DR = limits_DR > best
        through_DR = np.maximum((scores_DP - best) @ powers_RP.T / (powers_RP**2).sum(1), 0.0)
        scales_DR, limits_DR = np.where(over_DR, through_DR, scales_DR), np.where(over_DR, best, limits_DR)
    fitted_DRP = limits_DR[..., None] + scales_DR[..., None] * powers_RP
    chosen_D = ((fitted_DRP - scores_DP[:, None]) ** 2).sum(-1).argmin(1)
    draws_D = np.arange(len(scores_DP))
    return scales_DR[draws_D, chosen_D] * (1 - 2 ** -RATES[chosen_D]), fitted_DRP[draws_D, chosen_D]
