"""How good the best of so many trials is to be expected, from trials that are independent draws or repeated searches.

Shapes: N draws, K numbers of trials, J draws left out one at a time, S searches, B budgets.
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
    """What is to be expected at each of some budgets (B). NaN where nothing is known.

    error: its standard error, infinite where that is not known. freedom: the degrees of freedom of that error. Both NaN
    where the value is exact.
    """

    budget: np.ndarray
    value: np.ndarray
    error: np.ndarray
    freedom: np.ndarray

    @property
    def half(self) -> np.ndarray:
        """Half the width of the 95 % interval, by Student's t."""
        return _quantile(self.freedom) * self.error

    def at(self, budget: float) -> "Point | None":
        """What is to be expected at a budget, or at the largest that is known; None where it buys nothing known."""
        known = np.flatnonzero(~np.isnan(self.value))
        if not len(known) or budget < self.budget[known[0]] * (1 - 1e-9):
            return None
        value, error, freedom = (
            float(np.interp(budget, self.budget[known], each[known])) for each in (self.value, self.error, self.freedom)
        )
        return Point(value, error, freedom, bool(budget > self.budget[known[-1]] * (1 + 1e-9)))


class Point(NamedTuple):
    """A curve at a budget. beyond: it ends before, so at least this is to be expected."""

    value: float
    error: float
    freedom: float
    beyond: bool

    @property
    def half(self) -> float:
        """Half the width of the 95 % interval; 0 of what is exact."""
        return float(np.nan_to_num(_quantile(np.array(self.freedom)) * self.error))


def apart(one: Point, other: Point) -> bool:
    """Whether a difference is told from zero, by Welch's interval of 95 %."""
    half = _half(np.array([one.error, other.error])[:, None], np.array([one.freedom, other.freedom])[:, None])
    return bool(abs(one.value - other.value) > half[0])


def expected_best(scores_N: ArrayLike, num_trials_K: ArrayLike, worth_N: ArrayLike | None = None) -> np.ndarray:
    """The expected worth (K) of the best of so many independent trials, without bias (Tang et al. 2020): the mean over
    all subsets of the draws. Dodge et al. (2019) draw with replacement, which understates the best of many.

    scores_N: the draws from worst to best; NaN, which come first, for those without a result: then what is expected is
    conditional on any of the trials having one. worth_N: what is looked up of the best, such as its test score; by
    default its score. Trials can be at most as many as draws.
    """
    worth = np.asarray(scores_N if worth_N is None else worth_N, dtype=float)
    return _ratio(_weights(len(worth), np.asarray(num_trials_K)), worth)


def of_draws(
    scores_N: ArrayLike, budget_B: ArrayLike, cost_N: ArrayLike | None = None, worth_N: ArrayLike | None = None
) -> Curve:
    """`expected_best` at budgets with its error, up to half as many trials as there are draws.

    cost_N: of each draw; a budget then buys as many trials as their mean cost says, between whole trials linearly.
    Without it budgets are numbers of trials. The variance is the jackknife's (Efron and Stein 1981) of these draws and
    one more beyond each end (see `_with_unseen`), with as many degrees of freedom as 1.5 N / k groups of k trials
    leave: percentiles of a bootstrap cover 55 to 86 % at half of the draws, as they know no better draw than the best
    one (`benchmarks.budgets`).
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
        [np.interp(budget / each, num_trials, own) for each, own in zip(means_J, without_JK, strict=True)]
    )
    error = np.sqrt((1 - 1 / len(spread)) * ((values_JB - values_JB.mean(axis=0)) ** 2).sum(axis=0))
    freedom = np.clip(1.5 * num * mean / budget - 1, 1, num - 1)
    return Curve(budget, *(np.where(known, each, np.nan) for each in (value, _or_unknown(error), freedom)))


def of_searches(budgets: Sequence[ArrayLike], values: Sequence[ArrayLike], budget_B: ArrayLike) -> Curve:
    """What repeated searches had reached at budgets, on average; known where all of them had something, up to the
    budget of the shortest. With fewer than two searches there is no error.

    budgets, values: of each search, what had been spent at each of its trials' ends, rising, and what it had then (NaN:
    nothing yet).
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
    """Where one curve overtakes another.

    first, last: by how much the first curve is ahead at the least and at the largest budget that both know.
    at: the budget from which on the one that is ahead at last is so for good; NaN if it is so throughout. low, high:
    the budgets between which it may be, those at which the 95 % interval of the difference holds zero; NaN: beyond
    what is known. apart: whether the difference at the largest budget is told from zero.
    """

    first: float
    last: float
    at: float
    low: float
    high: float
    apart: bool


