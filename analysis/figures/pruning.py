"""The validation score of every trial by epoch, and where it ended."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import LINE_OF, PALE, Looks, label, legend, outcome_keys, scatter, whole_numbers, wrapped


def data(found: PlotData) -> pd.DataFrame:
    """The validation score of every trial by epoch; `last` marks its last epoch, where a pruned trial was stopped."""
    columns = ["architecture", "trial", "number", "run_id", "outcome"]
    group = found.series[(found.series["metric"] == found.rank_by) & np.isfinite(found.series["value"])]
    frame = found.trials[columns].merge(group, on="run_id").rename(columns={"step": "epoch"})
    last = frame.groupby("run_id")["epoch"].transform("max") == frame["epoch"]
    return frame.assign(last=last.astype(bool))[[*columns, "metric", "epoch", "value", "last"]]


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures = sorted(frame["architecture"].unique())
    figure, panels = wrapped(len(architectures), columns=2, height=2.7, sharex=True, sharey=True)
    gap = 0.045 * (frame["value"].max() - frame["value"].min())
    for axes, architecture in zip(panels, architectures, strict=True):
        points, look = frame[frame["architecture"] == architecture], looks[architecture]
        for outcome, trials in points.groupby("outcome", sort=False):
            style = LINE_OF.get(outcome, {"c": PALE, "lw": 0.9})
            for _, group in trials.groupby("run_id"):
                axes.plot(group["epoch"], group["value"], **{"c": look.colour} | style)
        ends = points[points["last"]].sort_values(["epoch", "value"])
        scatter(axes, ends["epoch"].astype("float64"), ends["value"], ends["outcome"], look)
        if len(ends) <= 16:
            for _, group in ends.groupby("epoch"):
                for height, (_, end) in zip(_apart(group["value"], gap), group.iterrows(), strict=True):
                    style = {"textcoords": "offset points", "fontsize": 7, "va": "center"}
                    axes.annotate(end["number"], (float(end["epoch"]), height), (6, 0), **style)
        axes.margins(y=0.1)
        axes.set_title(architecture)
    whole_numbers(panels, "epoch", bottom=2)
    figure.supylabel(label(frame["metric"].iloc[0]), fontsize="medium")
    legend(figure, outcome_keys(frame["outcome"]))
    return figure


def _apart(heights: Iterable[float], gap: float) -> list[float]:
    """Ascending heights, moved up to be at least `gap` apart."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    return moved


PLOT = Plot(
    "pruning",
    title="Pruning",
    caption="The validation score of every trial by epoch, and where it ended, with the trial's number. Pruned trials "
    "end early because they were behind other trials of their architecture.",
    nothing="no epochs were recorded",
    data=data,
    draw=draw,
    series=lambda rank_by, recorded: [rank_by],
)
