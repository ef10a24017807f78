"""Defines "better": the order of trials, and of repeated configurations.

A trial is anything with the attributes of `Scored`: a record, or a row of a frame. Unknown values are None.
"""

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from data.base.errors import UserError
from data.base.folding import Fold
from search.base.names import split_trial, trial_name
from search.base.schema import Outcome
from search.train.metrics import split_metric

RANKED = (Outcome.COMPLETE, Outcome.PRUNED)  # in this order
LOST = (Outcome.DIVERGED, Outcome.FAILED)  # a seed without a result

_PLACES = {outcome.value: place for place, outcome in enumerate(Outcome)}


class Scored(Protocol):
    """The attributes that decide which of two trials is better."""

    @property
    def architecture(self) -> str | None: ...
    @property
    def number(self) -> int | None: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def outcome(self) -> str | None: ...
    @property
    def score(self) -> float | None: ...
    @property
    def num_parameters(self) -> float | None: ...
    @property
    def search(self) -> str | None: ...
    @property
    def repeats(self) -> str | None: ...


class Named(Scored, Protocol):
    """The attributes of `Scored`, and those that identify the configuration."""

    @property
    def configuration(self) -> str | None: ...
    @property
    def fold(self) -> str | None: ...
    @property
    def name(self) -> str: ...


K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=Scored)
N = TypeVar("N", bound=Named)
Order = Callable[[Scored], tuple[Any, ...]]


def is_ranked(trial: Scored) -> bool:
    """Whether a trial has a place in a ranking: it completed or was pruned, and has a finite score."""
    return trial.outcome in RANKED and trial.score is not None and math.isfinite(trial.score)


def order(metric: str, among: Iterable[Scored] = ()) -> Order:
    """A key that sorts trials, the best first: complete ones before pruned ones, then by the metric in its direction,
    by fewer parameters, by architecture and by number. Unranked trials follow, by outcome, architecture and number.

    among: the trials to look for repeated configurations in. Trials that share a configuration are ranked by their
    common result (see `shared`), and among each other by score.
    """
    sign, common = _sign(metric), shared(among)

    def key(trial: Scored) -> tuple[Any, ...]:
        ranked = is_ranked(trial)
        place, score = _PLACES.get(trial.outcome or "", len(_PLACES)), trial.score or 0.0
        if ranked and (found := common.get(first_of(trial))):
            place, score = _PLACES[found.outcome], found.score
        return (
            not ranked,
            place,
            sign * score if ranked else 0.0,
            _or_last(trial.num_parameters) if ranked else 0.0,
            *_at_last(trial),
            sign * (trial.score or 0.0) if ranked else 0.0,
            _or_last(trial.number),
        )

    return key


class Shared(NamedTuple):
    """The common result of the trials of a configuration that was proposed more than once.

    score: the mean of all that are ranked. outcome: complete if all of them are, else pruned, so that a lost seed does
    not improve the result. trials: how many are ranked.
    """

    outcome: Outcome
    score: float
    trials: int


First = tuple[str | None, str | None, str | None]  # search, architecture and name of a configuration's first trial


def first_of(trial: Scored) -> First:
    """Identifies the first trial of this trial's configuration in its search."""
    number = trial.number
    name = None if trial.architecture is None or number is None else trial_name(trial.architecture, int(number))
    return trial.search, trial.architecture, trial.repeats or name


def shared(trials: Iterable[Scored]) -> dict[First, Shared]:
    """The common result of each repeated configuration's trials, by the first of them (see `first_of`)."""
    trials = list(trials)
    groups: dict[First, list[Scored]] = {first_of(trial): [] for trial in trials if trial.repeats is not None}
    for trial in trials if groups else ():
        if (first := first_of(trial)) in groups:
            groups[first].append(trial)
    results = {}
    for first, group in groups.items():
        if ranked := [trial for trial in group if is_ranked(trial)]:
            whole = not any(trial.outcome in (Outcome.PRUNED, *LOST) for trial in group)
            mean = fmean(trial.score or 0.0 for trial in ranked)
            results[first] = Shared(Outcome.COMPLETE if whole else Outcome.PRUNED, mean, len(ranked))
    return results


def _at_last(trial: Scored) -> tuple[Any, ...]:
    """Breaks ties: the architecture, and the number of the first trial of the configuration."""
    *_, first = first_of(trial)
    known = split_trial(first) if first else None
    return trial.architecture is None, trial.architecture or "", _or_last(known[1] if known else trial.number)


@dataclass(frozen=True)
class Configuration(Generic[K, T]):
    """The trials of one configuration, which differ only in their seeds.

    key: identifies it. trials: all of them. counting: the complete ones with a score, one for each seed. lost: those
    that diverged or failed, one for each seed that never completed.
    """

    key: K
    trials: list[T]
    counting: list[T]
    lost: list[T]

    @property
    def mean(self) -> float | None:
        """The mean score of the seeds that count."""
        return fmean(trial.score or 0.0 for trial in self.counting) if self.counting else None


