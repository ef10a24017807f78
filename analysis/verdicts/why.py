"""Why is the best configuration better than the default? The gain of each change, trained again on several seeds."""

import itertools
import math

import pandas as pd

from analysis.base import runs, stats
from analysis.base.baselines import searched
from analysis.base.runs import Search, hyperparameters, present
from analysis.base.table import Table, heading
from analysis.boards.confirmation import same_data
from analysis.boards.leaderboard import by_architecture
from analysis.verdicts.data_size import metric_of
from data.base.errors import UserError, choose
from search.base import schema
from search.base.schema import Outcome
from search.train.metrics import split_metric

NOTES = (
    "Each step takes over one more value of the best configuration. The order is by a random forest fitted to the "
    "search's trials (Biedenkapp et al. 2017); another order could distribute the gain differently.",
    "Gain: the mean improvement over the seeds that every configuration completed. Low to high: its 95 % interval "
    "(Student's t over paired seeds). The gains of the steps add up to the total.",
)


SEEDS = 3  # the default of `search ablate`


def read(uri: str, search: Search, architecture: str) -> dict[str, Table]:
    """The newest path of an architecture ('': of any architecture), as its only entry.

    search: one whose paths were trained, or one that trained a path itself. Raises UserError when no path was trained;
    the message estimates the cost.
    """
    found = tables(uri, search)
    architecture = architecture or next(reversed(found), "")
    if architecture not in found:
        raise UserError(_not_trained(search, searched(runs.read_trials(uri, search.id)), architecture))
    return {architecture: found[architecture]}


def tables(uri: str, search: Search) -> dict[str, Table]:
    """The newest path of every architecture that has one, as a table; the newest of all comes last."""
    paths = [search] if schema.PATH_OF in search.tags else runs.searches(uri)
    found: dict[str, Table] = {}
    for path in paths:
        if path is search or (path.tags.get(schema.PATH_OF) == search.id and same_data(search, path)):
            trials = runs.read_trials(uri, path.id)
            if schema.PATH_OF in path.tags and len(trials):
                name = str(trials["architecture"].iloc[0])
                found.pop(name, None)
                found[name] = why_table(path, trials)
    return found


def _not_trained(search: Search, trials: pd.DataFrame, architecture: str) -> str:
    """The message for a missing path: the command to train it, and its cost. architecture: '' for the best one."""
    best = by_architecture(trials, search.metric or runs.RANK_BY).dropna(subset="trial")
    architecture = architecture or next(iter(best["architecture"]), "")
    if schema.PATH_OF in search.tags or search.confirms or not architecture:
        return f"{search.id} has no path from a default configuration to a best one"
    choose("architecture", architecture, dict.fromkeys([*best["architecture"], *trials["architecture"]]))
    command, cost = f"python -m search ablate {search.id}:{architecture}", ""
    group = trials[trials["architecture"] == architecture]
    first = group[group["number"] == 0]  # the default configuration
    last = group[group["trial"].isin(best["trial"])]
    if len(first) and len(last):
        values = [trial[hyperparameters(group)].astype(object).iloc[0] for trial in (first, last)]
        num = 1 + sum((present(one) or present(other)) and one != other for one, other in zip(*values, strict=True))
        if num == 1:
            return f"the best configuration of {architecture} is its default; there is nothing to explain"
        cost = f" ({num} configurations, {SEEDS} seeds each: about {num * SEEDS * last['seconds'].iloc[0]:,.0f} s)"
    return f"the path of {architecture} was not trained yet; do so{cost}: {command}"


def steps(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row per configuration of a path, in order, then the total: `<metric>_mean`, and the `gain` over the previous
    one (for the total, over the first) with its 95 % interval `low` to `high`, over the `seeds` that all completed."""
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
