"""Leaderboards: all trials of a search by rank, and the best of each architecture.

Functions from frames (see `runs.tidy`) to frames; the last section turns them into tables.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from analysis.base.baselines import ROLE, SEARCHED, baselines, searched, shown
from analysis.base.runs import RANK_BY, Search, hyperparameters, present, scored, values
from analysis.base.table import Table, cell
from data.base.errors import UserError, choose
from search.base import schema
from search.base.schema import LATENCY_MS, MODEL_MB, Outcome
from search.study import fronts, ranking
from search.train.config import reads_texts
from search.train.costs import COSTS
from search.train.metrics import METRICS, Metric, check_rank, measures, split_metric


def check_metric(rank_by: str) -> Metric:
    """The metric to rank by. Raises UserError unless it is a validation metric."""
    split, _, name = rank_by.partition("_")
    if rank_by not in measures("val") and split in schema.SPLITS and name in METRICS:
        raise UserError(
            f"cannot rank by {rank_by}: nothing is chosen on the {split} set; the nearest valid choice is val_{name}"
        )
    return split_metric(check_rank(rank_by))[1]


def tested(trials: pd.DataFrame, rank_by: str) -> list[str]:
    """The test metrics to show: those measured that have a column in every table, and the ranking metric; no loss."""
    ranking = split_metric(rank_by)[1]
    return [name for name in all_tested(trials) if (metric := split_metric(name)[1]).column or metric == ranking]


def all_tested(trials: pd.DataFrame) -> list[str]:
    """The test metrics that these trials measure, without the loss: 'test_accuracy', ...

    For trials that have measured nothing yet, the metrics that every task has.
    """
    names = _measured(trials) or [metric.name for metric in METRICS.values() if metric.tasks is None]
    return [f"test_{name}" for name in names if name != "loss"]


def _measured(trials: pd.DataFrame) -> list[str]:
    """The metrics that at least one trial has measured."""
    return [name for name in METRICS if trials[f"val_{name}"].notna().any()]


def common_metric(searches: Iterable[Search]) -> str:
    """The metric of all searches if they have the same one, else the default."""
    metrics = {search.metric for search in searches}
    return metrics.pop() or RANK_BY if len(metrics) == 1 else RANK_BY


def only(trials: pd.DataFrame, architecture: str) -> pd.DataFrame:
    """The trials of one architecture, without the hyperparameters of others. Raises UserError if there are none."""
    choose("architecture", architecture, sorted(trials["architecture"].dropna().unique()))
    chosen = trials[trials["architecture"] == architecture]
    return chosen.drop(columns=[name for name in hyperparameters(chosen) if not values(chosen[name])])


def leaderboard(trials: pd.DataFrame, rank_by: str = RANK_BY, objectives: Sequence[str] = ()) -> pd.DataFrame:
    """All trials, best first, in the order of `search.study.ranking`; unranked trials have no rank.

    objectives: if there are several, complete trials are ranked by fronts instead (see `search.study.fronts`), with the
    number of the `front`; 1 is the Pareto front of all.

    Baselines are ranked among the others, since a user wants the best of all; `role` marks them. Raises UserError if
    the trials do not measure the metric.
    """
    check_metric(rank_by)
    measured = _measured(trials)
    if measured and rank_by not in [f"val_{name}" for name in measured]:
        raise UserError(
            f"cannot rank by {rank_by}: these trials do not measure it; "
            f"choose from {', '.join(f'val_{name}' for name in measured if not METRICS[name].no_rank)}"
        )
    rows = scored(trials, rank_by)
    rows.sort(key=ranking.order(rank_by, rows))
    numbers: list[int | None] = []
    if objectives:
        known = values_of(trials, objectives)
        in_order = fronts.ranked(rows, objectives, rank_by, lambda row: known[row.Index])
        rows, numbers = [row for row, _ in in_order], [number for _, number in in_order]
    board = trials.loc[[row.Index for row in rows]]
    common = ranking.shared(rows)
    places: dict[Any, int] = {}  # trials of a repeated configuration share a rank
    ranks: list[int | None] = []
    for row in rows:
        which = first if (first := ranking.first_of(row)) in common else row.Index
        ranks.append(places.setdefault(which, len(places) + 1) if ranking.is_ranked(row) else None)
    board.insert(0, "rank", pd.Series(ranks, board.index, dtype="Int64"))
    if objectives:
        board.insert(1, "front", pd.Series(numbers, board.index, dtype="Int64"))
    means = [found.score if (found := common.get(ranking.first_of(row))) else None for row in rows]
    board[_mean(rank_by)] = pd.Series(means, board.index, dtype="float64")
    return board[
        [
            "rank",
            *(["front"] if objectives else []),
            "architecture",
            ROLE,
            "trial",
            *dict.fromkeys([rank_by, *_means(board, rank_by), RANK_BY, *all_tested(trials)]),
            *[name for name in dict.fromkeys(map(column_of, objectives)) if name not in _ALWAYS and name != rank_by],
            "num_parameters",
            "seconds",
            "epochs_run",
            *hyperparameters(trials),
            "outcome",
            *_repeating(board),
            "error",
            "run_id",
        ]
    ].reset_index(drop=True)


_ALWAYS = (RANK_BY, "num_parameters", "seconds")  # columns that every leaderboard has


def column_of(objective: str) -> str:
    """The column of an objective in a frame of trials."""
    return (COSTS[objective].column or objective) if objective in COSTS else objective


def values_of(trials: pd.DataFrame, objectives: Sequence[str]) -> dict[Any, list[float | None]]:
    """The values of the objectives by the index of the trial; None where unknown."""
    columns = trials[[column_of(name) for name in objectives]].astype("float64").to_numpy()
    known = ([None if pd.isna(value) else float(value) for value in row] for row in columns)
    return dict(zip(trials.index, known, strict=True))


def by_architecture(trials: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """One row per architecture or baseline, the best first: its best trial, and the number of trials by outcome.

    Architectures without a ranked trial come last, with counts only.
    """
    board = leaderboard(trials, rank_by)
    best = board[board["rank"].notna()].drop_duplicates("architecture").set_index("architecture")
    groups = trials.groupby("architecture")["outcome"]
    counts = pd.DataFrame({"trials": groups.size()} | {each.value: groups.agg(_counter(each)) for each in Outcome})
    order = [*best.index, *counts.index.difference(best.index)]
    table = best.reindex(order).join(counts).rename_axis("architecture").reset_index()
    table[ROLE] = table["architecture"].map(trials.groupby("architecture")[ROLE].first()).astype("str")
    return table[
        [
            "architecture",
            ROLE,
            "trial",
            *dict.fromkeys([rank_by, *_means(board, rank_by), RANK_BY, *all_tested(trials)]),
            "num_parameters",
            "seconds",
            "epochs_run",
            "outcome",
            *counts.columns,
            *hyperparameters(trials),
            "run_id",
        ]
    ]


def varying(trials: pd.DataFrame) -> list[str]:
    """The hyperparameters with more than one value in these trials."""
    return [name for name in hyperparameters(trials) if len(values(trials[name])) > 1]


def constant(trials: pd.DataFrame) -> dict[str, Any]:
    """The hyperparameters with a single value in these trials, with that value."""
    taken = {name: values(trials[name]) for name in hyperparameters(trials)}
    return {name: next(iter(single)) for name, single in taken.items() if len(single) == 1}


def _metrics(trials: pd.DataFrame, board: pd.DataFrame, rank_by: str) -> list[str]:
    return list(dict.fromkeys([rank_by, *_means(board, rank_by), RANK_BY, *tested(trials, rank_by)]))


def _mean(rank_by: str) -> str:
    """The column with the mean score of repeated configurations."""
    return f"{rank_by}_mean"


def _means(board: pd.DataFrame, rank_by: str) -> list[str]:
    """The column of `_mean`, as a list; empty if no configuration was repeated."""
    return [_mean(rank_by)] if _mean(rank_by) in board and board[_mean(rank_by)].notna().any() else []


def _repeating(board: pd.DataFrame) -> list[str]:
    """The column with the trial whose configuration was repeated, as a list; empty if there is none."""
    return [schema.REPEATS] if schema.REPEATS in board and board[schema.REPEATS].notna().any() else []


def _counter(outcome: Outcome) -> Any:
    return lambda outcomes: (outcomes == outcome.value).sum()


# --- As tables


def ranking_table(
    search: Search, trials: pd.DataFrame, rank_by: str = RANK_BY, top: int = 0, *, every: bool = True
) -> Table:
    """The first `top` trials of the leaderboard, or all of it (0).

    every: whether to show all trials of baselines; else only the best of each, since the points of their grids differ
    little and would hide searched trials.
    """
    board = leaderboard(trials, rank_by, search.objectives if rank_by == search.metric else ())
    rows = board if every else board[(board[ROLE] == SEARCHED) | ~board["architecture"].duplicated()]
    left_out = len(board) - len(rows)
    rows, num_shown = (rows.head(top), top) if 0 < top < len(rows) else (rows, len(board))
    return Table(
        rows,
        groups=[
            [
                "rank",
                *(["front"] if "front" in board else []),
                "trial",
                *shown(board),
                *_metrics(trials, board, rank_by),
                *[name for name in map(column_of, search.objectives) if name in (MODEL_MB, LATENCY_MS)],
                "num_parameters",
                "seconds",
            ],
            ["outcome", *_repeating(board), *varying(_for_hyperparameters(trials)), "epochs_run", "run_id"],
        ],
        key=["trial", *shown(board)],
        title=_title(search, board, num_shown, rank_by) + ", only the best of each baseline" * (left_out > 0),
        notes=notes(search, trials, rank_by),
    )


def architecture_table(search: Search, trials: pd.DataFrame, rank_by: str = RANK_BY) -> Table:
    """The best trial of each architecture."""
    best = by_architecture(trials, rank_by)
    occurring = [each.value for each in Outcome if best[each.value].any()]
    return Table(
        best,
        groups=[
            ["architecture", *shown(best), "trial", *_metrics(trials, best, rank_by), "num_parameters", "seconds"],
            ["trials", *occurring],
            [*varying(_for_hyperparameters(trials)), "run_id"],
        ],
        key=["architecture", *shown(best)],
        title=f"{search.id}: the best of each architecture{' and baseline' * bool(shown(best))} by {rank_by}",
        notes=notes(search, trials, rank_by),
    )


def _title(search: Search, board: pd.DataFrame, num_shown: int, rank_by: str) -> str:
    num_trials = f"{len(board)} trial{'s' * (len(board) > 1)}"
    if board.empty:
        return f"{search.id} has no trials yet."
    if board["rank"].isna().all():
        return f"{search.id}: of {num_trials} none can be ranked."
    return f"{search.id}: {f'the first {num_shown} of ' * (num_shown < len(board))}{num_trials} by {rank_by}"


def notes(search: Search, trials: pd.DataFrame, rank_by: str) -> list[str]:
    """The notes below a leaderboard."""
    return [
        *_same_for_all(_for_hyperparameters(trials)),
        *_of_baselines(trials, rank_by),
        *_fitted_on(search, trials),
        *_words_read(search),
        *_on_the_same_words(search, trials, rank_by),
        *_proposed_again(trials, rank_by),
        *_not_ranked(trials, rank_by),
        *notes_on_classes([search]),
        *notes_on_fronts(search, rank_by),
        *notes_on_ranking([search], rank_by),
    ]


def notes_on_fronts(search: Search, rank_by: str) -> Iterable[str]:
    """The ranking rule for several objectives."""
    if search.objectives and rank_by == search.metric:
        goals = ", ".join(f"{name} ({'more' if fronts.maximizes(name) else 'less'})" for name in search.objectives)
        yield (
            f"Complete trials are ranked by Pareto fronts of {goals}: a trial is on front 1 if no other is better in "
            "one objective without being worse in another; within a front, trials far from their neighbours come first."
        )


def notes_on_classes(searches: Sequence[Search]) -> Iterable[str]:
    """The majority class as a yardstick, and the positive class: one line per distinct corpus."""
    lines: dict[str, list[str]] = {}
    for search in searches:
        if schema.MAJORITY not in search.tags or schema.MAJORITY_SHARE not in search.metrics:
            continue  # images, several classes per text, or an old search
        line = (
            f"Majority class: {search.metrics[schema.MAJORITY_SHARE]:.1%} of the test texts are "
            f"{search.tags[schema.MAJORITY][:40]!r}, which is the accuracy of always predicting it."
        )
        if positive := search.tags.get(schema.POSITIVE_CLASS):
            line += f" F1, ROC AUC and average precision are for {positive[:40]!r}, the positive class."
        lines.setdefault(line, []).append(search.id)
    for line, ids in lines.items():
        yield line if len(lines) == 1 else f"{', '.join(ids)}: {line[0].lower()}{line[1:]}"


def notes_on_ranking(searches: Iterable[Search], rank_by: str) -> Iterable[str]:
    """The rules by which trials are ranked."""
    better = "higher" if check_metric(rank_by).maximize else "lower"
    yield (
        f"Ranked by {rank_by}, {better} is better; pruned trials rank below complete ones; ties go to fewer parameters."
    )
    for metric in dict.fromkeys(search.metric for search in searches if search.metric not in (None, rank_by)):
        yield f"The best epoch of each trial was chosen by {metric}, the metric of the search."
    yield schema.SCORE_RULE


def _same_for_all(trials: pd.DataFrame) -> Iterable[str]:
    """Hyperparameters that do not vary: in a note, since columns of them would be noise."""
    architectures = set(trials["architecture"].dropna())
    parts = []
    for name, value in constant(trials).items():
        has_it = trials[name].map(present).astype(bool)
        having = sorted(set(trials["architecture"][has_it].dropna()))
        only = "" if set(having) == architectures else f" ({', '.join(having)})"
        parts.append(f"{name} {cell(name, value)}{only}")
    if parts:
        yield f"The same for all: {', '.join(parts)}."


def _for_hyperparameters(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials whose hyperparameters are shown as columns: the searched ones, if any."""
    kept = searched(trials)
    return kept if len(kept) else trials


