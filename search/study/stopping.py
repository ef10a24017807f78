"""Which architectures need no more trials: `stop: decided`.

After Makarova et al. 2022, "Automatic Termination for Hyperparameter Optimization": a search ends when what it could
still gain is less than what matters. Theirs bounds the gain by the search's Gaussian process; here an architecture's
scores are taken for draws from a normal distribution, which needs no model of its space and holds for every sampler
whose later draws are not much better than its first. Variances are moderated as in Smyth 2004: a few scores tell little
of their spread, so each counts together with what is common to the architectures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

import numpy as np

from search.base.record import Outcome
from search.study.trial import Trial

CHANCE = 0.05  # an architecture that is less likely to overtake gets no more trials
LEAST = 3  # scores of an architecture, before which nothing is said of it
PRIOR = 8  # scores that the common variance counts as; chosen by simulation, see docs/training.md
_POINTS, _FAR = 400, 12.0  # of the integral over a gain, and how many scales it goes up

OVERTAKEN, NO_GAIN = "cannot overtake", "nothing to gain"
NO_ROOM = "nothing within the limits"  # decided by `search.study.limits`


@dataclass(frozen=True)
class Drawn:
    """What the trials of an architecture came to. scores: estimates of those of whole trials, more is better.

    best: of the complete ones. left: trials of its budget that have not ended.
    """

    scores: Sequence[float]
    best: float | None
    left: int


@dataclass(frozen=True)
class Stop:
    """That an architecture gets no more trials, and why: `OVERTAKEN`, `NO_GAIN` or `NO_ROOM`.

    trials: how many it had been given, of so many. chance: that one of those left had been better than the best of the
    search; gain: by how much they would have raised it on average, in the metric's unit. time: in ms since 1970.
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
    """What the trials of one architecture came to. sign: 1 where more is better, else -1.

    What the pruner ended would have gained after its last report, on average, what the complete trials gained after
    theirs of that number. Those that diverged or failed have no score.
    """
    complete = [each for each in trials if each.outcome is Outcome.COMPLETE and each.score is not None]
    metric = complete[0].metric if complete else ""
    seeds: dict[str, list[float]] = {}
    for each in complete:
        seeds.setdefault(each.repeats or each.name, []).append(sign * (each.score or 0.0))
    scores = [fmean(own) for own in seeds.values()]
    best = max(scores, default=None)
    for each in trials:
        if complete and each.outcome is Outcome.PRUNED and each.score is not None:
            then = [(whole.score or 0.0) - _until(whole, each.step, metric) for whole in complete]
            scores.append(sign * (each.score + fmean(then)))
    return Drawn(scores, best, left)


def _until(trial: Trial, step: int, metric: str) -> float:
    """Its score at a report, or at its last one before that."""
    return next(result.best[metric] for result in reversed(trial.results) if result.step <= step or result.step == 1)


def decide(of: Mapping[str, Drawn], min_gain: float) -> dict[str, Stop]:
    """The architectures that need no more of the trials that they have left, and why.

    All but the one that leads are stopped when their chance to be better than it is at the end is under `CHANCE`; all
    when what those that go on would raise the best score by, added up, is under `min_gain`.
    """
    bests = {name: each.best for name, each in of.items() if each.best is not None}
    if not bests:
        return {}
    leader = max(bests, key=bests.__getitem__)
    enough = {name: each for name, each in of.items() if len(each.scores) >= LEAST and each.best is not None}
    common = median(float(np.var(each.scores, ddof=1)) for each in enough.values()) if enough else 0.0
    found, gains = {}, {}
    for name, each in enough.items():
        if not each.left:
            continue
        chance, gains[name] = prospects(each, bests[leader], common)
        if name != leader and chance < CHANCE:
            found[name] = Stop(OVERTAKEN, chance, gains[name])
    open_ = [name for name, each in of.items() if each.left and name not in found]
    if all(name in gains for name in open_) and sum(gains[name] for name in open_) < min_gain:
        found |= {name: Stop(NO_GAIN, prospects(of[name], bests[leader], common)[0], gains[name]) for name in open_}
    return found


def prospects(each: Drawn, best: float, common: float) -> tuple[float, float]:
    """The chance that any of the trials left is better than `best`, and by how much they would raise it on average.

    A new score has a t distribution around the mean, of the moderated variance; common: that of the architectures.
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
