"""The expected score of the best of k trials, estimated from independent draws or from repeated searches.

Shapes: N draws, K numbers of trials, J jackknife samples, S searches, B budgets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from analysis.base.stats import CONFIDENCE


@dataclass(frozen=True)
class Curve:
    """The expected best score by budget (B); NaN where it is unknown.

    error: the standard error, infinite where unknown. freedom: the degrees of freedom of the error. Both are NaN where
    the value is exact.
    """

    budget: np.ndarray
    value: np.ndarray
    error: np.ndarray
    freedom: np.ndarray

    @property
    def half(self) -> np.ndarray:
        """Half the width of the 95 % Student's t interval."""
        return _quantile(self.freedom) * self.error

    def at(self, budget: float) -> "Point | None":
        """The curve at a budget, or at the largest known one; None below the smallest known one."""
        known = np.flatnonzero(~np.isnan(self.value))
        if not len(known) or budget < self.budget[known[0]] * (1 - 1e-9):
            return None
        value, error, freedom = (
            float(np.interp(budget, self.budget[known], of_B[known])) for of_B in (self.value, self.error, self.freedom)
        )
        return Point(value, error, freedom, bool(budget > self.budget[known[-1]] * (1 + 1e-9)))


class Point(NamedTuple):
    """A curve at a budget. beyond: whether the curve ends before it, so that `value` is a lower bound."""

    value: float
    error: float
    freedom: float
    beyond: bool

    @property
    def half(self) -> float:
        """Half the width of the 95 % interval; 0 if the value is exact."""
        return float(np.nan_to_num(_quantile(np.array(self.freedom)) * self.error))


def apart(one: Point, other: Point) -> bool:
    """Whether two points differ significantly: Welch's 95 % interval of their difference excludes zero."""
    half = _half(np.array([one.error, other.error])[:, None], np.array([one.freedom, other.freedom])[:, None])
    return bool(abs(one.value - other.value) > half[0])


def expected_best(scores_N: ArrayLike, num_trials_K: ArrayLike, worth_N: ArrayLike | None = None) -> np.ndarray:
    """The expected worth (K) of the best of k independent trials, unbiased (Tang et al. 2020): the mean over all
    subsets of k draws. Dodge et al. (2019) draw with replacement, which underestimates the best of many.

    scores_N: the draws from worst to best. NaN, at the beginning, means no result: the expectation is then conditional
    on at least one trial having a result. num_trials_K: at most N. worth_N: the value of the best draw that is
    averaged, such as its test score (default: its score).
    """
    worth = np.asarray(scores_N if worth_N is None else worth_N, dtype=float)
    return _ratio(_weights(len(worth), np.asarray(num_trials_K)), worth)


