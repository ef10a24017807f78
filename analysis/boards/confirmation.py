"""Confirmations: the best configurations trained again on fresh seeds or over folds, and ranked by their means.

A configuration of a confirmation is named after the trial that it repeats.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.base import runs, stats
from analysis.base.baselines import ROLE, role, shown
from analysis.base.runs import Search, hyperparameters, scored
from analysis.base.table import Table
from analysis.boards.leaderboard import RANK_BY, all_tested, check_metric, notes_on_classes, tested
from data.base.folding import Fold
from search.base import schema
from search.study import ranking
from search.train.metrics import split_metric


def confirmations(known: Sequence[Search], search: Search) -> tuple[Search, list[Search]]:
    """The origin (the search itself, or the one that it confirms) and all confirmations of it, in the order of `known`.

    If the confirmed search is not in `known`, the confirmation counts as an origin.
    """
    origin = next((other for other in known if other.id == search.confirms), search)
    return origin, [other for other in known if other.confirms == origin.id]


def same_data(first: Search, second: Search) -> bool:
    """Whether both searches trained and tested on the same texts; True if unknown."""
    digests = {first.tags.get(schema.DATA_DIGEST), second.tags.get(schema.DATA_DIGEST)}
    return len(digests - {None}) < 2


def confirmed(trials: pd.DataFrame, repeated: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """One row per confirmed configuration, in the order of `ranking.configurations`.

    trials: of the search. repeated: of its confirmations. Columns: `trial` is the repeated trial, `<rank_by>_search`
    its score in the search, and `fall` how much worse the mean is. `<rank_by>` and the test metrics have `_mean` and
    the 95 % interval `_low` to `_high`, missing for one seed. `seeds` (over folds: `models` and `folds`) is the number
    of models that count, `lost` of those that diverged or failed, `trials` of those started. A configuration without a
    model that counts comes last, without a rank.

    Over folds, the models of a fold count as one value, their mean, since they share their training texts.
    """
    maximize = check_metric(rank_by).maximize
    on_test = all_tested(repeated)
    measures = [rank_by, *on_test]
    folds = num_folds(repeated)
    count, overlap = ("models", 1 / (folds - 2)) if folds else ("seeds", 0.0)  # training takes all parts but two
    origins = {row["trial"]: row for _, row in trials.iterrows()}
    unknown = pd.Series(np.nan, trials.columns, dtype=object)
    rows = []
    for of in ranking.configurations(scored(repeated, rank_by), rank_by, ranking.configuration_of):
        architecture, name = of.key
        group = repeated.loc[[trial.Index for trial in of.counting]]
        origin = origins.get(name, unknown)
        row: dict[str, Any] = {"architecture": architecture, "trial": name, count: len(group), "lost": len(of.lost)}
        row[ROLE] = role(repeated[repeated["architecture"] == architecture])
        row["trials"] = len(of.trials)
        row |= {"folds": group["fold"].nunique()} if folds else {}
        for measure in measures:
            scores = group[measure].dropna()
            if folds:
                scores = scores.groupby(group["fold"]).mean()
            found = stats.Estimate(np.nan, np.nan, np.nan)
            if len(scores):
                found = stats.mean_interval(scores, overlap=overlap)
            if split_metric(measure)[1].percent:  # Student's t interval may exceed [0, 1]
                found = found._replace(low=np.maximum(found.low, 0.0), high=np.minimum(found.high, 1.0))
            row |= {f"{measure}_{what}": number for what, number in zip(("mean", "low", "high"), found, strict=True)}
        worse = origin[rank_by] - row[f"{rank_by}_mean"]
        row |= {f"{rank_by}_search": origin[rank_by], "fall": worse if maximize else -worse}
        row |= {"num_parameters": origin["num_parameters"], "seconds": group["seconds"].mean()}
        rows.append(row | {column: origin[column] for column in [*hyperparameters(trials), "run_id"]})
    columns = [
        "architecture",
        ROLE,
        "trial",
        f"{rank_by}_search",
        *(f"{rank_by}_{of}" for of in ("mean", "low", "high")),
        "fall",
        *(["folds"] if folds else []),
        count,
        "lost",
        "trials",
        *(f"{each}_{of}" for each in on_test for of in ("mean", "low", "high")),
    ]
    table = pd.DataFrame(rows, columns=[*columns, "num_parameters", "seconds", *hyperparameters(trials), "run_id"])
    table = table.astype(dict.fromkeys([c for c in columns if c.startswith(tuple(measures))], "float64"))
    table["num_parameters"] = table["num_parameters"].astype("Int64")
    ranks = pd.Series(pd.array(range(1, len(table) + 1), dtype="Int64"), table.index)
    table.insert(0, "rank", ranks.mask(table[count] == 0))
    return table


# --- As tables


@dataclass(frozen=True)
class Recorded:
    """A search (`origin`) and its confirmations.

    same: the confirmations in use, on the same data. trials: of the origin. repeated: of the confirmations in use; if
    any ran over folds, which test on all texts, only those of `ranking.of_most_folds`. others: ids of confirmations on
    other data. aside: ids of confirmations that are not used: on fewer texts, or unfinished.
    """

    origin: Search
    same: Sequence[Search]
    others: Sequence[str]
    trials: pd.DataFrame
    repeated: pd.DataFrame
    aside: Sequence[str] = ()

    @property
    def folds(self) -> int:
        """The number of folds of the confirmation; 0 for fresh seeds."""
        return num_folds(self.repeated)


def read(uri: str, search: Search) -> Recorded:
    """A search, or the one that it confirms, with its confirmations. Raises UserError when MLflow cannot be read."""
    origin, confirming = confirmations(runs.searches(uri), search)
    same = [each for each in confirming if same_data(origin, each)]
    others = [each.id for each in confirming if each not in same]
    trials, repeated = runs.read_trials(uri, origin.id), runs.read_trials(uri, *(each.id for each in same))
    over_folds = ranking.of_most_folds(scored(repeated, RANK_BY))
    repeated = repeated.loc[[trial.Index for trial in over_folds]] if over_folds else repeated[repeated["fold"].isna()]
    used, aside = ([each for each in same if (each.id in {*repeated["search"]}) == wanted] for wanted in (True, False))
    return Recorded(origin, used, others, trials, repeated, [each.id for each in aside])


def confirmation_tables(recorded: Recorded, rank_by: str = RANK_BY, architecture: str | None = None) -> list[Table]:
    """The table of the confirmed configurations, as a list; empty if nothing was confirmed.

    If the confirmed search is not recorded here, the table only says so.
    """
    origin, trials, repeated = recorded.origin, recorded.trials, recorded.repeated
    if origin.confirms is not None:
        title = f"{origin.id} confirms {origin.confirms}, which is not recorded here"
        return [Table(pd.DataFrame({"trial": []}, dtype="str"), groups=[["trial"]], key="trial", title=title)]
    if architecture is not None:
        trials, repeated = (each[each["architecture"] == architecture] for each in (trials, repeated))
    if repeated.empty and not recorded.others:
        return []
    return [confirmation_table(origin, recorded.same, trials, repeated, rank_by, recorded.others, recorded.aside)]


def confirmation_table(
    search: Search,
    confirming: Sequence[Search],
    trials: pd.DataFrame,
    repeated: pd.DataFrame,
    rank_by: str = RANK_BY,
    others: Sequence[str] = (),
    aside: Sequence[str] = (),
) -> Table:
    """The confirmed configurations of a search. others, aside: see `Recorded`."""
    table = confirmed(trials, repeated, rank_by)
    folds = num_folds(repeated)
    counts, how = (["folds", "models"], f"over {folds} folds") if folds else (["seeds"], "on fresh seeds")
    return Table(
        table,
        groups=[
            ["rank", "architecture", *shown(table), "trial"],
            [f"{rank_by}_search", *(f"{rank_by}_{of}" for of in ("mean", "low", "high")), "fall", *counts, "lost"],
            *([f"{metric}_{of}" for of in ("mean", "low", "high")] for metric in tested(repeated, rank_by)),
        ],
        key=["architecture", "trial"],
        title=f"{search.id}: the best configurations {how}, by mean {rank_by}",
        notes=[
            *_notes(search, confirming, table, others, aside, counts[-1]),
            *notes_on_classes([search]),
            schema.SCORE_RULE,
        ],
    )


def num_folds(repeated: pd.DataFrame) -> int:
    """The number of folds of these trials; 0 if the texts were split once."""
    folds = repeated["fold"].dropna()
    return Fold.of(folds.iloc[0]).count if len(folds) else 0


def _notes(
    search: Search,
    confirming: Sequence[Search],
    table: pd.DataFrame,
    others: Sequence[str],
    aside: Sequence[str],
    count: str,
) -> Iterable[str]:
    yield f"Confirmed by {', '.join(each.id for each in confirming) or 'none'}."
    if (table["lost"] > 0).any():
        rule = "The mean is over the others, and ranks below all means without losses."
        yield f"Lost: {count} that diverged or failed. {rule}"
    for _, row in table[table[count] + table["lost"] < table["trials"]].iterrows():
        left = f"{row['trials'] - row[count] - row['lost']} of the {row['trials']} trials of {row['trial']}"
        yield f"Left out: {left}, which are unfinished, without a score, or of a repeated seed."
    if others:
        yield f"Left out, on other data than {search.id}: {', '.join(others)}."
    if aside:
        why = "since these folds test more texts or more architectures" if count == "models" else "not finished"
        yield f"Left out, {why}: {', '.join(aside)}."
    if count == "models":
        if (table["models"] > table["folds"]).any():
            yield "The score of a fold is the mean of its models, which have different seeds."
        yield (
            "Every text is in the test set of one fold, and all configurations use the same folds. Low to high: the "
            "95 % interval of the mean over folds, widened because their training texts overlap (Nadeau and Bengio "
            "2003); it is not an interval over seeds. The search chose these configurations on a tenth of the same "
            "texts. Fall: how much worse the mean is than the search score, which is the best of many and so partly "
            "luck, and of a model trained on more texts."
        )
        return
    yield (
        "Low to high: the 95 % interval of the mean over seeds (Student's t). Fall: how much worse the mean is than "
        "the search score, which is the best of many and so partly luck."
    )
