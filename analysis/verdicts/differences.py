"""Do the architectures differ? All pairs of their best configurations, compared on the same test texts.

Shapes: S seeds of a configuration, N test texts.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.base import pairs, runs, stats
from analysis.base.baselines import BASELINE, ROLE, is_baseline, role, shown
from analysis.base.looks import nominal
from analysis.base.runs import Search, hyperparameters, scored
from analysis.base.table import Table
from analysis.boards.confirmation import Recorded, num_folds, read
from analysis.boards.leaderboard import RANK_BY, check_metric
from analysis.verdicts import robustness, tested
from data.base.errors import UserError
from search.base import schema
from search.study import ranking


def best_configurations(trials: pd.DataFrame, rank_by: str = RANK_BY) -> dict[str, pd.DataFrame]:
    """The complete trials of every architecture's best configuration by the mean of `rank_by`, the best one first.

    Trials belong to one configuration if they have its name or, without a name, the same hyperparameters. For ties, see
    `ranking.configurations`.
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


def name_of(repeats: pd.DataFrame) -> str:
    """The name of a configuration, else of its first trial."""
    configuration = repeats["configuration"].iloc[0]
    return str(repeats["trial"].iloc[0] if pd.isna(configuration) else configuration)


def representative(repeats: pd.DataFrame, rank_by: str = RANK_BY) -> int:
    """The place of the model (see `tested.models`) with the median score; of two in the middle, the lower one."""
    scores = [model[rank_by].mean() for model in tested.models(repeats)]
    return int(np.argsort(scores, kind="stable")[(len(scores) - 1) // 2])


def correct(repeats: pd.DataFrame, predictions: Mapping[str, pd.DataFrame]) -> np.ndarray:
    """Which test texts every model of a configuration got right (S, N). predictions: by run id."""
    found = [tested.said(model, predictions) for model in tested.models(repeats)]
    correct_SN = [(answers["label"] == answers["predicted"]).to_numpy(dtype=bool) for answers in found]
    return np.stack(correct_SN)


def models_of(repeats: pd.DataFrame, predictions: Mapping[str, pd.DataFrame], rank_by: str = RANK_BY) -> pairs.Models:
    """A configuration as `pairs` takes it."""
    return pairs.Models(correct(repeats, predictions), representative(repeats, rank_by), is_baseline(repeats))


def check_texts(best: Mapping[str, pd.DataFrame], predictions: Mapping[str, pd.DataFrame]) -> None:
    """Raise UserError unless all models were tested on the same texts in the same order."""
    models = [model for repeats in best.values() for model in tested.models(repeats)]
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
    rank_by: str = RANK_BY,
    margin: float = pairs.MARGIN,
    looks: int = 1,
) -> pd.DataFrame:
    """All pairs of architectures (see `pairs.compare`). best: from `best_configurations`. predictions: by run id."""
    check_texts(best, predictions)
    models = {name: models_of(repeats, predictions, rank_by) for name, repeats in best.items()}
    return pairs.compare(models, margin, looks)


# --- As tables


def read_differences(
    uri: str, search: Search, rank_by: str = RANK_BY, margin: float = pairs.MARGIN, *, long: bool = False
) -> list[Table]:
    """The differences between the architectures of a search, as tables. long: a single table of all pairs.

    Compares every architecture's best confirmed configuration on the same data, if any, else its best in the search.
    margin: architectures that differ by less, in accuracy, are equal. Raises UserError when predictions were not kept,
    or are for different texts.
    """
    recorded = read(uri, search)
    best = compared(recorded, rank_by)
    predictions = read_predictions(uri, recorded.origin, best)
    trials = pd.concat([recorded.trials, recorded.repeated])
    looks = num_looks(recorded)
    return difference_tables(
        recorded.origin, trials, best, predictions, rank_by, recorded.others, margin, looks, long=long
    )


def num_looks(recorded: Recorded) -> int:
    """The number of looks at the seeds, past and planned: every confirmation is a look."""
    return max(1, len(recorded.same), planned_looks(recorded))


def planned_looks(recorded: Recorded) -> int:
    """The number of looks planned when the last confirmation began; 0 before the first."""
    return max((int(confirming.tags.get(schema.LOOKS, 1)) for confirming in recorded.same), default=0)


def compared(recorded: Recorded, rank_by: str = RANK_BY) -> dict[str, pd.DataFrame]:
    """The trials of every architecture's best configuration: a confirmed one if any, else one of the search."""
    best, others = (best_configurations(trials, rank_by) for trials in (recorded.repeated, recorded.trials))
    if not recorded.folds:  # with folds, trials of the search were tested on fewer texts
        best |= {name: repeats for name, repeats in others.items() if name not in best}
    return best


def read_predictions(uri: str, origin: Search, best: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The predictions of all trials of these configurations, by run id. Raises UserError when some were not kept."""
    predictions = {}
    for trial, run_id in (
        (t, r) for repeats in best.values() for t, r in zip(repeats["trial"], repeats["run_id"], strict=True)
    ):
        found = runs.read_predictions(uri, run_id)
        if found is None:
            raise UserError(
                f"the predictions of {trial} (run {run_id[:8]}) are not in MLflow; to train the best again: "
                f"python -m search confirm {origin.id}"
            )
        predictions[run_id] = found
    return predictions


def difference_tables(
    search: Search,
    trials: pd.DataFrame,
    best: Mapping[str, pd.DataFrame],
    predictions: Mapping[str, pd.DataFrame],
    rank_by: str = RANK_BY,
    others: Sequence[str] = (),
    margin: float = pairs.MARGIN,
    looks: int = 1,
    *,
    long: bool = False,
) -> list[Table]:
    """The matrix over architectures, all pairs, and the compared models. long: only the pairs.

    trials: of the search and its confirmations. others: ids of confirmations on other data. looks: see `num_looks`.
    """
    table = differences(best, predictions, rank_by, margin, looks)
    sides = ("first", "second")
    roles = {name: role(repeats) for name, repeats in best.items()}
    table = table.assign(**{f"{side}_{ROLE}": [roles[name] for name in table[side]] for side in sides})
    marked = [f"{side}_{ROLE}" for side in sides] if BASELINE in roles.values() else []
    verdicts = Table(
        table,
        groups=[
            [*sides, "verdict", "difference", "low", "high"],
            *([marked] if marked else []),
            ["first_better", "better_p", "equal_p", "hedges_g"],
            ["only_first", "only_second", "holm_p", "cohens_g"],
        ],
        key=["first", "second"],
        title=f"{search.id}: every pair on the same {_num_texts(best, predictions)} test texts",
        notes=[
            *_baselines(best),
            *_single(search, table, best),
            *_to_decide(table, best, predictions, margin, looks),
            *_robust(trials, best, predictions, rank_by),
            _rule(margin, looks),
        ],
    )
    if long:
        return [verdicts]
    matrix = _matrix(table, roles)
    models = _models(best, rank_by)
    whole = Table(
        matrix,
        groups=[list(matrix.columns)],
        key=["architecture", *shown(matrix)],
        title=f"{search.id}: {_title(table, len(best), margin)}",
    )
    chosen = Table(
        models,
        groups=[[name for name in models.columns if name != ROLE or marked]],
        key="architecture",
        title=f"The best configuration of each architecture by mean {rank_by}",
        notes=list(_notes(search, trials, best, others)),
    )
    return [whole, *([verdicts] if len(table) else []), chosen]


def _num_texts(best: Mapping[str, pd.DataFrame], predictions: Mapping[str, pd.DataFrame]) -> str:
    models = (model for repeats in best.values() for model in tested.models(repeats))
    return f"{next((len(tested.said(model, predictions)) for model in models), 0):,}"


def _title(table: pd.DataFrame, num: int, margin: float) -> str:
    if not len(table):
        return f"{num} architecture{'s' * (num != 1)} with complete trials, none to compare"
    if (table["verdict"] == pairs.Verdict.ONE_SEED.value).all():
        return "one seed each: enough to compare these models, not the architectures"
    return f"test accuracy of the row minus that of the column, or equal within {margin:g}, or cannot tell"


def _matrix(table: pd.DataFrame, roles: Mapping[str, str]) -> pd.DataFrame:
    """One row and one column per architecture and baseline. roles: SEARCHED or BASELINE, by name."""
    names = list(roles)
    cells: dict[tuple[str, str], str] = {}
    for first, second, difference, verdict in table[["first", "second", "difference", "verdict"]].itertuples(
        index=False
    ):
        better = verdict in (first, second)
        cells[first, second] = f"{difference:+.4f}" if better else verdict
        cells[second, first] = f"{-difference:+.4f}" if better else verdict
    columns = {other: [cells.get((name, other), "") for name in names] for other in names}
    marked = {ROLE: list(roles.values())} if BASELINE in roles.values() else {}
    return pd.DataFrame({"architecture": pd.Series(names, dtype="str"), **marked, **columns})


def _models(best: Mapping[str, pd.DataFrame], rank_by: str) -> pd.DataFrame:
    """The compared configurations."""
    rows: list[dict[str, Any]] = []
    for name, repeats in best.items():
        models = tested.models(repeats)
        middle = models[representative(repeats, rank_by)]["trial"]
        rows.append(
            {
                "architecture": name,
                ROLE: role(repeats),
                "configuration": name_of(repeats),
                "seeds": len(models),
                f"{rank_by}_mean": repeats[rank_by].mean(),
                "test_accuracy_mean": repeats["test_accuracy"].mean(),
                "test_accuracy_sd": repeats["test_accuracy"].std(),
                "representative": middle.iloc[0] if len(middle) == 1 else f"{middle.iloc[0]} to {middle.iloc[-1]}",
            }
        )
    columns = ["architecture", ROLE, "configuration", "seeds"]
    columns += [f"{rank_by}_mean", "test_accuracy_mean", "test_accuracy_sd", "representative"]
    return pd.DataFrame(rows, columns=columns)


def _rule(margin: float, looks: int) -> str:
    several = (
        f" Intervals and p-values are corrected for {looks} looks at the seeds (Pocock 1977)." if looks > 1 else ""
    )
    return (
        "Verdicts are about the expected accuracy over seeds and texts like these. Low to high: the "
        f"{stats.CONFIDENCE:.0%} interval of the difference, not corrected for other pairs. A pair is better, or equal "
        f"within {margin:g}, if better p, or equal p, is below {1 - stats.CONFIDENCE:.2f}; both are Holm-corrected for "
        "all pairs. First better: P(A > B), the probability that a seed of the first gets more texts right than one of "
        "the second; 0.75 is large. Hedges' g, over seeds: 0.2 is small, 0.5 medium, 0.8 large."
        f"{several} The other columns are about the two models of median validation score only: the texts that only "
        "one of them got right, McNemar's exact test (holm p), and Cohen's g (0.05 is small, 0.15 medium, 0.25 large). "
        "More: docs/verdicts.md."
    )


def _baselines(best: Mapping[str, pd.DataFrame]) -> Iterable[str]:
    if names := [name for name, repeats in best.items() if is_baseline(repeats)]:
        yield f"Baselines, which were not searched: {', '.join(names)}."


def _single(search: Search, table: pd.DataFrame, best: Mapping[str, pd.DataFrame]) -> Iterable[str]:
    if (table["verdict"] == pairs.Verdict.ONE_SEED.value).any():
        single = [
            name for name, repeats in best.items() if len(tested.models(repeats)) == 1 and not is_baseline(repeats)
        ]
        yield (
            f"One seed each of {', '.join(single)}: enough to compare these models, not the architectures. To compare "
            f"the architectures: python -m search confirm {search.id}."
        )


def _to_decide(
    table: pd.DataFrame,
    best: Mapping[str, pd.DataFrame],
    predictions: Mapping[str, pd.DataFrame],
    margin: float,
    looks: int,
) -> Iterable[str]:
    """The number of seeds or texts that the open pairs need for a decision, at the corrected level."""
    undecided = table[table["verdict"] == pairs.Verdict.CANNOT_TELL.value]
    if not len(undecided):
        return
    names = {name for side in ("first", "second") for name in undecided[side]}
    samples = {
        name: pairs.sample(pairs.Models(correct(best[name], predictions), 0, is_baseline(best[name]))) for name in names
    }
    level = nominal((1 - stats.CONFIDENCE) / len(undecided), looks)
    needed, finest = [], []
    for first, second in zip(undecided["first"], undecided["second"], strict=True):
        found = pairs.gap(samples[first], samples[second])
        finest.append(found.smallest_margin(level))
        seeds = found.seeds_to_decide(margin, level)
        needed.append(f"{first} and {second} " + ("need more texts" if math.isinf(seeds) else f"about {seeds:,}"))
    yield (
        f"Seeds per configuration that would decide a pair if the difference stays: {', '.join(needed)}. With any "
        f"number of seeds, these texts cannot show an open pair to be equal within less than {min(finest):.4f}."
    )


def _robust(
    trials: pd.DataFrame, best: Mapping[str, pd.DataFrame], predictions: Mapping[str, pd.DataFrame], rank_by: str
) -> Iterable[str]:
    models = {
        name: models_of(repeats, predictions, rank_by) for name, repeats in best.items() if not is_baseline(repeats)
    }
    of_search = trials[trials["configuration"].isna() & (trials["outcome"] == schema.Outcome.COMPLETE.value)]
    scores = {str(name): repeats[rank_by] for name, repeats in of_search.groupby("architecture")}
    if line := robustness.sentence(models, scores, check_metric(rank_by).maximize):
        yield line


def _notes(
    search: Search, trials: pd.DataFrame, best: Mapping[str, pd.DataFrame], others: Sequence[str]
) -> Iterable[str]:
    fresh = {name: repeats for name, repeats in best.items() if (repeats["search"] != search.id).all()}
    if fresh:
        by = dict.fromkeys(each for repeats in fresh.values() for each in repeats["search"])
        if folds := max(map(num_folds, fresh.values())):
            yield (
                f"Trained over {folds} folds by {', '.join(by)}: every text counts with the prediction of the model "
                "that was not trained on it. SD is over folds, whose training texts overlap."
            )
        else:
            yield f"Confirmed on fresh seeds by {', '.join(by)}: {', '.join(fresh)}."
        if rest := [name for name, repeats in best.items() if name not in fresh and not is_baseline(repeats)]:
            yield f"Not confirmed, so the best trial of the search, which is partly luck: {', '.join(rest)}."
    if others:
        yield f"Left out, on other data than {search.id}: {', '.join(others)}."
    without = sorted(set(trials["architecture"].dropna()) - set(best))
    if without and any(map(num_folds, best.values())):
        yield f"Not trained over folds, so not compared: {', '.join(without)}."
    elif without:
        yield f"Without a complete trial: {', '.join(without)}."
    yield schema.SCORE_RULE
