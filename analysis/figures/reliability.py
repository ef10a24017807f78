"""Reliability diagrams: accuracy by confidence of the predictions."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import GREY, Looks, legend, looks_of, wrapped

LARGEST = 110.0  # area of the mark for all predictions, in square points
SMALLEST = 6.0


def data(found: PlotData) -> pd.DataFrame:
    return found.reliability


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    names = [*frame["architecture"].unique()]
    known = looks if set(names) <= set(looks) else looks_of(sorted({*looks, *names}))
    figure, panels = wrapped(len(names), 4, height=2.4, sharex=True, sharey=True)
    for axes, name in zip(panels, names, strict=True):
        axes.plot([0, 1], [0, 1], c=GREY, lw=0.8, ls="dashed")
        group = frame[frame["architecture"] == name]
        for calibrated, bins in group.groupby("calibrated"):
            colour = known[name].colour if calibrated else GREY
            axes.plot(bins["confidence"], bins["right"], c=colour, lw=1.2 if calibrated else 0.9)
            areas = np.maximum(LARGEST * bins["answers"] / bins["answers"].sum(), SMALLEST)
            filled = colour if calibrated else "white"
            axes.scatter(bins["confidence"], bins["right"], s=areas, color=filled, edgecolors=colour, zorder=2.5)
        axes.set_title(f"{name}, temperature {group['temperature'].iloc[-1]:.2f}")
        axes.set_xlim(frame["confidence"].min() - 0.04, 1.02)
        axes.set_ylim(min(frame["right"].min(), frame["confidence"].min()) - 0.04, 1.03)
    for axes in panels[::4]:
        axes.set_ylabel("accuracy")
    for axes in panels[-4:]:
        axes.set_xlabel("confidence")
        axes.tick_params(labelbottom=True)
    keys = [
        Line2D([], [], c=GREY, marker="o", mfc="white", lw=0.9, label="as trained"),
        Line2D([], [], c=known[names[0]].colour, marker="o", label="calibrated"),
        Line2D([], [], c=GREY, lw=0.8, ls="dashed", label="perfectly calibrated"),
    ]
    legend(figure, keys)
    return figure


PLOT = Plot(
    "reliability",
    title="Confidence and accuracy",
    caption="Accuracy on test by confidence (the probability of the predicted class), for the best trial of each "
    "architecture and the best baseline. Below the dashed line, a model is overconfident. Larger marks stand for more "
    "texts. Calibration divides the logits by a temperature fitted on validation and changes no prediction; exported "
    "models are calibrated.",
    nothing="the confidence of the models was not recorded",
    data=data,
    draw=draw,
)
