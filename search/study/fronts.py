"""Several objectives: which trials are on the Pareto front, how trials are ranked, and which ones end early.

Every objective declares its direction (see `maximizes`). Ranks and crowding distances are those of NSGA-II (Deb et al.
2002, "A fast and elitist multiobjective genetic algorithm"); costs are compared on a logarithmic scale, as in figures.
Shapes: N points, M objectives.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from data.base.errors import UserError, choose
from search.base.schema import Outcome
from search.study.ranking import Scored, is_ranked, order
from search.study.trial import Trial
from search.train.costs import COSTS
from search.train.length import Length
from search.train.metrics import split_metric
from search.train.training import Result

#: Preferred points of a front: see `prefer`.
ACCURACY, SMALL, KNEE = PREFER = ("accuracy", "small", "knee")

LEAST = 3  # minimum number of finished trials for an optimistic continuation

T = TypeVar("T", bound=Scored)
Values = Callable[[T], Sequence[float | None]]  # a trial -> its value of each objective


def maximizes(objective: str) -> bool:
    return COSTS[objective].maximize if objective in COSTS else split_metric(objective)[1].maximize


def values(trial: Trial, objectives: Sequence[str]) -> list[float | None]:
    """A trial's value of each objective; that of a metric comes from its best report."""
    return [trial.costs.get(name) if name in COSTS else trial.best.get(name) for name in objectives]


def losses(values_NM: Sequence[Sequence[float | None]], objectives: Sequence[str]) -> np.ndarray:
    """The values as losses, (N, M): lower is better, and an unknown value is infinite."""
    signs_M = [-1.0 if maximizes(name) else 1.0 for name in objectives]
    rows = [[math.inf if v is None else s * v for v, s in zip(each, signs_M, strict=True)] for each in values_NM]
    return np.array(rows, dtype=float).reshape(-1, len(objectives))


def fronts(losses_NM: np.ndarray) -> np.ndarray:
    """The number of each point's front, (N,): 1 is not dominated, 2 only by points of front 1, and so on."""
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
    """Losses scaled to [0, 1] in each objective, from the best point to the worst; costs by their logarithms."""
    laid_NM = losses_NM.copy()
    for place, name in enumerate(objectives):
        if name in COSTS:
            laid_NM[:, place] = np.log(np.maximum(laid_NM[:, place], 1e-12))
    known_NM = np.isfinite(laid_NM)
    low_M = laid_NM.min(axis=0, initial=np.inf, where=known_NM)
    high_M = laid_NM.max(axis=0, initial=-np.inf, where=known_NM)
    scaled_NM: np.ndarray = np.ones_like(laid_NM)  # 1 for unknown values
    np.subtract(laid_NM, low_M, out=scaled_NM, where=known_NM)
    np.divide(scaled_NM, np.where(high_M > low_M, high_M - low_M, 1.0), out=scaled_NM, where=known_NM)
    return scaled_NM


def crowding(scaled_NM: np.ndarray) -> np.ndarray:
    """The crowding distance of each point of a front, (N,), infinite at its ends."""
    distances_N = np.zeros(len(scaled_NM))
    for column_N in scaled_NM.T:
        order_N = np.argsort(column_N, kind="stable")
        distances_N[order_N[[0, -1]]] = np.inf
        distances_N[order_N[1:-1]] += column_N[order_N[2:]] - column_N[order_N[:-2]]
    return distances_N


