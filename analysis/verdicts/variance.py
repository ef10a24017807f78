"""Sources of the variance of test accuracy (texts, seeds, hyperparameters, luck of the search), and the gain of a
search over default hyperparameters.

Sources of variance as in Bouthillier et al. 2021 (Accounting for variance in machine learning benchmarks); the gain
over the defaults as in Probst et al. 2019 (Tunability), on test, by which nothing was chosen.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from analysis.base import runs, stats
from analysis.base.baselines import searched
from analysis.base.runs import Search, scored
from analysis.base.table import Table
from analysis.boards import confirmation
from analysis.boards.leaderboard import RANK_BY, by_architecture, only
from analysis.verdicts.repetitions import require_repetitions
from data.base.errors import UserError
from search.base.schema import Outcome
from search.study import ranking

ACCURACY = "test_accuracy"
SD = f"{ACCURACY}_sd"
TEXTS, SEEDS, HYPERPARAMETERS, SEARCH = "texts", "seeds", "hyperparameters", "search"
SOURCES = (TEXTS, SEEDS, HYPERPARAMETERS, SEARCH)  # in this order

_MEANS = (
    "texts: spread over other samples of as many test texts. seeds: spread over seeds of one configuration. "
    "hyperparameters: spread over the complete trials of the search, minus that of seeds if known; it covers what the "
    "sampler tried, which is narrower than the space. search: spread of the results of searches with other seeds.",
    "share: of the sum of the known variances. The variance of the search contains parts of the others and is not in "
    "the sum.",
)


def variances(searches: Sequence[pd.DataFrame], repeated: pd.DataFrame, num_test: float, rank_by: str) -> pd.DataFrame:
    """One row per architecture and known source of the variance of its test accuracy.

    searches: the trials of searches that differ in their seeds only; the source `hyperparameters` uses the first.
    repeated: trials of its confirmations. num_test: number of test texts, NaN if unknown. `test_accuracy_sd` is a
    standard deviation, in [0, 1]; `share` is the source's part of the sum of the variances of texts, seeds and
    hyperparameters; `of` is the number of values behind it.
    """
    first, rows = searches[0], []
    bests = [_bests(trials, rank_by) for trials in searches]
    for architecture in bests[0].index:
        complete = only(first, architecture).query("outcome == 'complete'")[ACCURACY].dropna()
        ends = [end for end in (best.get(architecture, np.nan) for best in bests) if np.isfinite(end)]
        known: dict[str, tuple[float, int, str]] = {}
        if len(ends) and np.isfinite(num_test):
            known[TEXTS] = (ends[0] * (1 - ends[0]) / num_test, int(num_test), "texts")
        of_seeds, freedom = _within(repeated[repeated["architecture"] == architecture], rank_by)
        if freedom:
            known[SEEDS] = (of_seeds, freedom, "degrees of freedom")
        if len(complete) > 1:
            known[HYPERPARAMETERS] = (
                max(0.0, complete.var() - (of_seeds if freedom else 0)),
                len(complete),
                "complete trials",
            )
        total = sum(variance for variance, *_ in known.values())
        if len(ends) > 1:
            known[SEARCH] = (float(np.var(ends, ddof=1)), len(ends), "searches")
        for source, (variance, count, what) in known.items():
            share = variance / total if total and source != SEARCH else np.nan
            rows.append([architecture, source, np.sqrt(variance), share, f"{count:,} {what}"])
    return pd.DataFrame(rows, columns=["architecture", "source", SD, "share", "of"])


def _bests(trials: pd.DataFrame, rank_by: str) -> pd.Series:
    """The test accuracy of every architecture's best trial on validation, by architecture."""
    return by_architecture(trials, rank_by).set_index("architecture")[ACCURACY].astype("float64")


def _within(repeated: pd.DataFrame, rank_by: str) -> tuple[float, int]:
    """The variance over seeds, pooled over configurations, and its degrees of freedom."""
    squares, freedom = 0.0, 0
    for of in ranking.configurations(scored(repeated, rank_by), rank_by, ranking.configuration_of):
        scores = repeated.loc[[trial.Index for trial in of.counting], ACCURACY].dropna()
        if len(scores) > 1:
            squares += float(((scores - scores.mean()) ** 2).sum())
            freedom += len(scores) - 1
    return (squares / freedom if freedom else np.nan), freedom


