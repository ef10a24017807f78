"""Several objectives at once: which of some points are on the front, and in which order they come.

Points are compared by what their objectives declare (see `maximizes`). Ranks and crowding are those of NSGA-II (Deb et
al. 2002, "A fast and elitist multiobjective genetic algorithm"); costs are laid out on a logarithmic scale, as figures
draw them. Shapes: N points, M objectives.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from data.base.errors import UserError, choose
from search.base.record import Outcome
from search.study.ranking import Scored, is_ranked, order
from search.study.trial import Trial
from search.train.costs import COSTS
from search.train.length import Length
from search.train.metrics import split_metric
from search.train.training import Result

#: What may be asked for of a front.
ACCURACY, SMALL, KNEE = PREFER = ("accuracy", "small", "knee")

LEAST = 3  # finished trials, of those that stood worst at a report, that say what another may still reach

T = TypeVar("T", bound=Scored)
Values = Callable[[T], Sequence[float | None]]  # of a trial, by objective


def maximizes(objective: str) -> bool:
    return COSTS[objective].maximize if objective in COSTS else split_metric(objective)[1].maximize


def values(trial: Trial, objectives: Sequence[str]) -> list[float | None]:
    """What a trial has of each objective: a metric's is that of its best report."""
    return [trial.costs.get(name) if name in COSTS else trial.best.get(name) for name in objectives]


def losses(values_NM: Sequence[Sequence[float | None]], objectives: Sequence[str]) -> np.ndarray:
    """The values, (N, M), less is better; what is not known is infinitely bad."""
    signs_M = [-1.0 if maximizes(name) else 1.0 for name in objectives]
    rows = [[math.inf if v is None else s * v for v, s in zip(each, signs_M, strict=True)] for each in values_NM]
    return np.array(rows, dtype=float).reshape(-1, len(objectives))


def fronts(losses_NM: np.ndarray) -> np.ndarray:
    """Of each point the number of its front, (N,): 1 is dominated by none, 2 only by those of 1, and so on."""
    numbers_N, left_N = np.zeros(len(losses_NM), dtype=int), np.ones(len(losses_NM), dtype=bool)
    no_worse_NN = np.all(losses_NM[:, None] <= losses_NM[None], axis=2)
    dominates_NN = np.logical_and(no_worse_NN, np.any(losses_NM[:, None] < losses_NM[None], axis=2))
    number = 0
    while left_N.any():
        number += 1
        now_N = left_N & ~dominates_NN[left_N].any(axis=0)
        numbers_N[now_N] = number
        left_N &= ~now_N
    return numbers_N


def scaled(losses_NM: np.ndarray, objectives: Sequence[str]) -> np.ndarray:
    """Between 0, the best of these points, and 1, the worst, in each objective; costs by their logarithms."""
    laid_NM = losses_NM.copy()
    for place, name in enumerate(objectives):
        if name in COSTS:
            laid_NM[:, place] = np.log(np.maximum(laid_NM[:, place], 1e-12))
    known_NM = np.isfinite(laid_NM)
    low_M = laid_NM.min(axis=0, initial=np.inf, where=known_NM)
    high_M = laid_NM.max(axis=0, initial=-np.inf, where=known_NM)
    found_NM: np.ndarray = np.ones_like(laid_NM)  # what is not known
    np.subtract(laid_NM, low_M, out=found_NM, where=known_NM)
    np.divide(found_NM, np.where(high_M > low_M, high_M - low_M, 1.0), out=found_NM, where=known_NM)
    return found_NM


def crowding(scaled_NM: np.ndarray) -> np.ndarray:
    """How far the neighbours of each point of a front are apart, (N,): infinitely at its ends."""
    distances_N = np.zeros(len(scaled_NM))
    for column_N in scaled_NM.T:
        order_N = np.argsort(column_N, kind="stable")
        distances_N[order_N[[0, -1]]] = np.inf
        distances_N[order_N[1:-1]] += column_N[order_N[2:]] - column_N[order_N[:-2]]
    return distances_N


def ranked(trials: Iterable[T], objectives: Sequence[str], metric: str, of: Values[T]) -> list[tuple[T, int | None]]:
    """Trials, the best first, each with the number of its front: complete ones by front and, in one, those first that
    are least crowded; then the pruned ones and what is not ranked by `ranking.order`, which have none."""
    trials = sorted(trials, key=order(metric))
    complete = [trial for trial in trials if is_ranked(trial) and trial.outcome == Outcome.COMPLETE]
    if not complete:
        return [(trial, None) for trial in trials]
    losses_NM = losses([of(trial) for trial in complete], objectives)
    numbers_N, distances_N = fronts(losses_NM), np.zeros(len(complete))
    for number in set(numbers_N):
        own_N = numbers_N == number
        distances_N[own_N] = crowding(scaled(losses_NM[own_N], objectives))
    places = sorted(range(len(complete)), key=lambda place: (numbers_N[place], -distances_N[place], place))
    found: list[tuple[T, int | None]] = [(complete[place], int(numbers_N[place])) for place in places]
    known = {id(trial) for trial in complete}
    return found + [(trial, None) for trial in trials if id(trial) not in known]


