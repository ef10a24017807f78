"""What made the best configuration better than the default? The gain of each change, trained again over seeds."""

import itertools
import math

import pandas as pd

from analysis.base import runs, stats
from analysis.base.runs import Search
from analysis.base.table import Table, heading
from analysis.boards.confirmation import same_data
from analysis.verdicts.data_size import metric_of
from data.base.errors import UserError
from search.base import record
from search.base.record import Outcome
from search.train.metrics import split_metric

NOTES = (
    "Each step has one more value of the best configuration than the one before it. Their order is a random forest's, "
    "fitted to the search's trials (Biedenkapp et al. 2017); another order could share the gain out otherwise.",
    "Gain: the mean over the seeds that every configuration completed, better above 0. Low to high: its 95 % interval "
    "(Student's t over paired seeds). The gains of the steps add up to the total.",
)


def read(uri: str, search: Search, architecture: str) -> Table:
    """The table of the newest path of an architecture of a search, or of that search itself, where it is one.

    Raises UserError when none was trained.
    """
    known = [search] if record.PATH_OF in search.tags else runs.searches(uri)
    for each in reversed(known):
        if each is search or (each.tags.get(record.PATH_OF) == search.id and same_data(search, each)):
            trials = runs.read_trials(uri, each.id)
            if record.PATH_OF in each.tags and (not architecture or (trials["architecture"] == architecture).any()):
                return why_table(each, trials)
    raise UserError(
        f"the path of {architecture or 'an architecture'} was not trained yet; do so (it first says what that costs): "
        f"python -m search ablate {search.id}:{architecture or 'ARCHITECTURE'}"
    )


def steps(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row for each configuration of a path, in order, then the total: `mean` of the metric, and over the one before
    (of the total over the first) the `gain` with its 95 % interval `low` to `high`, by the `seeds` that all completed.
    """
    sign = 1 if split_metric(metric)[1].maximize else -1
    complete = trials[trials["outcome"] == Outcome.COMPLETE.value]
    scores = complete.pivot_table(index="seed", columns="configuration", values=metric)
    names = sorted(trials["configuration"].dropna().unique(), key=lambda name: int(name.split()[0]))
    scores = scores.reindex(columns=names).dropna()
    pairs = [(name, before, name) for before, name in itertools.pairwise(names)]
    rows = [(names[0], math.nan, math.nan, math.nan, scores[names[0]].mean())] if names else []
    for shown, before, name in [*pairs, ("total", names[0], names[-1])] if names else []:
        gains = sign * (scores[name] - scores[before])
        found = stats.mean_interval(gains) if len(gains) else stats.Estimate(math.nan, math.nan, math.nan)
        rows.append((shown, found.value, found.low, found.high, scores[name].mean()))
    frame = pd.DataFrame(rows, columns=["step", "gain", "low", "high", f"{metric}_mean"])
    return frame.assign(seeds=len(scores))


def why_table(search: Search, trials: pd.DataFrame) -> Table:
    metric = metric_of(search)
    return Table(
        steps(trials, metric),
        groups=[["step"], [f"{metric}_mean", "gain", "low", "high", "seeds"]],
        key="step",
        title=f"{search.id}: {heading(metric)} from the default configuration to the best",
        notes=NOTES,
    )
