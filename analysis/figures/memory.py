"""Memory curves of recurrent models: how much the last state depends on states and words before it."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import GREY, Looks, grid, legend, log_axis, looks_of, whole_numbers

FORGOTTEN = 1e-6  # the lower end of the axis


def data(found: PlotData) -> pd.DataFrame:
    return found.memory


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures, activations = frame["architecture"].unique(), [*frame["activation"].unique()]
    figure, panels = grid(2, len(architectures), height=2.6, sharex=True, sharey="row")
    styles = looks_of(activations)
    for row, by in enumerate(("state", "word")):
        for axes, architecture in zip(panels[row], architectures, strict=True):
            of_model = ["activation", "gate_activation", "weights", "search", "trial"]
            points = frame[frame["architecture"] == architecture]
            for (activation, gate, weights, *_), group in points.groupby(of_model, dropna=False, sort=False):
                look, trained = styles[activation], weights == "trained"
                axes.plot(
                    group["distance"],
                    group[by],
                    c=look.colour,
                    ls="solid" if trained else "dotted",
                    marker=look.marker if gate == "relu" else "",
                    markevery=max(len(group) // 8, 1),
                    ms=4,
                    mfc=look.colour if trained else "white",
                )
            if row == 0:
                axes.set_title(architecture)
            axes.set_yscale("log")
        first = panels[row, 0]
        first.set_ylim(bottom=max(FORGOTTEN, first.get_ylim()[0]))
        log_axis(first.yaxis)
        first.set_ylabel(f"norm by the {by}")
    whole_numbers(panels[-1], "words before the last")
    keys = [Line2D([], [], c=styles[name].colour, label=name) for name in activations]
    if frame["gate_activation"].eq("relu").any():
        keys.append(Line2D([], [], c=GREY, marker="o", label="relu gates"))
    if frame["weights"].nunique() > 1:
        keys.append(Line2D([], [], c=GREY, ls="dotted", label="before training"))
    legend(figure, keys)
    return figure


PLOT = Plot(
    "memory",
    title="Memory of the recurrent models",
    caption="How much the last state depends on the state, and on the word, a number of words before: the norm of the "
    "Jacobian (Frobenius norm divided by the square root of the hidden size), averaged over test texts, on a log axis. "
    "For the best trial of each activation with a checkpoint on this machine. A norm that falls towards zero means "
    "forgetting and vanishing gradients; one that stays near 1, memory.",
    nothing="there is no checkpoint of a recurrent model on this machine",
    data=data,
    draw=draw,
)
