"""Are the architectures really different? Their best configurations, compared on the same test texts.

Shapes: S seeds of a configuration, N test texts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.base import runs, stats
from analysis.base.baselines import BASELINE, ROLE, is_baseline, role, shown
from analysis.base.runs import Search, hyperparameters, scored
from analysis.base.table import Table
from analysis.boards.confirmation import num_folds, read
from analysis.boards.leaderboard import RANK_BY, check_metric
from analysis.verdicts import tested
from data.base.errors import UserError
from search.base import record
from search.study import ranking


def best_configurations(trials: pd.DataFrame, rank_by: str = RANK_BY) -> dict[str, pd.DataFrame]:
    """The complete trials of each architecture's best configuration, by the mean of `rank_by`; the best one first.

    Trials are of one configuration if it has a name, or else if their hyperparameters are the same; see
    `ranking.configurations` for which is better.
    """
    check_metric(rank_by)
    named = trials[["architecture", "configuration", *hyperparameters(trials)]]
    rows = map(repr, named.itertuples(index=False, name=None))
    keys = dict(zip(trials.index, rows, strict=True))
    best: dict[str, pd.DataFrame] = {}
    for of in ranking.configurations(scored(trials, rank_by), rank_by, lambda trial: keys[trial.Index]):
        if of.counting and of.counting[0].architecture not in best:
            best[of.counting[0].architecture] = trials.loc[[trial.Index for trial in of.counting]]
    return best


def name_of(own: pd.DataFrame) -> str:
    """The name of a configuration: that which it was given, else that of its first trial."""
    configuration = own["configuration"].iloc[0]
    return str(own["trial"].iloc[0] if pd.isna(configuration) else configuration)


def representative(own: pd.DataFrame, rank_by: str = RANK_BY) -> int:
    """The place of the model (see `tested.models`) whose score is the median of its repetitions (of two in the middle,
    the lower number)."""
    scores = [model[rank_by].mean() for model in tested.models(own)]
    return int(np.argsort(scores, kind="stable")[(len(scores) - 1) // 2])


def correct(own: pd.DataFrame, predictions: Mapping[str, pd.DataFrame]) -> np.ndarray:
    """Which test texts each of the models got right. predictions: by run id, see `runs.read_predictions`."""
    found = [tested.said(model, predictions) for model in tested.models(own)]
    correct_SN = [(each["label"] == each["predicted"]).to_numpy(dtype=bool) for each in found]
    return np.stack(correct_SN)


def check_texts(best: Mapping[str, pd.DataFrame], predictions: Mapping[str, pd.DataFrame]) -> None:
    """Raise UserError unless all models were tested on the same texts, in the same order."""
    models = [model for own in best.values() for model in tested.models(own)]
    labels_of = {tested.name_of(model): tested.said(model, predictions)["label"] for model in models}
    names = list(labels_of)
    for name in names[1:]:
        first, labels = labels_of[names[0]], labels_of[name]
        if len(first) != len(labels):
            raise UserError(
                f"{names[0]} and {name} were not tested on the same texts, but on {len(first)} and {len(labels)}"
            )
        if (first.to_numpy() != labels.to_numpy()).any():
            raise UserError(f"{names[0]} and {name} were not tested on the same texts: their labels differ")


def differences(
    best: Mapping[str, pd.DataFrame],
    predictions: Mapping[str, pd.DataFrame],
    rng: np.random.Generator,
    rank_by: str = RANK_BY,
) -> pd.DataFrame:
    """Every pair of architectures (see `stats.pairs`), from `best_configurations` and the predictions by run id."""
    check_texts(best, predictions)
    models = {name: stats.Models(correct(own, predictions), representative(own, rank_by)) for name, own in best.items()}
    return stats.pairs(models, rng)


# --- As tables


def read_differences(
    uri: str, search: Search, rng: np.random.Generator, rank_by: str = RANK_BY, *, long: bool = False
) -> list[Table]:
    """The differences between the architectures of a search, for readers; long: one table of all pairs.

    Of each architecture's confirmed configurations on the same data, if the search was confirmed (or confirms another
    one), else of its best in the search itself. Raises UserError when what the trials predicted is not kept, or was
    not predicted of the same texts.
    """
    recorded = read(uri, search)
    origin = recorded.origin
    best, others = (best_configurations(each, rank_by) for each in (recorded.repeated, recorded.trials))
    if not recorded.folds:  # else the others were tested on fewer texts
        best |= {name: own for name, own in others.items() if name not in best}
    predictions = {}
    for trial, run_id in ((t, r) for own in best.values() for t, r in zip(own["trial"], own["run_id"], strict=True)):
        found = runs.read_predictions(uri, run_id)
        if found is None:
            raise UserError(
                f"what {trial} (run {run_id[:8]}) predicted is not kept in MLflow; to train the best again: "
                f"python -m search confirm {origin.id}"
            )
        predictions[run_id] = found
    trials = pd.concat([recorded.trials, recorded.repeated])
    return difference_tables(origin, trials, best, predictions, rng, rank_by, recorded.others, long=long)


def difference_tables(
    search: Search,
    trials: pd.DataFrame,
    best: Mapping[str, pd.DataFrame],
    predictions: Mapping[str, pd.DataFrame],
    rng: np.random.Generator,
    rank_by: str = RANK_BY,
    others: Sequence[str] = (),
    *,
    long: bool = False,
) -> list[Table]:
    """The matrix over architectures, all pairs, and the models behind them. long: only the pairs.

    trials: those of the search and of its confirmations. others: ids of confirmations that were made on other data.
    """
    table = differences(best, predictions, rng, rank_by)
    sides = ("first", "second")
    roles = {name: role(own) for name, own in best.items()}
    table = table.assign(**{f"{side}_{ROLE}": [roles[name] for name in table[side]] for side in sides})
    marked = [f"{side}_{ROLE}" for side in sides] if BASELINE in roles.values() else []
    pairs = Table(
        table,
        groups=[
            [*sides, "verdict", "difference", "low", "high"],
            *([marked] if marked else []),
            ["only_first", "only_second", "holm_p", "cohens_g", "hedges_g"],
        ],
        key=["first", "second"],
        title=f"{search.id}: every pair on the same {_num_texts(best, predictions)} test texts",
        notes=[*_baselines(best), *_single(best), _RULE],
    )
    if long:
        return [pairs]
    matrix = _matrix(table, roles)
    models = _models(best, rank_by)
    whole = Table(
        matrix,
        groups=[list(matrix.columns)],
        key=["architecture", *shown(matrix)],
        title=f"{search.id}: by how much the row's test accuracy is better than the column's, or tie"
        if len(best) > 1
        else f"{search.id}: {len(best)} architecture{'s' * (len(best) != 1)} with complete trials, none to compare",
    )
    chosen = Table(
        models,
        groups=[[name for name in models.columns if name != ROLE or marked]],
        key="architecture",
        title=f"The best configuration of each architecture by mean {rank_by}",
        notes=list(_notes(search, trials, best, others)),
    )
    return [whole, *([pairs] if len(table) else []), chosen]


def _num_texts(best: Mapping[str, pd.DataFrame], predictions: Mapping[str, pd.DataFrame]) -> str:
    models = (model for own in best.values() for model in tested.models(own))
    return f"{next((len(tested.said(model, predictions)) for model in models), 0):,}"


def _matrix(table: pd.DataFrame, roles: Mapping[str, str]) -> pd.DataFrame:
    """A row and a column for each architecture and baseline. roles: what each is."""
    names = list(roles)
    cells: dict[tuple[str, str], str] = {}
    for first, second, difference, verdict in table[["first", "second", "difference", "verdict"]].itertuples(
        index=False
    ):
        shown = verdict != stats.TIE
        cells[first, second] = f"{difference:+.4f}" if shown else stats.TIE
        cells[second, first] = f"{-difference:+.4f}" if shown else stats.TIE
    columns = {other: [cells.get((name, other), "") for name in names] for other in names}
    marked = {ROLE: list(roles.values())} if BASELINE in roles.values() else {}
    return pd.DataFrame({"architecture": pd.Series(names, dtype="str"), **marked, **columns})


def _models(best: Mapping[str, pd.DataFrame], rank_by: str) -> pd.DataFrame:
    """What was compared."""
    rows: list[dict[str, Any]] = []
    for name, own in best.items():
        models = tested.models(own)
        middle = models[representative(own, rank_by)]["trial"]
        rows.append(
            {
                "architecture": name,
                ROLE: role(own),
                "configuration": name_of(own),
                "seeds": len(models),
                f"{rank_by}_mean": own[rank_by].mean(),
                "test_accuracy_mean": own["test_accuracy"].mean(),
                "test_accuracy_sd": own["test_accuracy"].std(),
                "representative": middle.iloc[0] if len(middle) == 1 else f"{middle.iloc[0]} to {middle.iloc[-1]}",
            }
        )
    columns = ["architecture", ROLE, "configuration", "seeds"]
    columns += [f"{rank_by}_mean", "test_accuracy_mean", "test_accuracy_sd", "representative"]
    return pd.DataFrame(rows, columns=columns)


_RULE = (
    f"One is called better where two tests agree: the {stats.CONFIDENCE:.0%} interval of the difference of mean test "
    "accuracies (low to high, paired bootstrap over texts and seeds) leaves out zero, and McNemar's exact test between "
    f"the two models of median validation score (which texts only one of them got right) has p < "
    f"{1 - stats.CONFIDENCE:.2f}, Holm-corrected for all pairs. Cohen's g: 0.05 is small, 0.15 medium, 0.25 large; "
    "Hedges' g, over seeds: 0.2, 0.5, 0.8. A tie is not shown to be equal."
)


def _baselines(best: Mapping[str, pd.DataFrame]) -> Iterable[str]:
    if names := [name for name, own in best.items() if is_baseline(own)]:
        yield f"Baselines, which were not searched: {', '.join(names)}."


def _single(best: Mapping[str, pd.DataFrame]) -> Iterable[str]:
    single = [name for name, own in best.items() if len(own) == 1 and not is_baseline(own)]
    if single:
        yield (
            f"Of {', '.join(single)} there is a single seed: that says which of these models is better, and little of "
            "the architecture. More: python -m search confirm."
        )


def _notes(
    search: Search, trials: pd.DataFrame, best: Mapping[str, pd.DataFrame], others: Sequence[str]
) -> Iterable[str]:
    fresh = {name: own for name, own in best.items() if (own["search"] != search.id).all()}
    if fresh:
        by = dict.fromkeys(each for own in fresh.values() for each in own["search"])
        if folds := max(map(num_folds, fresh.values())):
            yield (
                f"Trained over {folds} folds by {', '.join(by)}: of each text counts what the model says that was "
                "tested on it, so that all texts are compared. SD is that over folds, whose training texts overlap."
            )
        else:
            yield f"Confirmed on fresh seeds by {', '.join(by)}: {', '.join(fresh)}."
        if rest := [name for name, own in best.items() if name not in fresh and not is_baseline(own)]:
            yield f"Not confirmed, and so the best of the search itself, which is in part luck: {', '.join(rest)}."
    if others:
        yield f"Left out, on other data than {search.id}: {', '.join(others)}."
    without = sorted(set(trials["architecture"].dropna()) - set(best))
    if without and any(map(num_folds, best.values())):
        yield f"Not trained over folds, and so not compared: {', '.join(without)}."
    elif without:
        yield f"Without a complete trial: {', '.join(without)}."
    yield record.SCORE_RULE
