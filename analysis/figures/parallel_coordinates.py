"""Parallel coordinates: one line per trial, through its hyperparameters to its score."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.base.table import cell, heading
from analysis.figures import score_by_hyperparameter
from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import GREY, LINE_OF, WIDTH, Looks, grid, legend, short


def data(found: PlotData) -> pd.DataFrame:
    """Varying hyperparameters and score of every trial, on axes from 0 to 1 (`height`)."""
    values = score_by_hyperparameter.data(found).rename(columns={"hyperparameter": "axis"})
    scores = values.drop_duplicates("run_id").assign(
        axis=found.rank_by, value=lambda group: group["score"], position=lambda group: group["score"], scale="linear"
    )
    frame = pd.concat([values, scores], ignore_index=True)
    height = np.log(frame["position"].where(frame["scale"] == "log")).fillna(frame["position"]).astype("float64")
    groups = height.groupby([frame["architecture"], frame["axis"]])
    low, high = groups.transform("min"), groups.transform("max")
    frame["height"] = ((height - low) / (high - low).where(high > low)).fillna(0.5).where(height.notna())
    return frame.sort_values("architecture", kind="stable", ignore_index=True)


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures = frame["architecture"].unique()
    figure, panels = grid(len(architectures), 1, height=1.9, width=WIDTH)
    for axes, architecture in zip(panels[:, 0], architectures, strict=True):
        group, look = frame[frame["architecture"] == architecture], looks[architecture]
        names = [*group["axis"].unique()]
        heights = group.pivot(index="run_id", columns="axis", values="height")[names]
        outcomes = group.drop_duplicates("run_id").set_index("run_id")["outcome"].reindex(heights.index)
        for outcome, heights_of in heights.groupby(outcomes):
            style = {"c": look.colour, "lw": 1.2, "alpha": 0.8, "zorder": 3} | LINE_OF[outcome]
            axes.plot(range(len(names)), heights_of.T, **style)
        for place, name in enumerate(names):
            _upright_axis(axes, place, group[group["axis"] == name])
        axes.set(xlim=(-0.15, len(names) - 0.75), ylim=(-0.12, 1.12), yticks=[])
        axes.set_xticks(range(len(names)), [heading(name) for name in names])
        axes.set_title(architecture, loc="left")
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines[["left", "bottom"]].set_visible(False)
    occurring = set(frame["outcome"])
    keys = {outcome: Line2D([], [], **{"c": GREY, "label": outcome} | style) for outcome, style in LINE_OF.items()}
    legend(figure, [key for outcome, key in keys.items() if outcome in occurring])
    return figure


def _upright_axis(axes: Axes, place: int, group: pd.DataFrame) -> None:
    """A vertical axis, labelled with its lowest and highest value, or with all choices."""
    axes.plot([place, place], [0, 1], c="black", lw=1, zorder=2)
    marks = group.dropna(subset="height").drop_duplicates("height").sort_values("height")
    if group["scale"].iloc[0] != "choices":
        marks = marks.iloc[sorted({0, len(marks) - 1})] if len(marks) else marks
    name = group["axis"].iloc[0]
    for height, value in zip(marks["height"], marks["value"], strict=True):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
        axes.text(place + 0.03, height, short(cell(name, value)), fontsize=7.5, va="center", zorder=4, bbox=box)


PLOT = Plot(
    "parallel_coordinates",
    title="Parallel coordinates",
    caption="One line per trial, through its hyperparameters to its score on the right. An axis goes from the lowest "
    "to the highest value that the architecture tried.",
    nothing="no hyperparameter had more than one value in trials with a result",
    data=data,
    draw=draw,
)