def crossing(one: Curve, other: Curve) -> Crossing | None:
    """Where two curves at the same budgets cross; None when there is no budget at which both are known."""
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
    """Half the width (B) of the interval of differences by Welch (1947), with Satterthwaite's degrees of freedom."""
    variances = np.nan_to_num(errors_2B**2, posinf=1e100)
    freedoms = np.where(variances > 0, freedoms_2B, 1.0)
    total = variances.sum(axis=0)
    parts = (variances**2 / freedoms).sum(axis=0)
    freedom = np.divide(total**2, parts, out=np.ones_like(total), where=parts > 0)
    return np.asarray(_quantile(freedom) * np.sqrt(total))


def _run_around(open_: np.ndarray, before: int) -> np.ndarray:
    """The places around a change of sign between `before` and the next one, at which the difference may be zero, with
    these two."""
    first, last = before, before + 1
    while first > 0 and open_[first - 1]:
        first -= 1
    while last < len(open_) - 1 and open_[last + 1]:
        last += 1
    return np.arange(first, last + 1)


def _weights(num_draws: int, num_trials_K: np.ndarray) -> np.ndarray:
    """(K, N): the share of all subsets of k draws whose best is the i-th from below, C(i-1, k-1) / C(N, k)."""
    place_N, k = np.arange(1, num_draws + 1)[None], num_trials_K[:, None]

    def log_choose(n: np.ndarray | int, k: np.ndarray) -> np.ndarray:
        return special.gammaln(np.add(n, 1)) - special.gammaln(k + 1) - special.gammaln(np.maximum(n - k, 0) + 1)

    return np.where(place_N >= k, np.exp(log_choose(place_N - 1, k - 1) - log_choose(num_draws, k)), 0.0)


def _ratio(weights_KN: np.ndarray, worth_N: np.ndarray) -> np.ndarray:
    found = ~np.isnan(worth_N)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights_KN @ np.where(found, worth_N, 0.0)) / (weights_KN @ found.astype(float)))


def _leaving_one_out(worth_N: np.ndarray, num_trials_K: np.ndarray) -> np.ndarray:
    """`expected_best` (J, K) without each of the draws."""
    weights_KN = _weights(len(worth_N) - 1, num_trials_K)
    return np.stack([_ratio(weights_KN, np.delete(worth_N, place)) for place in range(len(worth_N))])


def _with_unseen(worth_N: np.ndarray) -> np.ndarray:
    """The draws from worst to best with one more at each end, as far beyond it as a twelfth of them (at least two) take
    up within; of draws without a result (NaN) it is one more of these.

    Draws know nothing of rarer ones, such as a best that only every third sample of this size would hold: without
    these two, intervals were too narrow where the best ones happened to be alike. Only the error is of them; the value
    needs none. How far was chosen by simulation (`benchmarks.budgets`).
    """
    within = max(2, len(worth_N) // 12)
    worst, best = worth_N[0], worth_N[-1]
    beyond = np.nan_to_num([worst - worth_N[within], best - worth_N[-1 - within]])
    return np.concatenate([[worst + beyond[0]], worth_N, [best + beyond[1]]])


def _or_unknown(error: np.ndarray) -> np.ndarray:
    """Results that are all equal tell nothing of their spread: any error is possible."""
    return np.where(error == 0, np.inf, error)


def _steps(spent: np.ndarray, value: np.ndarray, budget_B: np.ndarray) -> np.ndarray:
    """What a search had at budgets: NaN before its first result, and after its end."""
    places = np.searchsorted(spent, budget_B * (1 + 1e-9), side="right") - 1
    return np.where((places >= 0) & (budget_B <= spent[-1] * (1 + 1e-9)), value[np.maximum(places, 0)], np.nan)


def _quantile(freedom: np.ndarray) -> np.ndarray:
    return np.asarray(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
