"""Is a network worth more than what anyone would use instead? What the best one gains over the best baseline.

Both are chosen on validation, by the metric of the search, and compared on the same test texts, in points of accuracy:
of that a paired interval is known, whatever they were chosen by. Of the networks only the one that was chosen is
compared: to look for another one that beats the baseline on test would be to choose there.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd

from analysis.base import pairs, runs
from analysis.base.baselines import baselines, is_baseline
from analysis.base.table import cell, heading
from analysis.boards.confirmation import Recorded, num_folds
from analysis.boards.leaderboard import RANK_BY
from analysis.verdicts.confusion_tables import same_of_all
from analysis.verdicts.differences import best_configurations, check_texts, correct, name_of
from data.base.errors import UserError
from models import ARCHITECTURES, WHOLE, Architecture, reads_embeddings, words_named
from search.base import record
from search.train.config import reads_texts

ACCURACY = "test_accuracy"
_NOT_KEPT = "no interval, since what they predicted is not kept"

Predictions = Mapping[str, pd.DataFrame | None]


@dataclass(frozen=True)
class Standing:
    """How a network stands against a baseline, each a configuration by the name of a trial.

    difference: its mean test accuracy minus the baseline's, in [-1, 1]. low, high: the 95 % interval of that over test
    texts, and seeds if there are several. What cannot be told is NaN, and `why` says why. seconds: of training, of
    each. seeds: how many of each.
    """

    network: str
    baseline: str
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    seconds: tuple[float, float] = (math.nan, math.nan)
    seeds: tuple[int, int] = (1, 1)
    why: str = ""

    @property
    def is_better(self) -> bool:
        """Whether the network is shown to be better; without an interval, whether it scored more."""
        return self.low > 0 or (math.isnan(self.low) and self.difference > 0)


@dataclass(frozen=True)
class Gain:
    """Which configuration is best of all on validation, and what the best network gains over the best baseline.

    best: its name, '' where nothing has run to its end. score: its mean of `rank_by` over its `seeds`.
    fresh: whether networks are taken from a confirmation. folds: over how many that is, if it is. noun: what the one
    that is compared is called. against: None without a network or without a baseline. same_words: against the best
    baseline that reads as many words as the network, where the best of all reads others and the network is not shown to
    be better. words: of a text that these two read, where that is not the same number. says: what the best says of
    every test text, if it is the same of all. fitted: on how many texts the baselines were, if not on all.
    """

    best: str = ""
    is_baseline: bool = False
    score: float = math.nan
    seeds: int = 1
    rank_by: str = RANK_BY
    fresh: bool = False
    folds: int = 0
    noun: str = "network"
    against: Standing | None = None
    same_words: Standing | None = None
    words: tuple[int, int] | None = None
    says: str = ""
    fitted: str = ""

    def __str__(self) -> str:
        return self.sentence

    @property
    def sentence(self) -> str:
        """All of it in words, in a sentence or two; '' where nothing has run to its end."""
        if not self.best:
            return ""
        warning = f" It tells nothing apart: {self.best} {self.says}." if self.says else ""
        return self._verdict + f" {self.fitted}." * bool(self.fitted) + warning

    @property
    def _verdict(self) -> str:
        mean = f", mean of {self.seeds}{' fresh' * self.fresh} seeds," if self.seeds > 1 else ""
        mean = f", mean over {self.folds} folds," if self.folds else mean
        first = f"Best of all by {heading(self.rank_by)}{mean} is {self.best}{', a baseline' * self.is_baseline}"
        first += f" ({cell(self.rank_by, self.score)})"
        if self.against is None:
            return f"{first}; no {self.noun} has run to its end." if self.is_baseline else f"{first}."
        surprising = self.against.is_better == self.is_baseline  # validation said otherwise
        so = ", but" if surprising else ";" if self.is_baseline else ":"
        sentence = f"{first}{so} {self._stands(self.against)}, {self._cost(self.against)}."
        if self.same_words is None:
            return sentence
        return f"{sentence} {self._on_words(self.same_words)} {self._stands(self.same_words)}."

    def _on_words(self, to: Standing) -> str:
        if self.words is None:
            return "On the same words"
        own, others = self.words
        return f"With {own:,} words of a text for {to.network} and {others:,} for {to.baseline},"

    def _stands(self, to: Standing) -> str:
        if math.isnan(to.difference):
            return f"what {to.network} gains over {to.baseline} is not known ({to.why})"
        if to.is_better:
            return f"{to.network} gains {self._points(to, 1)} over {to.baseline} on these texts"
        if to.difference >= 0:
            return (
                f"{to.network} cannot be told apart from {to.baseline} on these texts: it gains {self._points(to, 1)}"
            )
        loses = f"no {self.noun} beats {to.baseline} on these texts: {to.network} loses {self._points(to, -1)}"
        return f"{loses} and cannot be told apart from it" if to.high >= 0 else loses

    def _points(self, to: Standing, sign: int) -> str:
        """A gain, or (-1) a loss: '1.2 points (0.3 to 2.1)'."""
        digits = 2 if to.high - to.low < 0.005 else 1
        bounds = sorted((sign * to.low, sign * to.high))
        value, low, high = (f"{round(100 * each, digits) + 0.0:.{digits}f}" for each in (sign * to.difference, *bounds))
        of = "" if self.rank_by == RANK_BY else " of accuracy"
        return f"{value} points{of} ({f'{low} to {high}' if not to.why else to.why})"

    def _cost(self, to: Standing) -> str:
        own, others = to.seconds
        seeds = f"{to.seeds[0]}{' fresh' * self.fresh} seeds of {to.network}, {to.seeds[1]} of {to.baseline}"
        models = seeds if max(to.seeds) > 1 else "two models, one seed"
        models = f"on each of {self.folds} folds" if self.folds else models
        if not (own > 0 and others > 0):
            return f"for a training time that is not known ({models})"
        ratio = own / others
        times = f"{ratio:.0%} of" if ratio < 0.95 else f"{ratio:,.0f} times" if ratio >= 9.5 else f"{ratio:.2g} times"
        return f"for {times} the training time ({_seconds(own)} against {_seconds(others)}; {models})"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 9.5 else f"{seconds:.2g} s"


# --- From what is on record


class Chosen(NamedTuple):
    """Whom the verdict is about, by architecture: None where there is nobody."""

    network: str | None
    baseline: str | None
    same_words: str | None  # the best baseline on as many words as the network, where the best of all reads others


def choose(best: Mapping[str, pd.DataFrame], words_of: Callable[[str], int] | None = None) -> Chosen:
    """best: the trials of architectures and baselines with a result, the best first. words_of: see `gain`.

    Where no baseline reads as many words as the network, the best that does not read whole texts comes nearest.
    """
    others = [name for name, own in best.items() if is_baseline(own)]
    network = next((name for name in best if name not in others), None)
    cut = [name for name in others if words_named(name) != WHOLE and not reads_embeddings(name)]
    same = [name for name in others if words_of and network and words_of(name) == words_of(network)]
    nearest, baseline = next(iter(same or cut), None), next(iter(others), None)
    return Chosen(network, baseline, None if nearest == baseline else nearest)


def gain(
    best: Mapping[str, pd.DataFrame],
    predictions: Predictions,
    rank_by: str = RANK_BY,
    *,
    fresh: bool = False,
    words_of: Callable[[str], int] | None = None,
) -> Gain:
    """best: the trials of each architecture's and baseline's best configuration, the best one first (see
    `best_configurations`). predictions: by run id (see `runs.read_predictions`), None or missing where they are not
    kept. fresh: whether the networks' trials are of a confirmation. words_of: how many words of a text an architecture
    or baseline reads; without it all that do not read whole texts are taken to read the same."""
    network, baseline, same_words = choose(best, words_of)
    first = next(iter(best), None)
    if first is None:
        return Gain(rank_by=rank_by)
    found = Gain(name_of(best[first]), is_baseline(best[first]), best[first][rank_by].mean(), len(best[first]), rank_by)
    found = replace(found, fresh=fresh, noun=_noun(network), says=_says(best[first], predictions))
    found = replace(found, folds=num_folds(best[first]))
    if network is None or baseline is None:
        return found
    against = _standing(best[network], best[baseline], predictions)
    if same_words is None or against.is_better:
        return replace(found, against=against)
    found = replace(found, against=against, same_words=_standing(best[network], best[same_words], predictions))
    words = None if words_of is None else (words_of(network), words_of(same_words))
    return found if words is None or len(set(words)) == 1 else replace(found, words=words)


def _says(own: pd.DataFrame, predictions: Predictions) -> str:
    """What all trials of a configuration say of every test text; '' unless it is the same."""
    said = {same_of_all(predictions.get(run_id)) for run_id in own["run_id"]}
    return said.pop() if len(said) == 1 else ""


def _noun(network: str | None) -> str:
    """What a reader would call it: a pipeline from outside is no network."""
    made = ARCHITECTURES.get(network or "")
    return "network" if made is None or made.learner == Architecture.learner else "searched model"


def _standing(network: pd.DataFrame, baseline: pd.DataFrame, predictions: Predictions) -> Standing:
    both = [network, baseline]
    mine, theirs = (each[ACCURACY].mean() for each in both)
    seconds, seeds = (
        (float(network["seconds"].mean()), float(baseline["seconds"].mean())),
        (len(network), len(baseline)),
    )
    found = Standing(name_of(network), name_of(baseline), mine - theirs, seconds=seconds, seeds=seeds)
    if math.isnan(found.difference):
        return replace(found, why="no test accuracy is on record")
    kept = {run_id: predictions.get(run_id) for each in both for run_id in each["run_id"]}
    known = {run_id: each for run_id, each in kept.items() if each is not None}
    if len(known) < len(kept):
        return replace(found, why=_NOT_KEPT)
    try:
        check_texts({found.network: network, found.baseline: baseline}, known)
    except UserError as error:
        return replace(found, difference=math.nan, why=str(error))
    samples = [pairs.sample(pairs.Models(correct(each, known), 0, is_baseline(each))) for each in both]
    interval = pairs.gap(*samples).interval()
    return replace(found, difference=interval.value, low=interval.low, high=interval.high)


def read(uri: str, recorded: Recorded, rank_by: str = RANK_BY) -> Gain:
    """The verdict on a search, over the fresh seeds of its confirmations where there are any.

    Raises UserError when MLflow cannot be read.
    """
    fresh = len(recorded.repeated) > 0 and bool(best_configurations(recorded.repeated, rank_by))
    pool = recorded.trials
    if recorded.folds:
        pool = recorded.repeated  # and with it the baselines, over the same folds
    elif fresh:
        pool = pd.concat([baselines(recorded.trials), recorded.repeated], ignore_index=True)
    best = best_configurations(pool, rank_by)
    spec = recorded.origin.spec if any(map(is_baseline, best.values())) else None  # to read it takes a moment
    words_of = spec.words_of if spec else None
    chosen = choose(best, words_of)
    run_ids = [run_id for name in chosen if name for run_id in best[name]["run_id"]]
    predictions = {run_id: runs.read_predictions(uri, run_id) for run_id in run_ids}
    found = gain(best, predictions, rank_by, fresh=fresh, words_of=words_of)
    told = [chosen.baseline, chosen.same_words if found.same_words else None]
    return replace(found, fitted=_fitted([name for name in told if name], recorded.origin.metrics))


def _fitted(names: Sequence[str], metrics: Mapping[str, float]) -> str:
    """That these baselines have not learned from all texts. metrics: of their search."""
    names = [name for name in names if reads_texts(name)]
    if not names or record.NUM_FITTED not in metrics:
        return ""
    fitted, total = (f"{metrics[name]:,.0f}" for name in (record.NUM_FITTED, record.NUM_TRAIN))
    return f"{' and '.join(names)} {'were' if len(names) > 1 else 'was'} fitted on {fitted} of {total} texts"