def of_draws(
    scores_N: ArrayLike, budget_B: ArrayLike, cost_N: ArrayLike | None = None, worth_N: ArrayLike | None = None
) -> Curve:
    """`expected_best` by budget with its standard error, up to N / 2 trials.

    cost_N: the cost of every draw; a budget then buys budget / mean cost trials, interpolated linearly. Without it,
    budgets are numbers of trials. The variance is by jackknife (Efron and Stein 1981) of the draws with one more beyond
    each end (see `_with_unseen`), with the degrees of freedom of 1.5 N / k groups of k trials. Bootstrap percentiles
    cover only 55 to 86 % at N / 2 trials, since no resample has a better draw than the best one
    (`benchmarks.budgets`).
    """
    worth = np.asarray(scores_N if worth_N is None else worth_N, dtype=float)
    budget = np.asarray(budget_B, dtype=float)
    num = len(worth)
    if num < 4:
        unknown = np.full_like(budget, np.nan)
        return Curve(budget, unknown, unknown, unknown)
    cost = np.ones(num) if cost_N is None else np.asarray(cost_N, dtype=float)
    num_trials = np.arange(1, min(num // 2 + 2, num - 1) + 1)
    mean = cost.mean()
    spread, costs = _with_unseen(worth), np.concatenate([[mean], cost, [mean]])
    means_J = (costs.sum() - costs) / (len(costs) - 1)
    known = (budget >= mean * (1 - 1e-9)) & (budget <= mean * (num // 2) * (1 + 1e-9))
    value = np.interp(budget / mean, num_trials, expected_best(worth, num_trials))
    without_JK = _leaving_one_out(spread, num_trials)
    values_JB = np.array(
        [np.interp(budget / mean, num_trials, values_K) for mean, values_K in zip(means_J, without_JK, strict=True)]
    )
    error = np.sqrt((1 - 1 / len(spread)) * ((values_JB - values_JB.mean(axis=0)) ** 2).sum(axis=0))
    freedom = np.clip(1.5 * num * mean / budget - 1, 1, num - 1)
    return Curve(budget, *(np.where(known, of_B, np.nan) for of_B in (value, _or_unknown(error), freedom)))


def of_searches(budgets: Sequence[ArrayLike], values: Sequence[ArrayLike], budget_B: ArrayLike) -> Curve:
    """The mean best score of repeated searches by budget: known from where all have a result to the budget of the
    shortest. With fewer than two searches, the error is unknown.

    budgets, values: for every search, the budget spent at the end of each trial, ascending, and the best score by then
    (NaN: no result yet).
    """
    budget = np.asarray(budget_B, dtype=float)
    reached_SB = np.array(
        [_steps(np.asarray(x, float), np.asarray(y, float), budget) for x, y in zip(budgets, values, strict=True)]
    )
    num = len(reached_SB)
    deviation = reached_SB.std(axis=0, ddof=1) if num > 1 else np.full_like(budget, np.nan)
    known = np.where(np.isnan(reached_SB).any(axis=0), np.nan, 1.0)
    error = _or_unknown(deviation) / np.sqrt(num)
    return Curve(budget, reached_SB.mean(axis=0) * known, error * known, (num - 1) * known)


class Crossing(NamedTuple):
    """Where one curve overtakes another, over the budgets at which both are known.

    first, last: the lead of the first curve at the smallest and at the largest budget. at: the budget from which on the
    final leader stays ahead; NaN if it leads throughout. low, high: the range of budgets in which the crossing may be,
    where the 95 % interval of the difference contains zero; NaN if it extends beyond the known budgets. apart: whether
    the difference at the largest budget is significant.
    """

    first: float
    last: float
    at: float
    low: float
    high: float
    apart: bool


def crossing(one: Curve, other: Curve) -> Crossing | None:
    """The crossing of two curves at the same budgets; None if there is no budget at which both are known."""
    both = ~(np.isnan(one.value) | np.isnan(other.value))
    if not both.any():
        return None
    budget, difference = one.budget[both], (one.value - other.value)[both]
    half = _half(np.stack([one.error[both], other.error[both]]), np.stack([one.freedom[both], other.freedom[both]]))
    open_ = np.abs(difference) <= half
    ahead = np.sign(difference) == np.sign(difference[-1])
    at, places = np.nan, np.flatnonzero(open_)
    if not ahead.all():
        before = int(np.flatnonzero(~ahead)[-1])
        share = difference[before] / (difference[before] - difference[before + 1])
        at = float(budget[before] + share * (budget[before + 1] - budget[before]))
        places = _run_around(open_, before)
    low = high = at
    if len(places):
        low = float(budget[places[0]]) if places[0] > 0 else np.nan
        high = float(budget[places[-1]]) if places[-1] < len(budget) - 1 else np.nan
    return Crossing(float(difference[0]), float(difference[-1]), at, low, high, not open_[-1])


def _half(errors_2B: np.ndarray, freedoms_2B: np.ndarray) -> np.ndarray:
    """Half the width (B) of Welch's (1947) interval of differences, with Satterthwaite's degrees of freedom."""
    variances = np.nan_to_num(errors_2B**2, posinf=1e100)
    freedoms = np.where(variances > 0, freedoms_2B, 1.0)
    total = variances.sum(axis=0)
    parts = (variances**2 / freedoms).sum(axis=0)
    freedom = np.divide(total**2, parts, out=np.ones_like(total), where=parts > 0)
    return np.asarray(_quantile(freedom) * np.sqrt(total))


def _run_around(open_: np.ndarray, before: int) -> np.ndarray:
    """The contiguous indices, around the change of sign between `before` and `before + 1`, at which the difference may
    be zero."""
    first, last = before, before + 1
    while first > 0 and open_[first - 1]:
        first -= 1
    while last < len(open_) - 1 and open_[last + 1]:
        last += 1
    return np.arange(first, last + 1)


def _weights(num_draws: int, num_trials_K: np.ndarray) -> np.ndarray:
    """(K, N): the share of subsets of k draws whose best is the i-th worst draw, C(i-1, k-1) / C(N, k)."""
    place_N, k = np.arange(1, num_draws + 1)[None], num_trials_K[:, None]

    def log_choose(n: np.ndarray | int, k: np.ndarray) -> np.ndarray:
        return special.gammaln(np.add(n, 1)) - special.gammaln(k + 1) - special.gammaln(np.maximum(n - k, 0) + 1)

    return np.where(place_N >= k, np.exp(log_choose(place_N - 1, k - 1) - log_choose(num_draws, k)), 0.0)


def _ratio(weights_KN: np.ndarray, worth_N: np.ndarray) -> np.ndarray:
    found = ~np.isnan(worth_N)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights_KN @ np.where(found, worth_N, 0.0)) / (weights_KN @ found.astype(float)))


def _leaving_one_out(worth_N: np.ndarray, num_trials_K: np.ndarray) -> np.ndarray:
    """`expected_best` (J, K) with one draw left out at a time."""
    weights_KN = _weights(len(worth_N) - 1, num_trials_K)
    return np.stack([_ratio(weights_KN, np.delete(worth_N, place)) for place in range(len(worth_N))])


def _with_unseen(worth_N: np.ndarray) -> np.ndarray:
    """The draws from worst to best, with one more at each end. It lies beyond the last draw by the distance that a
    twelfth of the draws (at least two) covers inside; next to draws without a result (NaN), it is NaN too.

    A sample says nothing about rarer draws, such as a best that only every third sample of this size contains: without
    the two extra draws, intervals were too narrow when the best draws happened to be alike. Only the error uses them,
    not the value. The distance was chosen by simulation (`benchmarks.budgets`).
    """
    within = max(2, len(worth_N) // 12)
    worst, best = worth_N[0], worth_N[-1]
    beyond = np.nan_to_num([worst - worth_N[within], best - worth_N[-1 - within]])
    return np.concatenate([[worst + beyond[0]], worth_N, [best + beyond[1]]])


def _or_unknown(error: np.ndarray) -> np.ndarray:
    """An error of zero comes from equal results, which say nothing about their spread: it becomes infinite."""
    return np.where(error == 0, np.inf, error)


def _steps(spent: np.ndarray, value: np.ndarray, budget_B: np.ndarray) -> np.ndarray:
    """The best score of a search by budget: NaN before its first result and after its end."""
    places = np.searchsorted(spent, budget_B * (1 + 1e-9), side="right") - 1
    return np.where((places >= 0) & (budget_B <= spent[-1] * (1 + 1e-9)), value[np.maximum(places, 0)], np.nan)


def _quantile(freedom: np.ndarray) -> np.ndarray:
    return np.asarray(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
