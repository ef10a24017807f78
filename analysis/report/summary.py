"""The sentences below the verdict of the report page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis.base.baselines import BASELINE, ROLE
from analysis.base.runs import Search
from analysis.base.table import Table, cell, heading
from analysis.boards.leaderboard import by_architecture
from analysis.boards.ledger import on_inherited, searched_less
from analysis.figures.plot import PlotData
from analysis.figures.style import label
from analysis.report.view import Links
from search.base.schema import Outcome


def summary(search: Search, found: PlotData, links: Links, confirmed: Sequence[Table] = ()) -> Iterable[Markup]:
    """The best of each architecture, unequal budgets, and the time spent.

    Scores are the means over fresh seeds if these cover all architectures.
    """
    trials, rank_by = found.trials, found.rank_by
    best = by_architecture(trials, rank_by).dropna(subset="trial")
    fresh = _on_fresh_seeds(confirmed, [rank_by, found.on_test])
    covered = set(best["architecture"]) <= set(fresh["architecture"])
    best = fresh if covered else best
    if search.outcome != Outcome.COMPLETE:
        yield Markup("The search is not finished ({}); this is what is on record so far.").format(
            search.outcome or "its outcome is unknown"
        )
    if best.empty:
        yield Markup("No trial can be ranked.")
    else:
        scores = []
        for row in best.to_dict("records"):
            over = f", mean over {row['over']}" if covered else ""
            on_test = _on_test(row, found.on_test)
            scores.append(
                Markup("{} {} ({}{})").format(_linked(row, links), cell(rank_by, row[rank_by]), on_test, over)
            )
        which = "The best of each architecture" if len(best) > 1 else "The only architecture with a ranked trial"
        yield Markup("{} by {}: {}.").format(which, label(rank_by).partition(" (")[0], Markup(", ").join(scores))
        if not covered:
            texts = f" on {search.metrics['num_test']:,.0f} test texts" if "num_test" in search.metrics else ""
            yield Markup("Each score is of one trial with one seed{}: small differences can be luck.").format(texts)
    for sentence in (*on_inherited(search), *searched_less(trials, search)):
        yield Markup("{}").format(sentence)
    if len(trials):
        counts = {each.value: (trials["outcome"] == each.value).sum() for each in Outcome}
        yield Markup("{} trial{}: {}. Trained for {} s in all, {}.").format(
            len(trials),
            "s" * (len(trials) > 1),
            ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count),
            f"{trials['seconds'].sum():,.0f}",
            _when(search),
        )
    if count := len(found.baselines):
        took = f"{found.baselines['seconds'].sum():,.0f}"
        yield Markup("Baselines: {} trial{}, {} s in all.").format(count, "s" * (count > 1), took)


def _on_fresh_seeds(confirmed: Sequence[Table], metrics: Iterable[str]) -> pd.DataFrame:
    """The best confirmed configuration of each architecture, scored by its means over at least two seeds or folds."""
    frame = pd.concat([each.frame for each in confirmed] or [pd.DataFrame()])
    means = [f"{metric}_mean" for metric in metrics]
    count, what = ("folds", "folds") if "folds" in frame else ("seeds", "fresh seeds")
    frame = frame.reindex(columns=["architecture", ROLE, "trial", "run_id", count, *means])
    frame = (
        frame[(frame[count] > 1) & (frame[ROLE] != BASELINE)].dropna(subset="run_id").drop_duplicates("architecture")
    )
    frame = frame.assign(over=[f"{num} {what}" for num in frame[count]])
    return frame.rename(columns=lambda name: name.removesuffix("_mean"))


def _on_test(row: Mapping[Any, Any], metric: str) -> str:
    return "no test score" if pd.isna(row[metric]) else f"{heading(metric)} {cell(metric, row[metric])}"


def _linked(row: Mapping[Any, Any], links: Links) -> Markup:
    return Markup('<a href="{}">{}</a>').format(links.run(row["run_id"]), row["trial"])


def _when(search: Search) -> str:
    start = f"{search.start:%Y-%m-%d %H:%M}"
    if search.end is None:
        return f"started {start} UTC"
    same_day = search.end.date() == search.start.date()
    return f"from {start} to {search.end:{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}} UTC"
