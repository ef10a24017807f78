"""What mattered: which hyperparameters decided an architecture's score, how, and where its space was too narrow."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator

from analysis import runs, stats
from analysis.comparison import grouped, spread
from analysis.leaderboard import RANK_BY, by_architecture, check_metric, leaderboard, notes_on_ranking, only, varying
from analysis.runs import Search
from analysis.tables import Table, cell
from search.record import Outcome

#: PED-ANOVA asks what tells the best trials, this share of them, from all others. It needs at least five such.
BEST_SHARE = 0.25
MIN_TRIALS = 20
NUM_SHUFFLES = 199
ALPHA = 0.05

MAX_VALUES, NUM_BINS = 6, 4  # a number that took more values than that is shown in so many bins of equal count
EDGE = 0.05  # so near to a bound, as a share of the range, is at the edge


# --- The space


def distributions(space: Mapping[str, Any] | None, architecture: str) -> dict[str, BaseDistribution]:
    """What an architecture's hyperparameters could be, by the `space` of a spec; without those it leaves fixed."""
    found = {}
    for name, written in (space or {}).items():
        if isinstance(written, dict) and not {"low", "high"} <= set(written):
            written = written.get(architecture)  # each architecture has a range of its own
        if isinstance(written, list | dict):
            found[name] = _distribution(written)
    return {name: each for name, each in found.items() if each is not None}


def _distribution(written: list[Any] | dict[str, Any]) -> BaseDistribution | None:
    try:
        with warnings.catch_warnings():  # where the steps end below `high`, Optuna says so and takes the last one
            warnings.simplefilter("ignore")
            if isinstance(written, list):
                return CategoricalDistribution(written)
            numbers = [written["low"], written["high"], written.get("step") or 1]
            if all(isinstance(number, int) for number in numbers):
                return IntDistribution(*numbers[:2], step=numbers[2], log=bool(written.get("log")))
            return FloatDistribution(*numbers[:2], step=written.get("step"), log=bool(written.get("log")))
    except (ValueError, TypeError):  # written by hand, or by a version to come
        return None


def _distribution_of(column: pd.Series) -> BaseDistribution:
    """The narrowest that holds the values taken."""
    taken = list(runs.values(column))
    if pd.api.types.is_integer_dtype(column):
        return IntDistribution(min(taken), max(taken))
    if pd.api.types.is_float_dtype(column):
        return FloatDistribution(min(taken), max(taken))
    return CategoricalDistribution(sorted(taken, key=str))


def bound_near(value: Any, distribution: BaseDistribution) -> float | None:
    """The bound of a range, or of a list of numbers, that a value is at; None within, and where nothing is within."""
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        if len(choices) < 3 or not all(type(choice) in (int, float) for choice in choices):
            return None
        low, high = min(choices), max(choices)  # type: ignore[type-var]
        return value if value in (low, high) else None
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if low == high or (step and (high - low) / step < 1.5):
        return None
    scaled = np.log([low, value, high]) if distribution.log else np.array([low, value, high], dtype=float)
    position = (scaled[1] - scaled[0]) / (scaled[2] - scaled[0])
    return low if position <= EDGE else high if position >= 1 - EDGE else None


# --- Importance


def importance(
    trials: pd.DataFrame,
    space: Mapping[str, BaseDistribution],
    rng: np.random.Generator,
    rank_by: str = RANK_BY,
) -> pd.DataFrame:
    """PED-ANOVA of one architecture's trials: hyperparameter, importance (shares of one), p; the highest first.

    Complete and pruned trials count by their score, diverged ones as worst: only who is among the best matters, and a
    trial was pruned for being behind. `p` is how often so much or more comes of the same scores in another order,
    corrected by Holm's method: the shares sum to one even when nothing mattered. Empty when fewer than MIN_TRIALS
    count, or when no share of them is the best.
    """
    scored = _scored(trials, rank_by)
    names = varying(scored)
    losses = scored["loss"].to_numpy()
    none = pd.DataFrame({"hyperparameter": pd.Series(dtype="str"), "importance": [], "p": []})
    if not _can_tell(losses) or not names:
        return none
    study = _study(scored, {name: space.get(name) for name in names})
    evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)

    def evaluate(losses: np.ndarray) -> np.ndarray:
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, target=lambda trial: losses[trial.number], normalize=False
        )
        return np.array([found.get(name, 0.0) for name in names])

    with warnings.catch_warnings():  # Optuna reminds one that a target is minimized
        warnings.simplefilter("ignore")
        found = evaluate(losses)
        shuffled = np.array([evaluate(rng.permutation(losses)) for _ in range(NUM_SHUFFLES)])
    p = (1 + (shuffled >= found).sum(axis=0)) / (1 + NUM_SHUFFLES)
    shares = found / found.sum() if found.sum() else found
    table = pd.DataFrame({"hyperparameter": names, "importance": shares, "p": stats.holm(p)})
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _scored(trials: pd.DataFrame, rank_by: str) -> pd.DataFrame:
    """The trials that count, with their `loss`: the score, lower is better, the worst for diverged ones."""
    metric = check_metric(rank_by)
    sign = -1 if metric.maximize else 1
    diverged = trials["outcome"] == Outcome.DIVERGED.value
    ended = trials["outcome"].isin([Outcome.COMPLETE, Outcome.PRUNED]) & np.isfinite(trials[rank_by])
    scored = trials.assign(loss=(sign * trials[rank_by]).mask(diverged, np.inf))[diverged | ended]
    whole = [bool(runs.values(scored[name])) for name in runs.hyperparameters(scored.drop(columns="loss"))]
    del whole
    return scored


def _can_tell(losses: np.ndarray) -> bool:
    """Whether there are enough trials, and not nearly all of them as bad as the worst."""
    return len(losses) >= MIN_TRIALS and np.quantile(losses, BEST_SHARE, method="inverted_cdf") < losses.max()
