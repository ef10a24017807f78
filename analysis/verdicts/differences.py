"""Are the architectures really different? Their best configurations, compared on the same test texts.

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


def models_of(own: pd.DataFrame, predictions: Mapping[str, pd.DataFrame], rank_by: str = RANK_BY) -> pairs.Models:
    """What `pairs` compares of a configuration."""
    return pairs.Models(correct(own, predictions), representative(own, rank_by), is_baseline(own))


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
    rank_by: str = RANK_BY,
    margin: float = pairs.MARGIN,
    looks: int = 1,
) -> pd.DataFrame:
    """Every pair of architectures (see `pairs.compare`), from `best_configurations` and the predictions by run id."""
    check_texts(best, predictions)
    models = {name: models_of(own, predictions, rank_by) for name, own in best.items()}
    return pairs.compare(models, margin, looks)


# --- As tables


def read_differences(
    uri: str, search: Search, rank_by: str = RANK_BY, margin: float = pairs.MARGIN, *, long: bool = False
) -> list[Table]:
    """The differences between the architectures of a search, for readers; long: one table of all pairs.

    margin: two that differ by less, in accuracy, are equal.

    Of each architecture's confirmed configurations on the same data, if the search was confirmed (or confirms another
    one), else of its best in the search itself. Raises UserError when what the trials predicted is not kept, or was
    not predicted of the same texts.
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
    """How often the seeds have been, and are planned to be, looked at: each confirmation is a look."""
    return max(1, len(recorded.same), planned_looks(recorded))


def planned_looks(recorded: Recorded) -> int:
    """How many looks were planned when the last confirmation began; 0 before the first."""
    return max((int(each.tags.get(record.LOOKS, 1)) for each in recorded.same), default=0)


def compared(recorded: Recorded, rank_by: str = RANK_BY) -> dict[str, pd.DataFrame]:
    """The trials of each architecture's best configuration: of those confirmed, else of the search itself."""
    best, others = (best_configurations(each, rank_by) for each in (recorded.repeated, recorded.trials))
    if not recorded.folds:  # else the others were tested on fewer texts
        best |= {name: own for name, own in others.items() if name not in best}
    return best


def read_predictions(uri: str, origin: Search, best: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """What all trials of these configurations said, by run id. Raises UserError when that is not kept."""
    predictions = {}
    for trial, run_id in ((t, r) for own in best.values() for t, r in zip(own["trial"], own["run_id"], strict=True)):
        found = runs.read_predictions(uri, run_id)
        if found is None:
            raise UserError(
                f"what {trial} (run {run_id[:8]}) predicted is not kept in MLflow; to train the best again: "
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
    """The matrix over architectures, all pairs, and the models behind them. long: only the pairs.

    trials: those of the search and of its confirmations. others: ids of confirmations that were made on other data.
    looks: see `num_looks`.
    """
    table = differences(best, predictions, rank_by, margin, looks)
    sides = ("first", "second")
    roles = {name: role(own) for name, own in best.items()}
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
    models = (model for own in best.values() for model in tested.models(own))
    return f"{next((len(tested.said(model, predictions)) for model in models), 0):,}"


def _title(table: pd.DataFrame, num: int, margin: float) -> str:
    if not len(table):
        return f"{num} architecture{'s' * (num != 1)} with complete trials, none to compare"
    if (table["verdict"] == pairs.Verdict.ONE_SEED.value).all():
        return "one seed each: the models differ on these texts, the architectures are unknown"
    return (
        f"by how much the row's test accuracy is better than the column's, or equal within {margin:g}, or cannot tell"
    )


def _matrix(table: pd.DataFrame, roles: Mapping[str, str]) -> pd.DataFrame:
    """A row and a column for each architecture and baseline. roles: what each is."""
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


def _rule(margin: float, looks: int) -> str:
    several = (
        f" The seeds are looked at {looks} times, which intervals and p-values allow for (Pocock 1977)."
        if looks > 1
        else ""
    )
    return (
        "Verdicts are on the accuracy to be expected over seeds and texts like these; low to high: the "
        f"{stats.CONFIDENCE:.0%} interval of the difference, of this pair alone. Better: better p, equal within "
        f"{margin:g}: equal p below {1 - stats.CONFIDENCE:.2f}, each Holm-corrected for all pairs. First better: "
        "P(A > B), how often a seed of the first gets more right than one of the second; 0.75 is much. Hedges' g, over "
        f"seeds: 0.2 is small, 0.5 medium, 0.8 large.{several} Of the two given models of median validation score "
        "alone: the texts that only one of them got right, McNemar's exact test (holm p) and Cohen's g (0.05, 0.15, "
        "0.25). More: docs/verdicts.md."
    )


def _baselines(best: Mapping[str, pd.DataFrame]) -> Iterable[str]:
    if names := [name for name, own in best.items() if is_baseline(own)]:
        yield f"Baselines, which were not searched: {', '.join(names)}."


def _single(search: Search, table: pd.DataFrame, best: Mapping[str, pd.DataFrame]) -> Iterable[str]:
    if (table["verdict"] == pairs.Verdict.ONE_SEED.value).any():
        single = [name for name, own in best.items() if len(tested.models(own)) == 1 and not is_baseline(own)]
        yield (
            f"One seed each of {', '.join(single)}: the models differ on these texts, the architectures are unknown. "
            f"To find out: python -m search confirm {search.id}."
        )


def _to_decide(
    table: pd.DataFrame,
    best: Mapping[str, pd.DataFrame],
    predictions: Mapping[str, pd.DataFrame],
    margin: float,
    looks: int,
) -> Iterable[str]:
    """What the open pairs need, each at the level that is left of the family's."""
    undecided = table[table["verdict"] == pairs.Verdict.CANNOT_TELL.value]
    if not len(undecided):
        return
    names = {name for side in ("first", "second") for name in undecided[side]}
    samples = {
        name: pairs.sample(pairs.Models(correct(best[name], predictions), 0, is_baseline(best[name]))) for name in names
    }
    level = nominal((1 - stats.CONFIDENCE) / len(undecided), looks)
    told, finest = [], []
    for first, second in zip(undecided["first"], undecided["second"], strict=True):
        found = pairs.gap(samples[first], samples[second])
        finest.append(found.smallest_margin(level))
        seeds = found.seeds_to_decide(margin, level)
        told.append(f"{first} and {second} " + ("need more texts" if math.isinf(seeds) else f"about {seeds:,}"))
    yield (
        f"Seeds of each that would decide, were the differences what they seem: {', '.join(told)}. However many seeds, "
        f"these texts cannot show an open pair to be equal within less than {min(finest):.4f}."
    )


def _robust(
    trials: pd.DataFrame, best: Mapping[str, pd.DataFrame], predictions: Mapping[str, pd.DataFrame], rank_by: str
) -> Iterable[str]:
    models = {name: models_of(own, predictions, rank_by) for name, own in best.items() if not is_baseline(own)}
    of_search = trials[trials["configuration"].isna() & (trials["outcome"] == record.Outcome.COMPLETE.value)]
    scores = {str(name): own[rank_by] for name, own in of_search.groupby("architecture")}
    if line := robustness.sentence(models, scores, check_metric(rank_by).maximize):
        yield line


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
