"""The best score so far of each architecture, by number of trials and by training time."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.base.baselines import ROLE, baselines, searched
from analysis.boards.leaderboard import check_metric
from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import BASELINE_LINE, Looks, architecture_keys, baseline_keys, grid, label, legend
from search.base.schema import Outcome


def data(found: PlotData) -> pd.DataFrame:
    """The trials by architecture in the order of their ends, with cumulative `trials` and `seconds` (as in the ledger)
    and the `best` score so far.

    `best` is over complete trials or, without any, over pruned ones, as in the choice of the winner.
    """
    trials, rank_by, metric = found.trials, found.rank_by, check_metric(found.rank_by)
    ended = trials[trials["end"].notna()].sort_values(["architecture", "end", "number"], kind="stable")
    parts = []
    for _, group in ended.groupby("architecture"):
        scores = group[rank_by].where(np.isfinite(group[rank_by]))
        complete = scores.where(group["outcome"] == Outcome.COMPLETE.value)
        counted = complete if complete.notna().any() else scores.where(group["outcome"] == Outcome.PRUNED.value)
        if counted.notna().any():
            best = (counted.cummax() if metric.maximize else counted.cummin()).ffill()
            spent = group["seconds"].fillna(0).cumsum()
            parts.append(
                group.assign(trials=range(1, len(group) + 1), seconds=spent, metric=rank_by, score=scores, best=best)
            )
    columns = ["architecture", "trial", "run_id", "outcome", "trials", "seconds", "metric", "score", "best", ROLE]
    if not parts:
        return pd.DataFrame(columns=columns)
    baseline = found.best_baseline
    scores = baseline[rank_by]
    parts.append(baseline.assign(trials=1, metric=rank_by, score=scores, best=scores))
    frame = pd.concat(parts)
    return frame[columns]


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    figure, panels = grid(1, 2, height=3.4, sharey=True)
    baseline, frame = baselines(frame), searched(frame)
    for axes, spent in zip(panels[0], ("trials", "seconds"), strict=True):
        for architecture, group in frame.groupby("architecture"):
            look, steps = looks[str(architecture)], group[group["best"].notna()]
            better = steps["best"] != steps["best"].shift()
            axes.step(steps[spent], steps["best"], where="post", c=look.colour, ls=look.line)
            axes.plot(steps[spent][better], steps["best"][better], look.marker, c=look.colour)
            axes.plot(steps[spent].iloc[-1], steps["best"].iloc[-1], "|", c=look.colour, ms=9, mew=1.5)
        for score in baseline["best"]:
            axes.axhline(score, **BASELINE_LINE)
    name = label(frame["metric"].iloc[0]).replace(" (", "\n(", 1)  # the unit gets its own line, or it is cut off
    panels[0, 0].set(xlabel="trials ended", ylabel=f"best {name}")
    panels[0, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0, 1].set_xlabel("training time of all trials of the architecture (s)")
    legend(figure, [*architecture_keys(frame["architecture"], looks, lines=True), *baseline_keys(baseline["trial"])])
    return figure


PLOT = Plot(
    "best_so_far",
    title="Best so far",
    caption="The score of the best complete trial (or pruned trial, if none is complete) by number of trials and by "
    "training time of the architecture, in the order in which trials ended. A bar marks the end of each line. The "
    "dashed line is the best baseline, if there is one.",
    nothing="no trial has ended with a score",
    data=data,
    draw=draw,
)
