"""The verdict on a search: what won, its gain over the best baseline, how sure that is, and what to run next.

Network and baseline are chosen on validation, by the metric of the search, and compared on the same test texts, in
points of accuracy, for which there is a paired interval. Only the one network chosen on validation is compared: looking
for another that beats the baseline on test would be choosing on test.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd

from analysis.base import pairs, runs
from analysis.base.baselines import baselines, is_baseline
from analysis.base.table import cell, in_prose
from analysis.boards.confirmation import Recorded, num_folds
from analysis.boards.leaderboard import RANK_BY
from analysis.verdicts.confusion_tables import same_of_all
from analysis.verdicts.differences import best_configurations, check_texts, correct, name_of
from data.base.errors import UserError
from models import ARCHITECTURES, WHOLE, Architecture, reads_embeddings, words_named
from search.base import schema
from search.base.schema import Outcome
from search.train.config import reads_texts

ACCURACY = "test_accuracy"
_NOT_KEPT = "the predictions were not kept"

Predictions = Mapping[str, pd.DataFrame | None]


@dataclass(frozen=True)
class Standing:
    """A network compared with a baseline; both are configurations, named after a trial.

    difference: mean test accuracy of the network minus that of the baseline, in [-1, 1]. low, high: its 95 % interval
    over test texts, and over seeds if there are several. Unknown numbers are NaN, and `why` says why. seconds: training
    time of network and baseline. seeds: number of models of each.
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
        """Whether the network is shown to be better; without an interval, whether its accuracy is higher."""
        return self.low > 0 or (math.isnan(self.low) and self.difference > 0)

    @property
    def is_open(self) -> bool:
        """Whether it is unknown which is better."""
        return not (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Gain:
    """The verdict on a search; `answers` has it in words.

    best: the configuration that is best on validation, '' if no trial is complete. architecture: of it. score: its mean
    of `rank_by` over its `seeds`. fresh: whether networks are taken from a confirmation. folds: number of folds of that
    confirmation, 0 for none. noun: what to call the compared model. against: the best network compared with the best
    baseline; None if either is missing. same_words: the network compared with the best baseline that reads as many
    words, if the best of all reads others and the network is not shown to be better. words: the number of words that
    these two read, if they differ. says: what the best model predicts, as a clause, if it predicts the same for every
    test text. fitted: how many texts the baselines were fitted on, if not all. search: id. outcome: of the search.
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
    architecture: str = ""
    search: str = ""
    outcome: str | None = Outcome.COMPLETE.value

    def __str__(self) -> str:
        return self.sentence

    @property
    def sentence(self) -> str:
        """What won, the gain, and how sure it is; '' if no trial is complete."""
        return " ".join(text for _, text in self.answers[:-1]) if self.best else ""

    @property
    def answers(self) -> list[tuple[str, str]]:
        """The four questions of a reader, each with its answer: leaderboards and the report page begin with them."""
        return [
            ("What won", self._won),
            ("Gain over the baseline", self._gain),
            ("How sure", self._sure),
            ("What to run next", self._next),
        ]

    @property
    def _won(self) -> str:
        if not self.best:
            return "Nothing yet: no trial is complete."
        mean = f", mean of {self.seeds}{' fresh' * self.fresh} seeds," if self.seeds > 1 else ""
        mean = f", mean over {self.folds} folds," if self.folds else mean
        won = f"Best of all by {in_prose(self.rank_by)}{mean} is {self.best}{', a baseline' * self.is_baseline}"
        won += f" ({cell(self.rank_by, self.score)})."
        return f"{won} It does not distinguish the classes: it {self.says}." if self.says else won

    @property
    def _gain(self) -> str:
        if self.against is None:
            return f"Unknown: no {self.noun} is complete." if self.is_baseline else "Unknown: no baseline is complete."
        if math.isnan(self.against.difference):
            return f"Unknown for {self.against.network} and {self.against.baseline}: {self.against.why}."
        gain = f"{self._stands(self.against, 'the best baseline, ')}{self._cost(self.against)}."
        if self.same_words is not None:
            gain += (
                f" {self._on_words(self.same_words)} {self._stands(self.same_words)}{self._bounds(self.same_words)}."
            )
        return gain + (f" {self.fitted}." if self.fitted else "")

    def _on_words(self, to: Standing) -> str:
        if self.words is None:
            return "On the same words,"
        of_network, of_baseline = self.words
        return f"With {of_network:,} words of a text for {to.network} and {of_baseline:,} for {to.baseline},"

    def _stands(self, to: Standing, which: str = "") -> str:
        points = f"{_points(abs(to.difference), to)} of test accuracy"
        network = f"{to.network}, the best {self.noun}," if self.is_baseline and which else to.network
        if to.difference >= 0:
            return f"{network} gains {points} over {which}{to.baseline}"
        return f"{network} loses {points} against {which}{to.baseline}"

    def _bounds(self, to: Standing) -> str:
        return "" if math.isnan(to.low) else f" (95 % interval {_points(to.low, to, '')} to {_points(to.high, to)})"

    def _cost(self, to: Standing) -> str:
        of_network, of_baseline = to.seconds
        if not (of_network > 0 and of_baseline > 0):
            return ", for an unknown training time"
        ratio = of_network / of_baseline
        times = f"{ratio:.0%} of" if ratio < 0.95 else f"{ratio:,.0f} times" if ratio >= 9.5 else f"{ratio:.2g} times"
        return f", for {times} the training time ({_seconds(of_network)} against {_seconds(of_baseline)})"

    @property
    def _sure(self) -> str:
        to = self.against
        if not self.best:
            return "Unknown."
        if to is None:
            return "One model with one seed: small differences can be luck." if self.seeds < 2 else "Unknown."
        if math.isnan(to.difference):
            return "Unknown."
        if math.isnan(to.low):
            return f"Unknown: {to.why}."
        interval = f"the 95 % interval of the gain is {_points(to.low, to, '')} to {_points(to.high, to)}"
        verdict = f"Not sure: {to.network} and {to.baseline} do not differ significantly; {interval}"
        if to.low > 0:
            verdict = f"The gain is significant on these test texts: {interval}"
        elif to.high < 0:
            interval = f"the 95 % interval of the loss is {_points(-to.high, to, '')} to {_points(-to.low, to)}"
            verdict = f"The loss is significant on these test texts: {interval}"
        seeds = f"{to.seeds[0]}{' fresh' * self.fresh} seeds of {to.network}, {to.seeds[1]} of {to.baseline}"
        models = seeds if max(to.seeds) > 1 else "two models with one seed each; other seeds can change it"
        return f"{verdict} ({f'both on each of {self.folds} folds' if self.folds else models})."

    @property
    def _next(self) -> str:
        if self.outcome not in (Outcome.COMPLETE.value, Outcome.FAILED.value):
            return f"python -m search resume {self.search} (the search is not finished)"
        if not self.best:
            return f"python -m analysis leaderboard {self.search} (says why no trial is complete)"
        if not self.fresh:
            return f"python -m search confirm {self.search} (trains the best of each architecture on fresh seeds)"
        if self.against and self.against.is_open and not self.folds:
            return f"python -m search confirm {self.search} --until-decided (adds seeds until the difference is clear)"
        of = f" --architecture {self.architecture}" if self.is_baseline else ""
        return f"python -m search export {self.search}{of} (registers the model, ready to predict)"


def _points(accuracy: float, to: Standing, unit: str = " points") -> str:
    """'1.2 points', with two decimals where the interval is narrower than half a point."""
    digits = 2 if to.high - to.low < 0.005 else 1
    return f"{round(100 * accuracy, digits) + 0.0:.{digits}f}{unit}"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 9.5 else f"{seconds:.2g} s"


# --- From recorded searches


class Chosen(NamedTuple):
    """The architectures that the verdict compares; None where there is none."""

    network: str | None
    baseline: str | None
    same_words: str | None  # the best baseline on as many words as the network, if `baseline` reads others


def choose(best: Mapping[str, pd.DataFrame], words_of: Callable[[str], int] | None = None) -> Chosen:
    """Choose what to compare. best: the trials of architectures and baselines with a result, the best first. words_of:
    see `gain`.

    If no baseline reads as many words as the network, `same_words` is the best one that does not read whole texts.
    """
    others = [name for name, repeats in best.items() if is_baseline(repeats)]
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
    """The verdict, from trials and predictions.

    best: the trials of every architecture's and baseline's best configuration, the best one first (see
    `best_configurations`). predictions: by run id (see `runs.read_predictions`), None or missing if not kept. fresh:
    whether the networks' trials are of a confirmation. words_of: the number of words that an architecture or baseline
    reads; without it, all that do not read whole texts are assumed to read equally many.
    """
    network, baseline, same_words = choose(best, words_of)
    first = next(iter(best), None)
    if first is None:
        return Gain(rank_by=rank_by)
    found = Gain(name_of(best[first]), is_baseline(best[first]), best[first][rank_by].mean(), len(best[first]), rank_by)
    found = replace(found, architecture=first)
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


def _says(repeats: pd.DataFrame, predictions: Predictions) -> str:
    """A clause on the prediction that all trials of a configuration make for every test text; '' if predictions
    differ."""
    clauses = {same_of_all(predictions.get(run_id)) for run_id in repeats["run_id"]}
    return clauses.pop() if len(clauses) == 1 else ""


def _noun(network: str | None) -> str:
    """What to call the compared model: a user's pipeline is not a network."""
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
    """The verdict on a search, over the fresh seeds of its confirmations if there are any.

    Raises UserError when MLflow cannot be read.
    """
    fresh = len(recorded.repeated) > 0 and bool(best_configurations(recorded.repeated, rank_by))
    pool = recorded.trials
    if recorded.folds:
        pool = recorded.repeated  # includes the baselines, over the same folds
    elif fresh:
        pool = pd.concat([baselines(recorded.trials), recorded.repeated], ignore_index=True)
    best = best_configurations(pool, rank_by)
    spec = recorded.origin.spec if any(map(is_baseline, best.values())) else None  # reading it is slow
    words_of = spec.words_of if spec else None
    chosen = choose(best, words_of)
    run_ids = [run_id for name in chosen if name for run_id in best[name]["run_id"]]
    predictions = {run_id: runs.read_predictions(uri, run_id) for run_id in run_ids}
    found = gain(best, predictions, rank_by, fresh=fresh, words_of=words_of)
    found = replace(found, search=recorded.origin.id, outcome=recorded.origin.outcome)
    compared = [chosen.baseline, chosen.same_words if found.same_words else None]
    return replace(found, fitted=_fitted([name for name in compared if name], recorded.origin.metrics))


def _fitted(names: Sequence[str], metrics: Mapping[str, float]) -> str:
    """The number of texts on which these baselines were fitted, as a clause; '' for all. metrics: of their search."""
    names = [name for name in names if reads_texts(name)]
    if not names or schema.NUM_FITTED not in metrics:
        return ""
    fitted, total = (f"{metrics[name]:,.0f}" for name in (schema.NUM_FITTED, schema.NUM_TRAIN))
    return f"{' and '.join(names)} {'were' if len(names) > 1 else 'was'} fitted on {fitted} of {total} texts"
