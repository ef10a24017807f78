"""The importance and effects of hyperparameters by architecture, and best values at the edge of their range."""

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
from analysis.base.table import Table, cell, in_prose
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
from search.base.schema import Outcome

if TYPE_CHECKING:
    from search.spec.spec import Spec

#: PED-ANOVA compares this share of trials, the best ones, with all others. It needs at least five of them.
BEST_SHARE = 0.25
MIN_TRIALS = 20
NUM_SHUFFLES = 199
ALPHA = 0.05

#: The samplers that ignore scores. A permutation test is valid only if hyperparameters were chosen independently of the
#: scores: other samplers move towards good values in all hyperparameters at once, so that an irrelevant hyperparameter
#: follows a relevant one. (The random trials with which those samplers begin are at most ten.)
BLIND_SAMPLERS = ("random", "grid")

MAX_VALUES, NUM_BINS = 6, 4  # numbers with more than MAX_VALUES values are shown in NUM_BINS bins of equal count

_MEANS = (
    "Means are over complete trials; if few of many are complete, the others were pruned or diverged. Correlation with "
    "the score need not be causation: a sampler tries good values together."
)


# --- Importance


def importance(
    trials: pd.DataFrame,
    space: Mapping[str, BaseDistribution],
    rng: np.random.Generator,
    rank_by: str = RANK_BY,
) -> pd.DataFrame:
    """PED-ANOVA of one architecture's trials: hyperparameter, importance (shares of one) and p, the highest first.

    Complete and pruned trials count with their score, diverged ones as worst: only membership in the best trials
    matters, and pruned trials were behind. `p` is by permutation of the scores, corrected by Holm's method; it is
    needed since the shares sum to one even if nothing matters, and valid for BLIND_SAMPLERS only. Empty if importance
    cannot be estimated, for example from fewer than MIN_TRIALS trials.
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

    with warnings.catch_warnings():  # Optuna warns that the target is minimized
        warnings.simplefilter("ignore")
        found = evaluate(losses)
        shuffled = np.array([evaluate(rng.permutation(losses)) for _ in range(NUM_SHUFFLES)])
    p = (1 + (shuffled >= found).sum(axis=0)) / (1 + NUM_SHUFFLES)
    table = pd.DataFrame({"hyperparameter": names, "importance": found / (found.sum() or 1), "p": stats.holm(p)})
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _scored(trials: pd.DataFrame, rank_by: str) -> tuple[np.ndarray, pd.DataFrame]:
    """The losses of the trials that count (their scores, lower is better), and these trials."""
    metric = check_metric(rank_by)
    diverged = trials["outcome"] == Outcome.DIVERGED.value
    scores = trials[rank_by].mask(diverged, metric.worst)
    counts = (diverged | trials["outcome"].isin([Outcome.COMPLETE, Outcome.PRUNED])) & np.isfinite(scores)
    for name in varying(trials):
        counts &= trials[name].map(present).astype(bool)  # leaves out half-written and old trials
    return (scores[counts] * (-1 if metric.maximize else 1)).to_numpy(), trials[counts]


def _can_tell(losses: np.ndarray) -> bool:
    """Whether there are enough trials, not nearly all of them as bad as the worst."""
    return len(losses) >= MIN_TRIALS and np.quantile(losses, BEST_SHARE, method="inverted_cdf") < losses.max()


def _study(values: Mapping[str, pd.Series], space: Mapping[str, BaseDistribution]) -> optuna.Study:
    """An Optuna study with one trial per row of these values, in order."""
    declared = {
        name: space[name] if name in space and _holds(space[name], column) else _distribution_of(column)
        for name, column in values.items()
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # no message about the new study
    study = optuna.create_study()
    optuna.logging.set_verbosity(verbosity)
    rows = zip(*(column.tolist() for column in values.values()), strict=True)
    study.add_trials(
        optuna.trial.create_trial(params=dict(zip(values, row, strict=True)), distributions=declared, value=0.0)
        for row in rows
    )
    return study


def _holds(distribution: BaseDistribution, column: pd.Series) -> bool:
    """Whether the distribution contains all values of the column; not if the spec was edited by hand."""
    try:
        for value in runs.values(column):
            optuna.trial.create_trial(params={"it": value}, distributions={"it": distribution}, value=0.0)
    except (ValueError, TypeError):
        return False
    return True


def _distribution_of(column: pd.Series) -> BaseDistribution:
    """The narrowest distribution that contains all values of the column."""
    taken = list(runs.values(column))
    if pd.api.types.is_integer_dtype(column):
        return IntDistribution(min(taken), max(taken))
    if pd.api.types.is_float_dtype(column):
        return FloatDistribution(min(taken), max(taken))
    return CategoricalDistribution(sorted(taken, key=str))


# --- Effects


def effects(trials: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """The scores of one architecture's trials by value of every varying hyperparameter, one row per value.

    `<rank_by>_mean` and `_sd` are over complete trials; `trials` counts all. Numbers with many values are in bins of
    about equal count.
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
        low, high = (cell(name, bound) for bound in (group[name].min(), group[name].max()))
        yield low if low == high else f"{low} to {high}", group


