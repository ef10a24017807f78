"""The scores of the best model and the best baseline by number of training texts."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.base.baselines import BASELINE, ROLE
from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import Looks, grid, label, legend, log_axis, looks_of


def data(found: PlotData) -> pd.DataFrame:
    """The rows of `verdicts.data_size.curves` with a score; `metric` names it."""
    if found.sizes is None:
        return pd.DataFrame()
    columns = map(str, found.sizes.frame)
    (measured,) = (name.removesuffix("_mean") for name in columns if name.endswith("_mean"))
    frame = found.sizes.frame.rename(columns=lambda name: name.removeprefix(f"{measured}_"))
    return frame.dropna(subset="mean").assign(metric=measured)


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    figure, panels = grid(1, 1, height=3.4)
    axes, keys = panels[0, 0], []
    names = [*frame["architecture"].unique()]
    for name, look in looks_of(names).items():
        group = frame[frame["architecture"] == name]
        is_baseline = group[ROLE].iloc[0] == BASELINE
        shown: dict[str, Any] = {"c": look.colour, "marker": look.marker, "ls": "dashed" if is_baseline else "solid"}
        axes.plot(group["texts"], group["mean"], **shown)
        spread = group.dropna(subset=["low", "high"])
        axes.fill_between(spread["texts"], spread["low"], spread["high"], color=look.colour, alpha=0.15, lw=0)
        keys.append(Line2D([], [], **shown, label=f"{name} (baseline)" if is_baseline else name))
    log_axis(axes.xaxis)
    axes.set_xticks(sorted(frame["texts"].unique()), minor=False)
    axes.set_xlabel("training texts")
    axes.set_ylabel(label(frame["metric"].iloc[0]))
    legend(figure, keys)
    return figure


PLOT = Plot(
    "data_size",
    title="Would more labels help?",
    caption="The best model and the best baseline trained on shares of the training texts, for the same number of "
    "epochs. The band is the 95 % interval of the mean over seeds. If a curve still rises at its right end, more "
    "labels help; the comparisons above estimate the gain from doubling them.",
    nothing="no model was trained on fewer texts (search train-sizes does that)",
    data=data,
    draw=draw,
)
