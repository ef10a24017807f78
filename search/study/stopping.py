"""Which architectures need no more trials: `stop: decided`.

After Makarova et al. 2022, "Automatic Termination for Hyperparameter Optimization": a search ends when it can no longer
gain enough to matter. They bound the gain with the search's Gaussian process. Here an architecture's scores are treated
as draws from a normal distribution, which needs no model of its space and suits every sampler whose later draws are not
much better than its first. Variances are moderated as in Smyth 2004: a few scores say little about their spread, so the
variance of each architecture is pooled with a common one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

import numpy as np

from search.base.schema import Outcome
from search.study.trial import Trial

CHANCE = 0.05  # an architecture that is less likely to overtake gets no more trials
LEAST = 3  # an architecture with fewer scores is not judged
PRIOR = 8  # how many scores the common variance counts for; chosen by simulation, see docs/training.md
_POINTS, _FAR = 400, 12.0  # of the integral over gains, and its upper end, in scales

OVERTAKEN, NO_GAIN = "cannot overtake", "nothing to gain"
NO_ROOM = "nothing within the limits"  # decided by `search.study.limits`


@dataclass(frozen=True)
class Drawn:
    """The scores of an architecture's trials so far.

    scores: of whole trials, estimated for those that were pruned; higher is better. best: the best of the complete
    ones. left: trials of its budget that have not ended.
    """

    scores: Sequence[float]
    best: float | None
    left: int


@dataclass(frozen=True)
class Stop:
    """The decision that an architecture gets no more trials, with the reason: `OVERTAKEN`, `NO_GAIN` or `NO_ROOM`.

    trials, of: the numbers of trials given and planned. chance: the probability that one of those left would have
    beaten the best of the search. gain: by how much they would have raised it on average, in the metric's unit. time:
    in ms since 1970.
    """

    why: str
    chance: float
    gain: float
    trials: int = 0
    of: int = 0
    time: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def summary(self) -> str:
        """For people, after the architecture's name."""
        if self.why == NO_ROOM:
            return f"{self.trials} of {self.of} trials: nothing more was found within the limits"
        if self.why == OVERTAKEN:
            return f"{self.trials} of {self.of} trials by stop: decided ({self.chance:.1%} chance to overtake)"
        return f"{self.trials} of {self.of} trials by stop: decided (an expected gain of {self.gain:.2g})"


def drawn(trials: Sequence[Trial], sign: int, left: int) -> Drawn:
    """The scores of one architecture's trials. sign: 1 where higher is better, else -1.

    A pruned trial is assumed to have gained, after its last report, as much as the complete trials gained on average
    after the same report. Trials that diverged or failed have no score.
    """
    complete = [each for each in trials if each.outcome is Outcome.COMPLETE and each.score is not None]
    metric = complete[0].metric if complete else ""
    seeds: dict[str, list[float]] = {}
    for each in complete:
        seeds.setdefault(each.repeats or each.name, []).append(sign * (each.score or 0.0))
    scores = [fmean(seed_scores) for seed_scores in seeds.values()]
    best = max(scores, default=None)
    for each in trials:
        if complete and each.outcome is Outcome.PRUNED and each.score is not None:
            then = [(whole.score or 0.0) - _until(whole, each.step, metric) for whole in complete]
            scores.append(sign * (each.score + fmean(then)))
    return Drawn(scores, best, left)


def _until(trial: Trial, step: int, metric: str) -> float:
    """The trial's score at a report, or at its last one before it."""
    return next(result.best[metric] for result in reversed(trial.results) if result.step <= step or result.step == 1)


def decide(of: Mapping[str, Drawn], min_gain: float) -> dict[str, Stop]:
    """The architectures that need none of their remaining trials, and why.

    An architecture other than the leader is stopped when its chance of beating the leader's best score falls below
    `CHANCE`. All are stopped when the expected gains of those still running add up to less than `min_gain`.
    """
    bests = {name: each.best for name, each in of.items() if each.best is not None}
    if not bests:
        return {}
    leader = max(bests, key=bests.__getitem__)
    enough = {name: each for name, each in of.items() if len(each.scores) >= LEAST and each.best is not None}
    common = median(float(np.var(each.scores, ddof=1)) for each in enough.values()) if enough else 0.0
    stops, gains = {}, {}
    for name, each in enough.items():
        if not each.left:
            continue
        chance, gains[name] = prospects(each, bests[leader], common)
        if name != leader and chance < CHANCE:
            stops[name] = Stop(OVERTAKEN, chance, gains[name])
    open_ = [name for name, each in of.items() if each.left and name not in stops]
    if all(name in gains for name in open_) and sum(gains[name] for name in open_) < min_gain:
        stops |= {name: Stop(NO_GAIN, prospects(of[name], bests[leader], common)[0], gains[name]) for name in open_}
    return stops


def prospects(each: Drawn, best: float, common: float) -> tuple[float, float]:
    """The chance that any of the remaining trials beats `best`, and by how much they would raise it on average.

    A new score has a t distribution around the mean, with the moderated variance. common: the variance that the
    architectures have in common.
    """
    from scipy import stats

    num = len(each.scores)
    degrees = num - 1 + PRIOR
    variance = ((num - 1) * float(np.var(each.scores, ddof=1)) + PRIOR * common) / degrees
    scale = (variance * (1 + 1 / num)) ** 0.5
    mean = fmean(each.scores)
    if scale == 0.0:
        return float(mean > best), max(0.0, mean - best)
    levels = np.linspace(best, max(best, mean) + _FAR * scale, _POINTS)
    above = 1 - stats.t.cdf(levels, degrees, mean, scale) ** each.left
    return float(above[0]), float(np.trapezoid(above, levels))