def what_mattered(
    trials: pd.DataFrame, spec: "Spec | None", rng: np.random.Generator, rank_by: str = RANK_BY
) -> pd.DataFrame:
    """The effects of all architectures, the best architecture and the most important hyperparameter first.

    Further columns, missing where unknown: the hyperparameter's `importance` and `p` (for BLIND_SAMPLERS only), its
    `best` value (of the best trial), and the `bound` of its range if the best value is at it. spec: None if it cannot
    be read.
    """
    parts = []
    spaces = spec.spaces if spec else None
    for architecture in by_architecture(trials, rank_by)["architecture"]:
        subset = only(trials, architecture)
        ranges = distributions(spaces, architecture)
        found = importance(subset, ranges, rng, rank_by)
        if not _is_blind(spec):
            found["p"] = np.nan
        table = effects(subset, rank_by).merge(found, on="hyperparameter", how="left")
        best = leaderboard(subset, rank_by).query("rank == 1")
        chosen = {name: best[name].iloc[0] for name in varying(subset) if len(best)}
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
    """The importances, then the effects by architecture, as tables. long: a single table.

    Baselines are left out, since their grids are too small.
    """
    trials = searched(trials)
    table = what_mattered(trials, spec, rng, rank_by)
    title = f"{search.id}: what mattered for {in_prose(rank_by)}" if len(trials) else f"{search.id} has no trials yet."
    notes = [*_findings(table, trials, spec, rank_by), *_edges(table, spec)] if len(trials) else []
    rules = [_MEANS, *notes_on_ranking([search], rank_by)]
    by = ["architecture", "hyperparameter"]
    if long or table.empty:
        return [Table(table, groups=[list(table.columns)], key=[*by, "value"], title=title, notes=notes)]
    known = [name for name in ("importance", "p") if table[name].notna().any()]
    overview = table.drop_duplicates(by)[[*by, *known, "best", "bound"]]
    tables = [Table(overview, groups=[list(overview.columns)], key=by, title=title, notes=notes)]
    for architecture, subset in table.groupby("architecture", sort=False):
        of = f"{search.id}: {in_prose(rank_by)} by hyperparameter of {architecture}"
        shown = ["hyperparameter", "value", "trials", "complete", f"{rank_by}_mean", f"{rank_by}_sd"]
        tables.append(Table(subset, groups=[shown], key=["hyperparameter", "value"], title=of))
    return [*tables[:-1], replace(tables[-1], notes=rules)]


def _findings(table: pd.DataFrame, trials: pd.DataFrame, spec: "Spec | None", rank_by: str) -> Iterable[str]:
    """Sentences on importance, by architecture."""
    for architecture in by_architecture(trials, rank_by)["architecture"]:
        subset = table[table["architecture"] == architecture]
        losses, _ = _scored(only(trials, architecture), rank_by)
        count = f"{len(losses)} trial{'s' if len(losses) != 1 else ''} with a result"
        if subset.empty:
            yield f"{architecture}: no hyperparameter had more than one value."
        elif subset["p"].notna().any():
            shown = subset[subset["p"] < ALPHA]["hyperparameter"].unique()
            yield f"{architecture}: shown to matter from {count}: {', '.join(shown) or 'nothing'}."
        elif subset["importance"].notna().any():
            first = ", ".join(subset["hyperparameter"].unique()[:2])
            yield f"{architecture}: the best of {count} differ most in {first}. This is a description, not a test."
        elif len(losses) < MIN_TRIALS:
            yield f"{architecture}: {count}, too few to estimate importance ({MIN_TRIALS} are needed)."
        else:
            yield f"{architecture}: {count}, most of them equally bad, so importance cannot be estimated."
    if table["importance"].notna().any():
        yield f"Importance: PED-ANOVA of the best {BEST_SHARE:.0%} of trials against all others, as shares of one."
    if table["p"].notna().any():
        yield f"p: permutation test, Holm-corrected; a hyperparameter below {ALPHA} is shown to matter."
    elif table["importance"].notna().any():
        yield f"Nothing is shown to matter: {not_blind(spec)}."


def not_blind(spec: "Spec | None") -> str:
    """Why there is no p, and how to get one."""
    if spec is None:
        return "how the search chose hyperparameters is unknown, since its spec cannot be read from MLflow"
    return (
        f"the sampler {spec.sampler} chose hyperparameters by earlier scores, so that an irrelevant one may follow a "
        "relevant one; a search that draws them at random can test it (--set sampler=random)"
    )


def _edges(table: pd.DataFrame, spec: "Spec | None") -> Iterable[str]:
    flagged = table[table["bound"].notna()].drop_duplicates(["architecture", "hyperparameter"])
    for _, row in flagged.iterrows():
        name, best, bound = row["hyperparameter"], row["best"], row["bound"]
        near = "is at" if best == bound else f"({cell(name, best)}) is near"
        yield f"{row['architecture']}, {name}: the best {near} the bound {cell(name, bound)}."
    if len(flagged):
        yield "If the best value is at a bound, a wider range may contain a better one."
    if spec is None:
        yield "Whether a best value is at a bound is unknown: the search's spec cannot be read from MLflow."