def prefer(how: str, trials: Iterable[T], objectives: Sequence[str], metric: str, of: Values[T]) -> T:
    """One point of the front: `accuracy`, the best by the metric; `small`, that with the least of the first cost;
    `knee`, that which is farthest from the plane through the front's ends (Das 1999), where giving up a little of
    one objective no longer gains much of another.

    Raises UserError where nothing is on the front, or its search has no such objective.
    """
    choose("--prefer", how, PREFER)
    if not objectives:
        raise UserError(f"--prefer {how}: the search has one objective, {metric}, and no front; leave it out")
    front = [trial for trial, number in ranked(trials, objectives, metric, of) if number == 1]
    if not front:
        raise UserError("--prefer: there is no front yet, as no trial is complete")
    losses_NM = losses([of(trial) for trial in front], objectives)
    if how == KNEE:
        chosen = int(scaled(losses_NM, objectives).sum(axis=1).argmin())
        return front[chosen]
    costs = [place for place, name in enumerate(objectives) if name in COSTS]
    if how == SMALL and not costs:
        raise UserError(
            f"--prefer small: none of the objectives ({', '.join(objectives)}) is a cost; nearest: accuracy"
        )
    first = objectives.index(metric) if how == ACCURACY else costs[0]
    return front[min(range(len(front)), key=lambda place: (losses_NM[place, first], *losses_NM[place]))]


# --- What ends a trial early


def optimistic(
    trial: Trial, finished: Sequence[Trial], objectives: Sequence[str], length: Length
) -> list[float | None]:
    """What a trial may come to at best, by objective.

    finished: the complete trials of its architecture. Of a metric the best of this: what any of them came to that
    stood no better at the same report, or is among the `LEAST` that stood worst; and what the trial has, with what any
    of them gained from there that stood no worse, or is among the `LEAST` that stood best. Of the time of
    training: so many times what it has taken as the least of them took in all of what it had by this report (what comes
    before the first one may be long), or what it has taken if patience may end it. Other costs are known.
    """
    found: list[float | None] = []
    for name, now in zip(objectives, values(trial, objectives), strict=True):
        if now is None or name in COSTS:
            grows = name in COSTS and COSTS[name].column == "seconds" and length.patience is None
            found.append(now * _left(trial, finished, length) if now is not None and grows else now)
            continue
        sign = 1 if maximizes(name) else -1
        then = sorted((sign * _at(each, trial.step, name), sign * each.best[name]) for each in finished)
        below = [end for place, (stood, end) in enumerate(then) if stood <= sign * now or place < LEAST]
        gains = [
            end - stood for place, (stood, end) in enumerate(then, LEAST) if stood >= sign * now or place >= len(then)
        ]
        found.append(sign * max([sign * now, *below, *(sign * now + gain for gain in gains)]))
    return found


def _left(trial: Trial, finished: Sequence[Trial], length: Length) -> float:
    """How many times the seconds that a trial has taken it takes at least."""
    known = [each.seconds / seconds for each in finished if (seconds := _report(each, trial.step).seconds) > 0]
    return min(known, default=length.num_reports / max(1, trial.step))


def _report(trial: Trial, step: int) -> Result:
    """That of a step, or its last one before that."""
    return next(each for each in reversed(trial.results) if each.step <= step or each.step == 1)


def _at(trial: Trial, step: int, metric: str) -> float:
    return _report(trial, step).best[metric]


def hopeless(trial: Trial, finished: Sequence[Trial], objectives: Sequence[str], length: Length) -> bool:
    """Whether even an optimistic rest of a trial would not bring it to the front of its architecture: `pruner: front`.

    Multi-objective successive halving (Schmucker et al. 2021, "Multi-objective Asynchronous Successive Halving",
    arXiv:2106.12639) ends what is dominated by others at the same report. Here nothing ends by what it is halfway: a
    trial is compared with where others of its kind have come from there (see `optimistic`), as rules that predict
    learning curves do (Domhan et al. 2015); a small model that is worse than all large ones goes on.
    """
    if len(finished) < LEAST:
        return False
    (own_M,) = losses([optimistic(trial, finished, objectives, length)], objectives)
    others_NM = losses([values(each, objectives) for each in finished], objectives)
    return bool(((others_NM <= own_M).all(axis=1) & (others_NM < own_M).any(axis=1)).any())
