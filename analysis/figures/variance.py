"""The sources of the variance of test accuracy, by architecture."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import Looks, grid, legend, looks_of
from analysis.verdicts.variance import SD, SOURCES


def data(found: PlotData) -> pd.DataFrame:
    """The rows of `verdicts.variance.variances` if more than one source is known."""
    frame = found.variances
    return frame if len(frame) and frame["source"].nunique() > 1 else pd.DataFrame()


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures, sources = [*frame["architecture"].unique()], [s for s in SOURCES if s in {*frame["source"]}]
    figure, panels = grid(1, 1, height=1.0 + 0.22 * len(architectures) * len(sources))
    axes, bars = panels[0, 0], []
    height = 0.8 / len(sources)
    for place, (source, look) in enumerate(looks_of(sources).items()):
        group = frame[frame["source"] == source].set_index("architecture")[SD].reindex(architectures)
        at = [row + (place - (len(sources) - 1) / 2) * height for row in range(len(architectures))]
        bars.append(axes.barh(at, 100 * group, height=0.9 * height, color=look.colour, label=source))
        for where, value in zip(at, 100 * group, strict=True):
            if pd.notna(value):
                axes.text(value, where, f" {value:.2f}", va="center", fontsize=7.5)
    axes.set_yticks(range(len(architectures)), architectures)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.grid(False, axis="y")
    axes.set_xlabel("standard deviation of the test accuracy (points of 100)")
    legend(figure, bars)
    return figure


PLOT = Plot(
    "variance",
    title="Sources of the variance of test accuracy",
    caption="Standard deviations: over samples of test texts, over seeds of one configuration (after a confirmation), "
    "over the hyperparameters tried, and over searches with other seeds (after repeated searches). Differences smaller "
    "than the bars of texts and seeds can be luck.",
    nothing="only one source of the variance of test accuracy is known",
    data=data,
    draw=draw,
)
