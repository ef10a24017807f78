"""What mattered: which hyperparameters decided an architecture's score, how, and where its space was too narrow."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator

from analysis.base import runs, stats
from analysis.base.baselines import searched
from analysis.base.runs import Search, present
from analysis.base.table import Table, cell, heading
from analysis.boards.comparison import grouped, spread
from analysis.boards.leaderboard import (
    RANK_BY,
    by_architecture,
    check_metric,
    leaderboard,
    notes_on_ranking,
    only,
    varying,
)
from analysis.verdicts.ranges import bound_near, distributions
from search.base.record import Outcome

if TYPE_CHECKING:
    from search.spec.spec import Spec

#: PED-ANOVA asks what tells the best trials, this share of them, from all others. It needs at least five such.
BEST_SHARE = 0.25
MIN_TRIALS = 20
NUM_SHUFFLES = 199
ALPHA = 0.05

#: The samplers that never look at a score. Shuffled scores are as likely as the real ones only where hyperparameters
#: were chosen without them: the others move towards what did well, in all hyperparameters at once, so that one that
#: does not matter goes along with one that does. (The random trials with which those begin are at most ten.)
BLIND_SAMPLERS = ("random", "grid")

MAX_VALUES, NUM_BINS = 6, 4  # a number that took more values than that is shown in so many bins of equal count

_MEANS = (
    "Means are those of complete trials; where few of many are complete, others were stopped for being behind, or "
    "diverged. What goes with the score need not be its cause: a sampler tries good values together."
)


# --- Importance


def importance(
    trials: pd.DataFrame,
    space: Mapping[str, BaseDistribution],
    rng: np.random.Generator,
    rank_by: str = RANK_BY,
) -> pd.DataFrame:
    """PED-ANOVA of one architecture's trials: hyperparameter, importance (shares of one) and p; the highest first.

    Complete and pruned trials count by their score and diverged ones as worst: only who is among the best matters, and
    a trial was pruned for being behind. `p` is how often the same scores in another order give so much or more,
    corrected by Holm's method: the shares sum to one even where nothing mattered. It holds for trials of one of the
    BLIND_SAMPLERS. Empty where this cannot be told, from fewer than MIN_TRIALS trials above all.
    """
    losses, scored = _scored(trials, rank_by)
    names = varying(scored)
    if not names or not _can_tell(losses):
        return pd.DataFrame({"hyperparameter": pd.Series(dtype="str"), "importance": [], "p": []})
    study = _study({name: scored[name] for name in names}, space)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)

    def evaluate(losses: np.ndarray) -> np.ndarray:
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, target=lambda trial: losses[trial.number], normalize=False
        )
        return np.array([found[name] for name in names])

    with warnings.catch_warnings():  # Optuna reminds its caller that a target is minimized
        warnings.simplefilter("ignore")
        found = evaluate(losses)
        shuffled = np.array([evaluate(rng.permutation(losses)) for _ in range(NUM_SHUFFLES)])
    p = (1 + (shuffled >= found).sum(axis=0)) / (1 + NUM_SHUFFLES)
    table = pd.DataFrame({"hyperparameter": names, "importance": found / (found.sum() or 1), "p": stats.holm(p)})
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _scored(trials: pd.DataFrame, rank_by: str) -> tuple[np.ndarray, pd.DataFrame]:
    """The trials that count, and the loss of each: its score, lower is better."""
    metric = check_metric(rank_by)
    diverged = trials["outcome"] == Outcome.DIVERGED.value
    scores = trials[rank_by].mask(diverged, metric.worst)
    counts = (diverged | trials["outcome"].isin([Outcome.COMPLETE, Outcome.PRUNED])) & np.isfinite(scores)
    for name in varying(trials):
        counts &= trials[name].map(present).astype(bool)  # all but half-written and old ones
    return (scores[counts] * (-1 if metric.maximize else 1)).to_numpy(), trials[counts]


def _can_tell(losses: np.ndarray) -> bool:
    """Whether there are enough trials, and not nearly all of them as bad as the worst."""
    return len(losses) >= MIN_TRIALS and np.quantile(losses, BEST_SHARE, method="inverted_cdf") < losses.max()


def _study(values: Mapping[str, pd.Series], space: Mapping[str, BaseDistribution]) -> optuna.Study:
    """An Optuna study of trials with these values, its trials in the order of the rows."""
    declared = {
        name: space[name] if name in space and _holds(space[name], column) else _distribution_of(column)
        for name, column in values.items()
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a new study in memory is no news
    study = optuna.create_study()
    optuna.logging.set_verbosity(verbosity)
    rows = zip(*(column.tolist() for column in values.values()), strict=True)
    study.add_trials(
        optuna.trial.create_trial(params=dict(zip(values, row, strict=True)), distributions=declared, value=0.0)
        for row in rows
    )
    return study


def _holds(distribution: BaseDistribution, column: pd.Series) -> bool:
    """Whether all values taken are in it, which they are not where the spec was changed by hand."""
    try:
        for value in runs.values(column):
            optuna.trial.create_trial(params={"it": value}, distributions={"it": distribution}, value=0.0)
    except (ValueError, TypeError):
        return False
    return True


def _distribution_of(column: pd.Series) -> BaseDistribution:
    """The narrowest that holds the values taken."""
    taken = list(runs.values(column))
    if pd.api.types.is_integer_dtype(column):
        return IntDistribution(min(taken), max(taken))
    if pd.api.types.is_float_dtype(column):
        return FloatDistribution(min(taken), max(taken))
    return CategoricalDistribution(sorted(taken, key=str))


# --- Effects


def effects(trials: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """How each hyperparameter that varies went with the score of one architecture's trials, a row for each value.

    `<rank_by>_mean` and `_sd` are those of the complete trials, `trials` counts all. Numbers with many values are in
    bins of about as many trials each.
    """
    columns = ["hyperparameter", "value", "trials", "complete", f"{rank_by}_mean", f"{rank_by}_sd"]
    rows = []
    for name in varying(trials):
        for value, group in _by_value(trials, name):
            mean, sd, complete = spread(group[rank_by].where(group["outcome"] == Outcome.COMPLETE.value))
            rows.append([name, value, len(group), complete, mean, sd])
    return pd.DataFrame(rows, columns=columns)


def _by_value(trials: pd.DataFrame, name: str) -> Iterable[tuple[Any, pd.DataFrame]]:
    column = trials[name]
    if not pd.api.types.is_numeric_dtype(column) or len(runs.values(column)) <= MAX_VALUES:
        for (value,), group in grouped(trials, [name]).items():
            yield value, group
        return
    bins = pd.qcut(column.astype("float64"), NUM_BINS, labels=False, duplicates="drop")
    for _, group in trials.groupby(bins):
        low, high = (cell(name, each) for each in (group[name].min(), group[name].max()))
        yield low if low == high else f"{low} to {high}", group


def what_mattered(
    trials: pd.DataFrame, spec: "Spec | None", rng: np.random.Generator, rank_by: str = RANK_BY
) -> pd.DataFrame:
    """The effects of each architecture, the best architecture and the most important hyperparameter first.

    With each row go the hyperparameter's `importance` and `p`, its `best` value (that of the best trial) and the
    `bound` of its range that this is at, all missing where they cannot be told. p: of BLIND_SAMPLERS alone.
    spec: None where it cannot be read.
    """
    parts = []
    spaces = spec.spaces if spec else None
    for architecture in by_architecture(trials, rank_by)["architecture"]:
        own = only(trials, architecture)
        ranges = distributions(spaces, architecture)
        found = importance(own, ranges, rng, rank_by)
        if not _is_blind(spec):
            found["p"] = np.nan
        table = effects(own, rank_by).merge(found, on="hyperparameter", how="left")
        best = leaderboard(own, rank_by).query("rank == 1")
        chosen = {name: best[name].iloc[0] for name in varying(own) if len(best)}
        bounds = {
            name: bound_near(value, ranges[name]) for name, value in chosen.items() if name in ranges and present(value)
        }
        table["best"] = pd.Series([chosen.get(name, np.nan) for name in table["hyperparameter"]], dtype=object)
        table["bound"] = table["hyperparameter"].map(bounds).astype("float64")
        table.insert(0, "architecture", architecture)
        if len(table):
            parts.append(table.sort_values("importance", ascending=False, kind="stable"))
    columns = ["architecture", *effects(trials.head(0), rank_by).columns, "importance", "p", "best", "bound"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _is_blind(spec: "Spec | None") -> bool:
    return spec is not None and spec.sampler in BLIND_SAMPLERS


# --- As tables


def importance_tables(
    search: Search,
    trials: pd.DataFrame,
    spec: "Spec | None",
    rng: np.random.Generator,
    rank_by: str = RANK_BY,
    *,
    long: bool = False,
) -> list[Table]:
    """What mattered, for readers: the importances, then the effects in each architecture. long: one table of it all.

    Of what was searched: a baseline's grid is too small to tell.
    """
    trials = searched(trials)
    table = what_mattered(trials, spec, rng, rank_by)
    title = f"{search.id}: what mattered for {heading(rank_by)}" if len(trials) else f"{search.id} has no trials yet."
    notes = [*_told(table, trials, spec, rank_by), *_edges(table, spec)] if len(trials) else []
    rules = [_MEANS, *notes_on_ranking([search], rank_by)]
    by = ["architecture", "hyperparameter"]
    if long or table.empty:
        return [Table(table, groups=[list(table.columns)], key=[*by, "value"], title=title, notes=notes)]
    told = [name for name in ("importance", "p") if table[name].notna().any()]
    each = table.drop_duplicates(by)[[*by, *told, "best", "bound"]]
    tables = [Table(each, groups=[list(each.columns)], key=by, title=title, notes=notes)]
    for architecture, own in table.groupby("architecture", sort=False):
        went = f"{search.id}: how the hyperparameters of {architecture} went with {heading(rank_by)}"
        shown = ["hyperparameter", "value", "trials", "complete", f"{rank_by}_mean", f"{rank_by}_sd"]
        tables.append(Table(own, groups=[shown], key=["hyperparameter", "value"], title=went))
    return [*tables[:-1], replace(tables[-1], notes=rules)]


def _told(table: pd.DataFrame, trials: pd.DataFrame, spec: "Spec | None", rank_by: str) -> Iterable[str]:
    """What can be said of importance, for each architecture."""
    for architecture in by_architecture(trials, rank_by)["architecture"]:
        own = table[table["architecture"] == architecture]
        losses, _ = _scored(only(trials, architecture), rank_by)
        count = f"{len(losses)} trial{'s' if len(losses) != 1 else ''} with a result"
        if own.empty:
            yield f"{architecture}: no hyperparameter had more than one value."
        elif own["p"].notna().any():
            shown = own[own["p"] < ALPHA]["hyperparameter"].unique()
            yield f"{architecture}: shown to matter from {count}: {', '.join(shown) or 'nothing'}."
        elif own["importance"].notna().any():
            first = ", ".join(own["hyperparameter"].unique()[:2])
            yield f"{architecture}: what set the best of {count} apart most: {first}. That is a description, no test."
        elif len(losses) < MIN_TRIALS:
            yield f"{architecture}: {count}, too few to say which hyperparameter mattered ({MIN_TRIALS} are needed)."
        else:
            yield f"{architecture}: {count}, most of them equally bad: which hyperparameter mattered cannot be told."
    if table["importance"].notna().any():
        yield f"Importance: PED-ANOVA, what sets the best {BEST_SHARE:.0%} apart, as shares of one."
    if table["p"].notna().any():
        yield f"p: how often shuffled scores give as much (Holm-corrected); what is below {ALPHA} is shown to matter."
    elif table["importance"].notna().any():
        yield f"Nothing is shown to matter: {not_blind(spec)}."


def not_blind(spec: "Spec | None") -> str:
    """Why there is no p, and how to get one."""
    if spec is None:
        return "how the search chose hyperparameters is not known, as its spec cannot be read from MLflow"
    return (
        f"the sampler {spec.sampler} chose them by the scores before, so that one that does not matter may go along "
        "with one that does; a search that draws them at random tests it (--set sampler=random)"
    )


def _edges(table: pd.DataFrame, spec: "Spec | None") -> Iterable[str]:
    flagged = table[table["bound"].notna()].drop_duplicates(["architecture", "hyperparameter"])
    for _, row in flagged.iterrows():
        name, best, bound = row["hyperparameter"], row["best"], row["bound"]
        near = "is at" if best == bound else f"({cell(name, best)}) is near"
        yield f"{row['architecture']}, {name}: the best {near} the bound {cell(name, bound)}."
    if len(flagged):
        yield "Where the best is at a bound, a wider range may hold a better one."
    if spec is None:
        yield "The search's spec cannot be read from MLflow: whether the best is at a bound is not known."
