"""The expected score of the best trial by budget: trials or core-seconds per architecture."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.base.baselines import baselines, searched
from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import BASELINE_LINE, Looks, architecture_keys, baseline_keys, grid, label, legend, log_axis
from analysis.verdicts.budget import SECONDS, TRIALS
from analysis.verdicts.budget_tables import ASKED


def data(found: PlotData) -> pd.DataFrame:
    """`Budget.frame` of the architectures and the best baseline."""
    if found.budget is None:
        return pd.DataFrame()
    frame = found.budget.frame
    return frame[frame["architecture"].isin([*found.budget.searched, *found.budget.best_baseline])]


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    figure, panels = grid(1, 3, height=3.4)
    val, test = (name.removesuffix("_mean") for name in frame.columns if name.endswith("_mean"))
    shown = [(TRIALS, val), (SECONDS, val), (SECONDS, test)]
    for axes, (unit, measure) in zip(panels[0], shown, strict=True):
        group = frame[frame["unit"] == unit]
        _draw(axes, group, measure, looks)
        axes.set_ylabel(f"expected {label(measure)}".replace(" (", "\n(", 1))
        axes.set_xlabel("trials" if unit == TRIALS else "core-seconds per architecture")
        if unit == SECONDS and len(group):
            log_axis(axes.xaxis)
            for words, seconds in ASKED.items():
                if group["budget"].min() <= seconds <= group["budget"].max():
                    axes.axvline(seconds, c="0.8", lw=0.8, zorder=0)
                    place = {"xy": (seconds, 0.02), "xycoords": ("data", "axes fraction"), "ha": "right"}
                    axes.annotate(words, **place, rotation=90, fontsize=7, c="0.4")  # horizontal texts would overlap
    panels[0, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    names = searched(frame)["architecture"]
    legend(figure, [*architecture_keys(names, looks, lines=True), *baseline_keys(baselines(frame)["architecture"])])
    return figure


def _draw(axes: Axes, frame: pd.DataFrame, measure: str, looks: Looks) -> None:
    for name, group in searched(frame).groupby("architecture"):
        look = looks[str(name)]
        axes.plot(group["budget"], group[f"{measure}_mean"], c=look.colour, ls=look.line)
        axes.plot(group["budget"].iloc[-1:], group[f"{measure}_mean"].iloc[-1:], look.marker, c=look.colour)
        axes.fill_between(
            group["budget"], group[f"{measure}_low"], group[f"{measure}_high"], color=look.colour, alpha=0.13, lw=0
        )
    for _, group in baselines(frame).groupby("architecture"):
        axes.plot(group["budget"], group[f"{measure}_mean"], **BASELINE_LINE)


PLOT = Plot(
    "budget",
    title="Expected score by budget",
    caption="The expected score of the best trial by number of trials, or core-seconds, per architecture, with 95 % "
    "intervals. On test: the score of the trial chosen on validation.",
    nothing="it cannot be estimated from these trials (Comparisons says why, and which trials it takes)",
    data=data,
    draw=draw,
)
