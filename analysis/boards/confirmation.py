"""The best configurations again, on fresh seeds: how good they are on average, and how lucky their search scores were.

A configuration of a confirmation search is named after the trial that it repeats.
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
from search.base import record
from search.study import ranking
from search.train.metrics import split_metric


def confirmations(known: Sequence[Search], search: Search) -> tuple[Search, list[Search]]:
    """The search itself, or the one that it confirms; and all searches that confirm that one, in the order of `known`.

    A confirmation of a search that is not among `known` is taken as a search of its own.
    """
    origin = next((each for each in known if each.id == search.confirms), search)
    return origin, [each for each in known if each.confirms == origin.id]


def same_data(first: Search, second: Search) -> bool:
    """Whether the trials of both learned from and were tested on the same texts, as far as is known."""
    digests = {first.tags.get(record.DATA_DIGEST), second.tags.get(record.DATA_DIGEST)}
    return len(digests - {None}) < 2


def confirmed(trials: pd.DataFrame, repeated: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """A row for each configuration that was confirmed, in the order of `ranking.configurations`.

    trials: those of the search. repeated: those of its confirmations. `trial` is the one repeated, `<rank_by>_search`
    its score, and `fall` by how much the mean over seeds is worse than that. Of `<rank_by>` and each test metric:
    `_mean`, with its 95 % interval `_low` to `_high`, missing for one seed. `seeds` (or `models` of so many `folds`)
    count, `lost` diverged or failed; `trials` were started. A configuration without any that counts comes last, without
    a rank.

    Several models of a fold, each of a seed of its own, are one value, their mean: that they learn from the same texts
    is what an interval over folds is of.
    """
    maximize = check_metric(rank_by).maximize
    on_test = all_tested(repeated)
    measures = [rank_by, *on_test]
    folds = num_folds(repeated)
    count, overlap = ("models", 1 / (folds - 2)) if folds else ("seeds", 0.0)  # a part by all but two of them
    origins = {row["trial"]: row for _, row in trials.iterrows()}
    unknown = pd.Series(np.nan, trials.columns, dtype=object)
    rows = []
    for of in ranking.configurations(scored(repeated, rank_by), rank_by, ranking.configuration_of):
        architecture, name = of.key
        own = repeated.loc[[trial.Index for trial in of.counting]]
        origin = origins.get(name, unknown)
        row: dict[str, Any] = {"architecture": architecture, "trial": name, count: len(own), "lost": len(of.lost)}
        row[ROLE] = role(repeated[repeated["architecture"] == architecture])
        row["trials"] = len(of.trials)
        row |= {"folds": own["fold"].nunique()} if folds else {}
        for measure in measures:
            scores = own[measure].dropna()
            if folds:
                scores = scores.groupby(own["fold"]).mean()
            found = stats.Estimate(np.nan, np.nan, np.nan)
            if len(scores):
                found = stats.mean_interval(scores, overlap=overlap)
            if split_metric(measure)[1].percent:  # Student's t knows of no bounds
                found = found._replace(low=np.maximum(found.low, 0.0), high=np.minimum(found.high, 1.0))
            row |= {f"{measure}_{what}": number for what, number in zip(("mean", "low", "high"), found, strict=True)}
        worse = origin[rank_by] - row[f"{rank_by}_mean"]
        row |= {f"{rank_by}_search": origin[rank_by], "fall": worse if maximize else -worse}
        row |= {"num_parameters": origin["num_parameters"], "seconds": own["seconds"].mean()}
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
    """A search, or the one that it confirms, with what was confirmed of it.

    trials: its own. repeated: those of the searches that confirm it on the same data (`same`); where any did over
    folds, which test on all texts, only those of `ranking.of_most_folds`. others: ids of those that confirm it on other
    data. aside: of those that did so otherwise, on fewer texts or not to the end.
    """

    origin: Search
    same: Sequence[Search]
    others: Sequence[str]
    trials: pd.DataFrame
    repeated: pd.DataFrame
    aside: Sequence[str] = ()

    @property
    def folds(self) -> int:
        """Over how many it was confirmed; 0 where it was on fresh seeds."""
        return num_folds(self.repeated)


def read(uri: str, search: Search) -> Recorded:
    """Raises UserError when MLflow cannot be read."""
    origin, confirming = confirmations(runs.searches(uri), search)
    same = [each for each in confirming if same_data(origin, each)]
    others = [each.id for each in confirming if each not in same]
    trials, repeated = runs.read_trials(uri, origin.id), runs.read_trials(uri, *(each.id for each in same))
    over_folds = ranking.of_most_folds(scored(repeated, RANK_BY))
    repeated = repeated.loc[[trial.Index for trial in over_folds]] if over_folds else repeated[repeated["fold"].isna()]
    used, aside = ([each for each in same if (each.id in {*repeated["search"]}) == wanted] for wanted in (True, False))
    return Recorded(origin, used, others, trials, repeated, [each.id for each in aside])


def confirmation_tables(recorded: Recorded, rank_by: str = RANK_BY, architecture: str | None = None) -> list[Table]:
    """The table of what was confirmed of a search, or of the one that it confirms; none when nothing was.

    Where the one that it confirms is not recorded, that is all there is to say.
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
    """The confirmed configurations of a search. others: ids of confirmations that were made on other data; aside: of
    those that were made otherwise."""
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
            record.SCORE_RULE,
        ],
    )


def num_folds(repeated: pd.DataFrame) -> int:
    """Over how many folds these trials are; 0 where texts are divided once."""
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
        rule = "A mean is of the others alone, so it ranks below all without any."
        yield f"Lost: {count} that diverged or failed. {rule}"
    for _, row in table[table[count] + table["lost"] < table["trials"]].iterrows():
        left = f"{row['trials'] - row[count] - row['lost']} of the {row['trials']} trials of {row['trial']}"
        yield f"Left out: {left}, unfinished, without a score or of a seed seen before."
    if others:
        yield f"Left out, on other data than {search.id}: {', '.join(others)}."
    if aside:
        why = "as these folds test on more texts, or of more architectures" if count == "models" else "not finished"
        yield f"Left out, {why}: {', '.join(aside)}."
    if count == "models":
        if (table["models"] > table["folds"]).any():
            yield "The score of a fold is the mean of its models, each of a seed of its own."
        yield (
            "Each text is a test text of one fold, and all are trained on the same folds. Low to high: the 95 % "
            "interval of the mean over folds, whose training texts overlap: it is not that over seeds, and wider "
            "(Nadeau and Bengio 2003). The search chose these configurations on a tenth of the same texts. Fall: by "
            "how much the mean is worse than the search score, which is the best of many and so in part luck, of a "
            "model of more texts."
        )
        return
    yield (
        "Low to high: the 95 % interval of the mean over seeds (Student's t). Fall: by how much the mean is worse than "
        "the search score, which is the best of many and so in part luck."
    )
