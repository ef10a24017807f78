"""Which architecture wins at which budget: the expected score of the best of n trials, or of n core-seconds.

One search suffices if its trials are independent draws (`sampler: random`, `pruner: none`; Dodge et al. 2019, Tang et
al. 2020). Adaptive searches must be repeated, since early results determine what such a search tries next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.base import runs
from analysis.base.baselines import BASELINE, ROLE, is_baseline
from analysis.base.best_of import Curve, expected_best, of_draws, of_searches
from analysis.base.runs import Search, scored
from analysis.boards.confirmation import same_data
from analysis.boards.leaderboard import check_metric, common_metric
from analysis.boards.ledger import inherited
from analysis.verdicts.repetitions import differing, require_repetitions
from data.base.errors import UserError
from search.base.schema import Outcome
from search.spec.spec import Spec
from search.study.ranking import order
from search.train.metrics import split_metric

TRIALS, SECONDS = "trials", "core_seconds"  # units of budgets
_BEFORE = {TRIALS: "before_trials", SECONDS: "before_seconds"}  # columns of the inherited budget, by unit
NUM_SEARCHES = 3  # the fewest repetitions of an adaptive search
FEWEST = 4  # the fewest independent draws of an architecture
POINTS = 60  # points of a curve over core-seconds


class NotKnownError(UserError):
    """These searches cannot answer the question; the message says why, and which searches could."""


@dataclass(frozen=True)
class Budget:
    """The expected scores by budget.

    independent: whether estimated from independent draws, else from repeated searches. searches: their number. trials:
    number of trials by architecture. roles: SEARCHED or BASELINE, by architecture. curves: of validation and test, by
    unit and architecture, in the order of the spec.
    """

    rank_by: str
    on_test: str
    independent: bool
    searches: int
    trials: Mapping[str, int]
    roles: Mapping[str, str]
    curves: Mapping[str, Mapping[str, tuple[Curve, Curve]]]

    @property
    def measures(self) -> tuple[str, str]:
        return self.rank_by, self.on_test

    @property
    def searched(self) -> list[str]:
        return [name for name, role in self.roles.items() if role != BASELINE]

    @property
    def best_baseline(self) -> list[str]:
        """The baseline with the best score over its whole grid, as a list; empty if there is none."""
        sign = 1 if split_metric(self.rank_by)[1].maximize else -1
        last = {name: sign * np.nan_to_num(self.curves[TRIALS][name][0].value[-1]) for name in self.roles}
        return sorted({*self.roles} - {*self.searched}, key=lambda name: -float(last[name]))[:1]

    @property
    def frame(self) -> pd.DataFrame:
        """One row per architecture, unit and budget: means with 95 % intervals, which are NaN for exact values."""
        parts = []
        for unit, of_unit in self.curves.items():
            for name, curves in of_unit.items():
                columns: dict[str, Any] = {"budget": curves[0].budget}
                for measure, curve in zip(self.measures, curves, strict=True):
                    half = np.where(np.isinf(curve.half), np.nan, curve.half)
                    low, high = curve.value - half, curve.value + half
                    columns |= {f"{measure}_mean": curve.value, f"{measure}_low": low, f"{measure}_high": high}
                parts.append(pd.DataFrame({"architecture": name, ROLE: self.roles[name], "unit": unit} | columns))
        frame = pd.concat(parts, ignore_index=True)
        return frame[frame[f"{self.rank_by}_mean"].notna()].reset_index(drop=True)


# --- Which searches can answer


def read(uri: str, names: Sequence[str], rank_by: str | None = None) -> tuple[Budget, list[Search]]:
    """The budget curves of these searches together, and the searches used. A single adaptive search is extended by its
    repetitions. Raises NotKnownError when the searches cannot answer, UserError as `runs` does."""
    found = runs.find_searches(uri, names)
    rank_by = rank_by or common_metric(found)
    check_metric(rank_by)
    if len(found) == 1:
        found = family(uri, found[0])
    trials = runs.read_trials(uri, *(search.id for search in found))
    return budget(found, trials, rank_by), found


def family(uri: str, search: Search) -> list[Search]:
    """The search, extended by its repetitions (same name, other seeds) if it is adaptive."""
    found, spec = [search], search.spec
    if spec is None or spec.sampler == "grid" or _is_independent(spec):
        return found
    for other in runs.searches(uri):
        if other.name != search.name or other.id == search.id or other.spec is None:
            continue
        seeds = {taken.spec.seed for taken in found if taken.spec}
        if other.spec.seed not in seeds and same_data(search, other) and not differing(spec, other.spec):
            found.append(other)
    return found


def budget(searches: Sequence[Search], trials: pd.DataFrame, rank_by: str) -> Budget:
    """The curves from trials of these searches. Raises NotKnownError when they cannot answer."""
    specs = [_spec(search) for search in searches]
    try:
        require_repetitions(searches)
    except UserError as error:
        raise NotKnownError(str(error)) from None
    spec, ids = specs[0], ", ".join(search.id for search in searches)
    if spec.sampler == "grid":
        raise NotKnownError(
            f"{ids}: its trials are points of a grid, not random draws; run one with --set sampler=random --set "
            "pruner=none"
        )
    independent = _is_independent(spec)
    if not independent and len(searches) < NUM_SEARCHES:
        raise NotKnownError(_adaptive(searches, spec, trials))
    if independent:  # the first trial has the default configuration and is not a random draw
        trials = trials[(trials[ROLE] == BASELINE) | (trials["number"] != 0)]
    known = list(dict.fromkeys([*spec.studied, *trials["architecture"].dropna()]))
    ended = trials[~trials["outcome"].isin([Outcome.RUNNING.value, Outcome.INTERRUPTED.value])]
    ended = ended.assign(cost=ended["seconds"].fillna(0.0) * spec.resources.cpu)
    before = inherited(searches[0]).reindex(ended["architecture"]).fillna(0).set_index(ended.index)
    ended = ended.assign(
        **{_BEFORE[TRIALS]: before["inherited_trials"]},
        **{_BEFORE[SECONDS]: before["inherited_seconds"] * spec.resources.cpu},
    )
    groups = {name: group for name in known if len(group := ended[ended["architecture"] == name])}
    if independent:
        few = {name: len(group) for name, group in groups.items() if not is_baseline(group) and len(group) < FEWEST}
        if few:
            short = ", ".join(f"{name} {num}" for name, num in few.items())
            raise NotKnownError(
                f"{ids}: fewer than {FEWEST} draws of some architectures ({short}); run it again with --set trials=16"
            )
    on_test = f"test_{split_metric(rank_by)[1].name}"
    curves = _curves(groups, rank_by, on_test, independent)
    roles = {name: str(group[ROLE].iloc[0]) for name, group in groups.items()}
    counts = {name: len(group) for name, group in groups.items()}
    return Budget(rank_by, on_test, independent, len(searches), counts, roles, curves)


def _is_independent(spec: Spec) -> bool:
    return spec.sampler == "random" and spec.pruner == "none" and not spec.inherited


def _spec(search: Search) -> Spec:
    try:
        return search.load_spec()
    except UserError as error:
        raise NotKnownError(f"{search.id}: how it searched is not known: {error}") from error


def _adaptive(searches: Sequence[Search], spec: Spec, trials: pd.DataFrame) -> str:
    """Why a single adaptive search cannot answer, which searches could, and their cost."""
    settings = [
        f"{key}: {value}"
        for key, value, free in (("sampler", spec.sampler, "random"), ("pruner", spec.pruner, "none"))
        if value != free
    ]
    trials = trials[trials["search"] == searches[0].id]
    seconds = trials["seconds"].fillna(0.0)
    whole = (trials["seconds"] / trials["epochs_run"] * spec.epochs).where(trials[ROLE] != BASELINE, trials["seconds"])
    fewer = f"{len(searches)} are too few; " if len(searches) > 1 else ""
    return (
        f"which architecture wins at which budget is unknown from {searches[0].id}: its trials are not independent "
        f"({', '.join(settings)}), so one search is one draw. {fewer}It takes {NUM_SEARCHES} or more with other seeds: "
        f"python -m search run spec.yaml --repeat 5 (about {_minutes(5 * spec.resources.cpu * seconds.sum())}); or one "
        f"with independent trials: python -m search run spec.yaml --set sampler=random --set pruner=none (about "
        f"{_minutes(spec.resources.cpu * whole.fillna(0.0).sum())}); spec.yaml is in the search's folder"
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 3600:.1f} core-hours" if seconds >= 7200 else f"{max(seconds / 60, 0.1):.2g} core-minutes"


# --- The curves


def _curves(
    groups: Mapping[str, pd.DataFrame], rank_by: str, on_test: str, independent: bool
) -> dict[str, dict[str, tuple[Curve, Curve]]]:
    most = max(_most(group, independent) for group in groups.values() if not is_baseline(group))
    largest_cost = max(_largest_cost(group, independent) for group in groups.values() if not is_baseline(group))
    least = min(group["cost"].mean() for group in groups.values() if not is_baseline(group))
    at: dict[str, np.ndarray] = {TRIALS: np.arange(1, most + 1, dtype=float)}
    if least > 0:
        grid = np.geomspace(least, max(largest_cost, least * (1 + 1e-6)), POINTS)
        at[SECONDS] = grid
    curves: dict[str, dict[str, tuple[Curve, Curve]]] = {unit: {} for unit in at}
    for name, group in groups.items():
        of = _of_grid if is_baseline(group) else _of_draws if independent else _of_searches
        for unit, budgets in at.items():
            curves[unit][name] = of(group, budgets, unit, rank_by, on_test)
    return curves


def _most(group: pd.DataFrame, independent: bool) -> int:
    return len(group) // 2 if independent else int(group.groupby("search").size().min() + group[_BEFORE[TRIALS]].max())


def _largest_cost(group: pd.DataFrame, independent: bool) -> float:
    if independent:
        return float(group["cost"].mean() * (len(group) // 2))
    return float(group.groupby("search")["cost"].sum().min() + group[_BEFORE[SECONDS]].max())


def _of_draws(group: pd.DataFrame, budgets: np.ndarray, unit: str, rank_by: str, on_test: str) -> tuple[Curve, Curve]:
    group = _from_worst(group, rank_by)
    cost = None if unit == TRIALS else group["cost"]
    scores = group[rank_by].where(_has_result(group, rank_by))
    return of_draws(scores, budgets, cost), of_draws(scores, budgets, cost, group[on_test].where(scores.notna()))


def _of_searches(
    group: pd.DataFrame, budgets: np.ndarray, unit: str, rank_by: str, on_test: str
) -> tuple[Curve, Curve]:
    spent, reached = [], []
    for _, trials in group.groupby("search", sort=False):
        trials = trials.sort_values(["end", "number"], kind="stable")
        rows = scored(trials, rank_by)
        better = {each.Index: place for place, each in enumerate(sorted(rows, key=order(rank_by, rows)))}
        best: Any = None
        so_far = []
        for index, counts in _has_result(trials, rank_by).items():
            if counts and (best is None or better[index] < better[best]):
                best = index
            so_far.append([np.nan, np.nan] if best is None else [trials.at[best, rank_by], trials.at[best, on_test]])
        own_spent = np.arange(1, len(trials) + 1) if unit == TRIALS else trials["cost"].cumsum().to_numpy()
        spent.append(own_spent + trials[_BEFORE[unit]].iloc[0])  # inherited trials count as budget
        reached.append(np.array(so_far, dtype=float))
    return (
        of_searches(spent, [scores[:, 0] for scores in reached], budgets),
        of_searches(spent, [scores[:, 1] for scores in reached], budgets),
    )


def _of_grid(group: pd.DataFrame, budgets: np.ndarray, unit: str, rank_by: str, on_test: str) -> tuple[Curve, Curve]:
    """The exact curve of a baseline: the expected best of n points of its grid in random order, constant after the
    whole grid."""
    group = _from_worst(group[~group.duplicated("number")], rank_by)  # the same in every repeated search
    scores = group[rank_by].where(_has_result(group, rank_by))
    mean = 1.0 if unit == TRIALS else max(float(group["cost"].mean()), 1e-9)
    num_trials = np.arange(1, len(group) + 1)
    curves = []
    for worth in (scores, group[on_test].where(scores.notna())):
        best = expected_best(worth, num_trials)
        value = np.where(budgets >= mean * (1 - 1e-9), np.interp(budgets / mean, num_trials, best), np.nan)
        exact = np.full_like(value, np.nan)
        curves.append(Curve(budgets, value, exact, exact))
    return curves[0], curves[1]


def _from_worst(group: pd.DataFrame, rank_by: str) -> pd.DataFrame:
    """The trials from worst to best; those without a result come first."""
    rows = scored(group, rank_by)
    return group.loc[[each.Index for each in sorted(rows, key=order(rank_by, rows), reverse=True)]]


def _has_result(group: pd.DataFrame, rank_by: str) -> pd.Series:
    return (group["outcome"] == Outcome.COMPLETE.value) & np.isfinite(group[rank_by])
