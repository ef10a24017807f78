"""The Pareto fronts of several objectives, of each architecture and of all trials."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.base.baselines import searched
from analysis.boards.fronts import ALL, on_fronts
from analysis.boards.leaderboard import column_of
from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import GREY, Looks, architecture_keys, label, legend, log_axis, wrapped
from search.base.schema import Outcome
from search.study.fronts import maximizes
from search.train.costs import COSTS


def data(found: PlotData) -> pd.DataFrame:
    """The metric of complete trials by each other objective, with the best values of the objective first.

    `front`: whether a trial is, by all objectives, on the front of all trials, only on that of its architecture, or on
    none. `attained`: whether, by the metric and this objective alone, no other trial of the architecture is at least as
    good. `repetition`: the number of the seed of a repeated configuration, from 0; NA elsewhere.
    """
    objectives, metric = found.objectives, found.rank_by
    if not objectives:
        return pd.DataFrame()
    complete = searched(found.trials)
    complete = complete[complete["outcome"] == Outcome.COMPLETE.value].dropna(subset=metric)
    on = on_fronts(found.trials, metric, list(objectives)).set_index("run_id")["on_front"]
    complete = complete.assign(front=complete["run_id"].map(on).fillna("none"))
    sign = 1 if maximizes(metric) else -1
    parts = []
    for name in (each for each in objectives if each != metric):
        group = complete.assign(objective=name, amount=complete[column_of(name)].astype("float64"))
        group = group.dropna(subset="amount")
        group = group.sort_values(["amount", metric], ascending=[not maximizes(name), sign < 0], kind="stable")
        best = (sign * group[metric]).groupby(group["architecture"]).cummax()
        before = best.groupby(group["architecture"]).shift()
        parts.append(group.assign(attained=before.isna() | (best > before)))
    columns = ["architecture", "trial", "run_id", "repetition", "objective", "amount", metric, "front", "attained"]
    return pd.concat(parts)[columns].reset_index(drop=True)


def attainment(group: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The empirical attainment function of an architecture over repetitions (Fonseca and Fleischer 1996, "On the
    Performance Assessment and Comparison of Stochastic Multiobjective Optimizers").

    group: rows of `data` of one objective and architecture. Returns one row per amount, the best first, with the score
    that is attained at this or a better amount by the best repetition, by half of them, and by all of them (`best`,
    `median`, `worst`); NaN if fewer have a trial there. Trials without a repetition count as one repetition.
    """
    sign = 1 if maximizes(metric) else -1
    repetitions = group["repetition"].fillna(-1)
    scores = pd.DataFrame({each: (sign * group[metric]).where(repetitions == each) for each in repetitions.unique()})
    attained_NR = np.sort(scores.cummax().ffill().fillna(-np.inf).to_numpy(dtype=float), axis=1)
    count = attained_NR.shape[1]
    found = group[["amount"]].assign(
        best=sign * attained_NR[:, -1], median=sign * attained_NR[:, (count - 1) // 2], worst=sign * attained_NR[:, 0]
    )
    return found.replace([np.inf, -np.inf], np.nan)


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    metric = frame.columns[-3]
    objectives = frame["objective"].unique()
    figure, panels = wrapped(len(objectives), 2, height=3.8)
    for axes, objective in zip(panels, objectives, strict=True):
        points = frame[frame["objective"] == objective]
        farthest = points["amount"].iloc[-1]
        for architecture, group in points.groupby("architecture"):
            look = looks[architecture]
            axes.plot(group["amount"], group[metric], look.marker, c=look.colour, mfc="white", ls="none", alpha=0.6)
            there = group[group["front"] != "none"]
            axes.plot(there["amount"], there[metric], look.marker, c=look.colour, ls="none", zorder=3)
            attained = attainment(group, metric)
            # A score attained at one amount is also attained at any worse amount.
            last = attained.tail(1).assign(amount=farthest)
            attained = pd.concat([attained, last])
            axes.step(attained["amount"], attained["median"], where="post", c=look.colour, ls=look.line, lw=1.1)
            amount, low, high = (attained[name] for name in ("amount", "worst", "best"))
            axes.fill_between(amount, low, high, step="post", color=look.colour, alpha=0.15, lw=0)
        best = points[points["front"] == ALL]
        axes.plot(best["amount"], best[metric], "o", ms=11, mfc="none", mec="black", mew=0.8, ls="none", zorder=4)
        if objective in COSTS:
            log_axis(axes.xaxis)
        axes.margins(0.06, 0.08)
        axes.set_xlabel(COSTS[objective].label if objective in COSTS else label(objective))
        axes.set_ylabel(label(metric))
    ring = Line2D([], [], c=GREY, marker="o", ms=11, mfc="none", mec="black", mew=0.8, ls="none", label="front of all")
    hollow = Line2D([], [], c=GREY, marker="o", mfc="white", ls="none", label="on no front")
    legend(figure, [*architecture_keys(frame["architecture"], looks, lines=True), hollow, ring])
    return figure


PLOT = Plot(
    "fronts",
    title="The fronts of the objectives",
    caption="Complete trials by the metric, on validation, and each other objective. Filled: on the front of their "
    "architecture, by all objectives. Ringed: on the front of all trials. Lines: the best score of an "
    "architecture at this or a better value of the objective. If "
    "configurations were repeated on several seeds, lines are scores that half of the seeds attain, and bands extend "
    "from the score that all seeds attain to that of the best seed.",
    nothing="the search has one objective, or no complete trial",
    data=data,
    draw=draw,
)
