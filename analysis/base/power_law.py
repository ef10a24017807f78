"""Learning curves: the score as a function of the number of training texts, score(n) = limit - scale * n^-rate.

Cortes, Jackel, Solla, Vapnik and Denker, "Learning Curves: Asymptotic Values and Rate of Convergence" (NIPS 1993,
printed 1994), fit this law to errors.

Shapes: D draws, P points, R rates.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

#: The grid of rates; measured rates are about 0.1 to 1.
RATES = np.geomspace(0.05, 2.0, 60)
MIN_POINTS = 4  # one more than the law has parameters
NUM_DRAWS = 2000


class Gain(NamedTuple):
    """The gain of a score from doubling the texts, with its 95 % interval; bounds are NaN where no spread is known."""

    value: float
    low: float
    high: float


def gain_of_doubling(
    sizes: ArrayLike, means: ArrayLike, sds: ArrayLike, counts: ArrayLike, rng: np.random.Generator, best: float
) -> Gain | None:
    """The gain from doubling the largest size, extrapolated by the fitted law; at least 0. None for fewer than
    MIN_POINTS sizes.

    sizes: the distinct numbers of texts. means, sds, counts: of the scores over seeds at every size; larger scores are
    better, and the sd of a single score is ignored. best: the best possible score. The interval is by parametric
    bootstrap: refits to points moved by the standard error over seeds and the residuals of the fit.
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
    """Least squares with a non-negative scale and a limit of at most `best`: the gain of doubling (D), and the fitted
    scores (D, P). For a given rate, the law is linear in scale and limit."""
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