def tunability(searches: Sequence[pd.DataFrame], rank_by: str) -> pd.DataFrame:
    """The gain in test accuracy of every architecture's best trial over its first, which has default hyperparameters.

    searches: the trials of searches that differ in their seeds only and began with the defaults. `difference` is the
    mean over searches, with its 95 % interval `low` to `high` (Student's t), missing for one search.
    """
    rows = []
    bests_of = [_bests(trials, rank_by) for trials in searches]
    for architecture in bests_of[0].index:
        pairs = []
        for trials, own_bests in zip(searches, bests_of, strict=True):
            group = trials[(trials["architecture"] == architecture) & (trials["outcome"] == Outcome.COMPLETE.value)]
            default = group[group["number"] == 0][ACCURACY]
            best = own_bests.get(architecture, np.nan)
            if len(default) and np.isfinite(best):
                pairs.append((float(default.iloc[0]), best))
        if pairs:
            defaults, bests = np.array(pairs).T
            gain = stats.mean_interval(bests - defaults)
            rows.append([architecture, defaults.mean(), bests.mean(), *gain, len(pairs)])
    columns = ["architecture", "default_test", "best_test", "difference", "low", "high", "searches"]
    return pd.DataFrame(rows, columns=columns)


# --- As tables


def read(uri: str, searches: Sequence[Search], rank_by: str = RANK_BY) -> list[Table]:
    """The tables of `variances` and `tunability`. searches: one, or several that differ in their seeds only.

    A confirmation is replaced by the search that it confirms. Raises UserError when that is not recorded, the task has
    no accuracy, the searches differ in more than their seeds, or MLflow cannot be read.
    """
    known = runs.searches(uri)
    origins = {each.id: each for each in (confirmation.confirmations(known, search)[0] for search in searches)}
    searches = [*origins.values()]
    require_repetitions(searches)
    first = searches[0]
    if first.confirms is not None:
        raise UserError(f"variance needs {first.confirms}, which {first.id} confirms, and this MLflow does not have it")
    trials = [searched(runs.read_trials(uri, each.id)) for each in searches]
    if not trials[0][ACCURACY].notna().any():
        raise UserError(f"variance needs test accuracies, and no trial of {first.id} has one")
    _, confirming = confirmation.confirmations(known, first)
    repeated = runs.read_trials(uri, *(each.id for each in confirming if confirmation.same_data(first, each)))
    repeated = repeated[repeated["fold"].isna()]  # models of folds also differ in their texts
    num_test = float(first.metrics.get("num_test", np.nan))
    begin = first.spec is None or first.spec.sampler != "grid"
    return variance_tables(first, trials, repeated, num_test, rank_by, with_defaults=begin)


def variance_tables(
    search: Search,
    searches: Sequence[pd.DataFrame],
    repeated: pd.DataFrame,
    num_test: float,
    rank_by: str = RANK_BY,
    *,
    with_defaults: bool = True,
) -> list[Table]:
    """The tables of `variances` and `tunability`. with_defaults: whether first trials have default hyperparameters."""
    shares = variances(searches, repeated, num_test, rank_by)
    tables = [
        Table(
            shares,
            groups=[["architecture", "source", SD, "share", "of"]],
            key=["architecture", "source"],
            title=f"{search.id}: sources of the variance of test accuracy",
            notes=[*_MEANS, *_unknown(search, shares)],
        )
    ]
    gains = tunability(searches, rank_by) if with_defaults else pd.DataFrame()
    if len(gains):
        note = "default: the first trial, if complete. difference: best minus default, on test."
        many = len(searches) > 1
        tables.append(
            Table(
                gains,
                groups=[
                    ["architecture", "default_test", "best_test", "difference", *(["low", "high", "searches"] * many)]
                ],
                key="architecture",
                title=f"{search.id}: gain of the search over the default hyperparameters",
                notes=[note if many else f"{note} This is a single search, so a single sample."],
            )
        )
    return tables


def _unknown(search: Search, shares: pd.DataFrame) -> Iterable[str]:
    """The unknown sources, and the commands that measure them."""
    known = set(shares["source"])
    if SEEDS not in known:
        yield (
            "The variance over seeds is unknown and contained in that of hyperparameters. To measure it: "
            f"python -m search confirm {search.id}"
        )
    if SEARCH not in known:
        again = f"python -m search run spec.yaml --set seed={search.spec.seed + 1 if search.spec else 1} --repeat 4"
        yield (
            f"The variance of the search takes several searches: {again} (spec.yaml is in the search's folder), then "
            "pass all of their ids to this command."
        )