def ranked(trials: Iterable[T], objectives: Sequence[str], metric: str, of: Values[T]) -> list[tuple[T, int | None]]:
    """Trials, the best first, each with the number of its front. Complete ones come first, by front and then by
    decreasing crowding distance; the others follow in the order of `ranking.order` and have no front (None)."""
    trials = sorted(trials, key=order(metric))
    complete = [trial for trial in trials if is_ranked(trial) and trial.outcome == Outcome.COMPLETE]
    if not complete:
        return [(trial, None) for trial in trials]
    losses_NM = losses([of(trial) for trial in complete], objectives)
    numbers_N, distances_N = fronts(losses_NM), np.zeros(len(complete))
    for number in set(numbers_N):
        in_front_N = numbers_N == number
        distances_N[in_front_N] = crowding(scaled(losses_NM[in_front_N], objectives))
    places = sorted(range(len(complete)), key=lambda place: (numbers_N[place], -distances_N[place], place))
    ranking: list[tuple[T, int | None]] = [(complete[place], int(numbers_N[place])) for place in places]
    known = {id(trial) for trial in complete}
    return ranking + [(trial, None) for trial in trials if id(trial) not in known]


def prefer(how: str, trials: Iterable[T], objectives: Sequence[str], metric: str, of: Values[T]) -> T:
    """One point of the front: `accuracy`, the best by the metric; `small`, the lowest first cost; `knee`, the farthest
    from the plane through the ends of the front (Das 1999), beyond which giving up a little of one objective no longer
    gains much of another.

    Raises UserError if the front is empty, or the search has no such objective.
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
    """The best values that a trial may still reach, by objective.

    finished: the complete trials of its architecture. For a metric, the best of the final scores of trials that were no
    better at the same report (or among the `LEAST` worst there), and of the trial's score plus the later gains of
    trials that were no worse there (or among the `LEAST` best). For the training time, the time so far multiplied by
    the lowest ratio of total time to time at this report among them, since the time before the first report may be
    long; the time so far if patience may end the trial. Other costs are known.
    """
    reachable: list[float | None] = []
    for name, now in zip(objectives, values(trial, objectives), strict=True):
        if now is None or name in COSTS:
            grows = name in COSTS and COSTS[name].column == "seconds" and length.patience is None
            reachable.append(now * _left(trial, finished, length) if now is not None and grows else now)
            continue
        sign = 1 if maximizes(name) else -1
        then = sorted((sign * _at(each, trial.step, name), sign * each.best[name]) for each in finished)
        below = [end for place, (stood, end) in enumerate(then) if stood <= sign * now or place < LEAST]
        gains = [
            end - stood for place, (stood, end) in enumerate(then, LEAST) if stood >= sign * now or place >= len(then)
        ]
        reachable.append(sign * max([sign * now, *below, *(sign * now + gain for gain in gains)]))
    return reachable


def _left(trial: Trial, finished: Sequence[Trial], length: Length) -> float:
    """The least total time of a trial, as a multiple of its time so far."""
    known = [each.seconds / seconds for each in finished if (seconds := _report(each, trial.step).seconds) > 0]
    return min(known, default=length.num_reports / max(1, trial.step))


def _report(trial: Trial, step: int) -> Result:
    """The result of a step, or the last one before it."""
    return next(each for each in reversed(trial.results) if each.step <= step or each.step == 1)


def _at(trial: Trial, step: int, metric: str) -> float:
    return _report(trial, step).best[metric]


def hopeless(trial: Trial, finished: Sequence[Trial], objectives: Sequence[str], length: Length) -> bool:
    """Whether even an optimistic continuation would not bring a trial to its architecture's front: `pruner: front`.

    Multi-objective successive halving (Schmucker et al. 2021, "Multi-objective Asynchronous Successive Halving",
    arXiv:2106.12639) ends trials that are dominated at the same report. Here a trial is judged by what finished trials
    reached from the same point (see `optimistic`), as rules that predict learning curves do (Domhan et al. 2015). A
    small model that is worse than all large ones goes on.
    """
    if len(finished) < LEAST:
        return False
    (trial_M,) = losses([optimistic(trial, finished, objectives, length)], objectives)
    others_NM = losses([values(each, objectives) for each in finished], objectives)
    return bool(((others_NM <= trial_M).all(axis=1) & (others_NM < trial_M).any(axis=1)).any())