def _of_baselines(trials: pd.DataFrame, rank_by: str) -> Iterable[str]:
    """The hyperparameters of baselines: in a note, since their columns would be empty for searched trials."""
    kept = baselines(trials)
    best = by_architecture(kept, rank_by).dropna(subset="trial")
    parts = []
    for _, row in best.iterrows():
        point = ", ".join(f"{name} {cell(name, row[name])}" for name in hyperparameters(kept) if present(row[name]))
        parts.append(f"{row['trial']} ({point})" if point else row["trial"])
    if parts:
        these, of = ("Baselines are", "the best of each") if len(parts) > 1 else ("The baseline is", "its best")
        yield f"{these} for comparison, not searched; {of}: {', '.join(parts)}."


def _fitted_on(search: Search, trials: pd.DataFrame) -> Iterable[str]:
    """The number of texts on which baselines were fitted, if not all."""
    names = [name for name in baselines(trials)["architecture"].dropna().unique() if reads_texts(name)]
    if names and (fitted := search.metrics.get(schema.NUM_FITTED)):
        was = "were" if len(names) > 1 else "was"
        total = search.metrics[schema.NUM_TRAIN]
        yield f"{', '.join(names)} {was} fitted on {fitted:,.0f} of {total:,.0f} training texts."


def _words_read(search: Search) -> Iterable[str]:
    """The number of words that each architecture reads, if they differ."""
    spec = search.spec
    if spec is None or not isinstance(spec.max_words, dict):
        return
    readers: dict[int, list[str]] = {}
    for name in [*spec.architectures, *spec.baselines]:
        readers.setdefault(spec.words_of(name), []).append(name)
    if len(readers) > 1:
        words_read = "; ".join(
            f"{f'{words:,}' if words <= spec.most_words else 'all'} by {', '.join(names)}"
            for words, names in sorted(readers.items())
        )
        yield f"Words read of each text: {words_read}."


