"""Gradient norms of the best trial of each architecture, by layer and epoch."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import Looks, log_axis, looks_of, whole_numbers, wrapped
from search.base import schema


def data(found: PlotData) -> pd.DataFrame:
    """The gradient norms of the best trials by layer and epoch; `layer` '' is the whole model, shown only for trials
    without norms by layer."""
    frame = found.winners.merge(found.series, on="run_id")
    frame = frame.assign(layer=frame["metric"].map(schema.gradient_layer)).rename(columns={"step": "epoch"})
    frame = frame[frame["layer"].notna() & np.isfinite(frame["value"]) & (frame["value"] > 0)]
    by_layer = frame[frame["layer"] != ""]
    frame = pd.concat([by_layer, frame[~frame["run_id"].isin(by_layer["run_id"])]]).sort_index()
    return frame[["architecture", "trial", "run_id", "layer", "epoch", "value"]]


def series(rank_by: str, recorded: Iterable[str]) -> list[str]:
    return sorted(name for name in recorded if schema.gradient_layer(name) is not None)


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures = frame["architecture"].unique()
    # Rows have few panels, since the legends of many layers stand below them.
    figure, panels = wrapped(len(architectures), 3, height=3.4, sharey=True)
    for axes, architecture in zip(panels, architectures, strict=True):
        group = frame[frame["architecture"] == architecture]
        layers = group["layer"].unique()
        # A single line for the whole model gets the look of the architecture.
        styles = looks if [*layers] == [""] else looks_of(layers)
        for layer in layers:
            points, look = group[group["layer"] == layer], styles[layer or architecture]
            axes.plot(
                points["epoch"], points["value"], c=look.colour, marker=look.marker, ls=look.line, ms=4, label=layer
            )
        axes.set_title(group["trial"].iloc[0])
        if styles is not looks:
            axes.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1 + (len(layers) > 4))
    log_axis(panels[0].yaxis)
    for axes in panels[::3]:
        axes.set_ylabel("mean norm of the gradient")
    whole_numbers(panels, "epoch")
    return figure


PLOT = Plot(
    "gradient_norms",
    title="Gradient norms of the best trial of each architecture",
    caption="Means over epochs, before clipping, on a log axis. A layer whose norm falls to zero has stopped learning.",
    nothing="no gradient norms were recorded for trials with a score",
    data=data,
    draw=draw,
    series=series,
    of_winners=True,
)