def configurations(trials: Iterable[T], metric: str, key: Callable[[T], K | None]) -> list[Configuration[K, T]]:
    """The trials grouped by key (None: in no group), the best configuration first.

    A configuration that lost no seed comes before one that did, since the mean of the latter covers only the surviving
    seeds. Then they are ordered by the mean over the seeds that count, in the metric's direction, and by fewer
    parameters. Those without a seed that counts come last.
    """
    sign, better = _sign(metric), order(metric)
    groups: dict[K, list[T]] = {}
    for trial in trials:
        if (name := key(trial)) is not None:
            groups.setdefault(name, []).append(trial)

    def place(of: Configuration[K, T]) -> tuple[Any, ...]:
        return (
            of.mean is None,
            bool(of.lost),
            sign * (of.mean or 0.0),
            min(_or_last(trial.num_parameters) for trial in of.trials),
            min(map(better, of.trials))[-5:],  # by architecture and number of its best
        )

    return sorted((_configuration(name, group) for name, group in groups.items()), key=place)


def _configuration(key: K, trials: list[T]) -> Configuration[K, T]:
    complete = [trial for trial in trials if trial.outcome == Outcome.COMPLETE]
    done = {trial.seed for trial in complete} - {None}
    lost = [trial for trial in trials if trial.outcome in LOST and trial.seed not in done]
    return Configuration(key, trials, _each_seed_once(filter(is_ranked, complete)), _each_seed_once(lost))


def _each_seed_once(trials: Iterable[T]) -> list[T]:
    """The first trial of each seed, and all whose seed is unknown."""
    first: dict[Hashable, T] = {}
    for place, trial in enumerate(trials):
        first.setdefault(("unknown", place) if trial.seed is None else trial.seed, trial)
    return list(first.values())


def candidates(trials: Iterable[N], metric: str, origin: str | None = None) -> list[N]:
    """The ranked trials that could represent a search, in an export or an explanation, the first choice first.

    trials: those of the search, and those of other searches that repeat its configurations. origin: the id of the
    search itself. Repetitions on fresh seeds by other searches take precedence over its own, since those helped to
    choose its best configuration.

    The trials of the best repeated configuration come first (see `configurations`), then those of the next, and in the
    end all others; within each, by `order`. So a configuration is represented by its best repetition, whose score is
    optimistic, since one model has to be chosen.

    Where configurations were repeated over folds, the folds decide which is best, but the search's own trial represents
    it: a model of a fold has learned from fewer texts.
    """
    trials = list(trials)
    better = order(metric, trials)
    fresh = [trial for trial in trials if origin is not None and trial.search != origin]
    over_folds = of_most_folds(fresh)
    on_seeds = [trial for trial in fresh if not trial.fold]
    repeated = configurations(over_folds or on_seeds or trials, metric, configuration_of)
    counting = [of for of in repeated if of.counting]
    places = {id(trial): place for place, of in enumerate(counting) for trial in of.trials}
    if over_folds:
        own = {(trial.architecture, trial.name): id(trial) for trial in trials if trial.search == origin}
        places |= {own[of.key]: place for place, of in enumerate(counting) if of.key in own}
    standing = [trial for trial in trials if is_ranked(trial) and trial.fold is None]
    return sorted(standing, key=lambda trial: (places.get(id(trial), len(repeated)), better(trial)))


def of_most_folds(trials: Iterable[N]) -> list[N]:
    """The trials over the most informative number of folds: the one over which the most architectures have a
    configuration with a complete trial on every fold, and of several such numbers the greatest.

    While no configuration is complete, the trials over the greatest number of folds; but none if others were trained on
    fresh seeds.
    """
    trials = list(trials)
    done: dict[tuple[str | None, str | None, str | None], set[Fold]] = {}
    for trial in trials:
        if trial.fold and trial.outcome == Outcome.COMPLETE:
            done.setdefault((trial.architecture, trial.configuration, trial.search), set()).add(Fold.of(trial.fold))
    whole: dict[int, set[str | None]] = {}
    for (architecture, _, _), folds in done.items():
        for count in {fold.count for fold in folds}:
            if folds.issuperset(Fold.all(count)):
                whole.setdefault(count, set()).add(architecture)
    if not whole and not all(trial.fold for trial in trials):
        return []
    begun = {fold.count for folds in done.values() for fold in folds}
    most = max(begun, key=lambda count: (len(whole.get(count, ())), count), default=0)
    return [trial for trial in trials if trial.fold and Fold.of(trial.fold).count == most]


def best(trials: Iterable[N], metric: str, origin: str | None = None) -> N:
    """The first of the `candidates`. Raises UserError if there is none."""
    trials = list(trials)
    if ranking := candidates(trials, metric, origin):
        return ranking[0]
    if any(trial.fold for trial in trials):
        raise UserError("models of folds are trained for their scores alone; name the search that they confirm")
    raise UserError(f"none of the {len(trials)} trials has ended with a model and a {metric}")


def configuration_of(trial: Named) -> tuple[str, str] | None:
    """The architecture and the name of the configuration that a trial repeats; None if it repeats none."""
    if trial.architecture is None or trial.configuration is None:
        return None
    return trial.architecture, trial.configuration


def _sign(metric: str) -> int:
    return -1 if split_metric(metric)[1].maximize else 1


def _or_last(number: float | None) -> float:
    return math.inf if number is None else number
