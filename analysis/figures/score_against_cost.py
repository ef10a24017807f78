"""The test score of complete trials against their cost: parameters and training time."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.base.baselines import ROLE, baselines, searched
from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import (
    BASELINE_LINE,
    GREY,
    Looks,
    architecture_keys,
    baseline_keys,
    grid,
    label,
    legend,
    log_axis,
)
from search.base.schema import Outcome
from search.train.metrics import split_metric


def data(found: PlotData) -> pd.DataFrame:
    """The test scores of complete trials by parameters and by seconds; `front`: whether no other trial is both better
    and cheaper.

    The best baseline comes last and is never on the front.
    """
    trials, metric = found.trials, found.on_test
    maximize = split_metric(metric)[1].maximize
    complete = trials[(trials["outcome"] == Outcome.COMPLETE.value) & np.isfinite(trials[metric])]
    parts = []
    for cost in ("num_parameters", "seconds"):
        group = complete.assign(cost=cost, amount=complete[cost].astype("float64")).dropna(subset="amount")
        group = group[group["amount"] > 0].sort_values(
            ["amount", metric], ascending=[True, not maximize], kind="stable"
        )
        before = (group[metric].cummax() if maximize else group[metric].cummin()).shift()
        better = group[metric] > before if maximize else group[metric] < before
        parts.append(group.assign(front=before.isna() | better))
    for cost in ("num_parameters", "seconds") if len(complete) else ():
        best = found.best_baseline.dropna(subset=metric)
        parts.append(best.assign(cost=cost, amount=best[cost].astype("float64"), front=False))
    frame = pd.concat(parts)
    columns = ["architecture", ROLE, "trial", "run_id", "cost", "amount", metric, "front"]
    return frame[columns]


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    baseline, frame = baselines(frame), searched(frame)
    metric, costs = frame.columns[-2], frame["cost"].unique()
    figure, panels = grid(1, len(costs), height=3.8, sharey=True)
    for axes, cost in zip(panels[0], costs, strict=True):
        points = frame[frame["cost"] == cost]
        front = points[points["front"]]
        axes.step(front["amount"], front[metric], where="post", c=GREY, lw=1)
        axes.plot(front["amount"], front[metric], "o", ms=11, mfc="none", mec="black", mew=0.8, ls="none")
        for architecture, group in points.groupby("architecture"):
            axes.plot(
                group["amount"], group[metric], looks[architecture].marker, c=looks[architecture].colour, ls="none"
            )
        for score in baseline[metric][baseline["cost"] == cost]:
            axes.axhline(score, **BASELINE_LINE)
        for _, point in front.iterrows():
            # Vertical labels, since there are no points above the front.
            style = {"rotation": 90, "fontsize": 7.5, "ha": "center", "va": "bottom"}
            axes.annotate(point["trial"], (point["amount"], point[metric]), (0, 8), textcoords="offset points", **style)
        log_axis(axes.xaxis)
        axes.margins(0.08, 0.2)
        axes.set_xlabel(label(cost))
    panels[0, 0].set_ylabel(label(metric))
    ring = Line2D([], [], c=GREY, lw=1, marker="o", ms=11, mfc="none", mec="black", mew=0.8, label="Pareto front")
    legend(figure, [*architecture_keys(frame["architecture"], looks), ring, *baseline_keys(baseline["trial"])])
    return figure


PLOT = Plot(
    "score_against_cost",
    title="Test score against parameters and training time",
    caption="Complete trials. On the Pareto front (ringed) are the trials that no other beats at the same or a lower "
    "cost. The dashed line is the best baseline by validation, if there is one. The figure is descriptive: nothing was "
    "chosen on the test set.",
    nothing="no complete trial has a test score",
    data=data,
    draw=draw,
)