def _on_the_same_words(search: Search, trials: pd.DataFrame, rank_by: str) -> Iterable[str]:
    """Which architectures are ahead of the best baseline that reads equally many words."""
    spec, best = search.spec, by_architecture(trials, rank_by).dropna(subset="trial")
    if spec is None or best.empty:
        return
    parts = []
    for words, kept in best.groupby(best["architecture"].map(spec.words_of)):
        names, others = list(kept["architecture"]), baselines(kept)
        if others.empty or len(others) == len(kept):
            continue
        first = others.iloc[0]
        ahead = names[: names.index(first["architecture"])]
        behind = [name for name in searched(kept)["architecture"] if name not in ahead]
        part = f"with {words:,}, ahead of {first['architecture']} ({cell(rank_by, first[rank_by])}): "
        parts.append(part + (", ".join(ahead) or "none") + (f", behind it: {', '.join(behind)}" if behind else ""))
    if parts:
        yield f"On the same words of each text, by {rank_by}: {'; '.join(parts)}."


def _proposed_again(trials: pd.DataFrame, rank_by: str) -> Iterable[str]:
    """The trials that share a rank, because they repeat a configuration."""
    again = ranking.shared(scored(trials, rank_by))
    if num := int(trials[schema.REPEATS].notna().sum()):
        yield (
            f"Repeated on other seeds: {num} trial{'s' * (num > 1)}, of {len(again)} "
            f"configuration{'s' * (len(again) != 1)}. A repeated configuration has one rank, by the mean {rank_by} of "
            "its trials, and ranks as pruned if one of them was pruned or lost."
        )


def _not_ranked(trials: pd.DataFrame, rank_by: str) -> Iterable[str]:
    """The trials that are not ranked: one line per reason."""
    board = leaderboard(trials, rank_by)
    unranked = board[board["rank"].isna()]
    for (outcome, error), group in unranked.fillna({"outcome": "unknown", "error": ""}).groupby(["outcome", "error"]):
        names = [str(name) for name in group["trial"].dropna()]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        reason = f": {error}" if error else "" if outcome not in ranking.RANKED else f": no {rank_by}"
        yield f"Not ranked, {outcome}: {', '.join(names[:5])}{more}{reason}"
