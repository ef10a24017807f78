"""The importance of hyperparameters, by architecture."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.base.table import heading
from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import Looks, wrapped
from analysis.verdicts.importance import ALPHA, MIN_TRIALS


def data(found: PlotData) -> pd.DataFrame:
    """The importance of hyperparameters, and p, where known."""
    columns = ["architecture", "hyperparameter", "importance", "p"]
    known = found.mattered.reindex(columns=columns).dropna(subset="importance")
    return known.drop_duplicates(["architecture", "hyperparameter"])


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures = frame["architecture"].unique()
    most = frame.groupby("architecture").size().max()
    figure, panels = wrapped(len(architectures), columns=2, height=0.7 + 0.28 * most, sharex=True)
    for axes, architecture in zip(panels, architectures, strict=True):
        group, colour = frame[frame["architecture"] == architecture].iloc[::-1], looks[architecture].colour
        bars = axes.barh([heading(name) for name in group["hyperparameter"]], group["importance"], edgecolor=colour)
        for bar, p in zip(bars, group["p"], strict=True):
            bar.set(facecolor=colour if p < ALPHA else "white", hatch=None if p < ALPHA else "////")
            text = f"p {p:.2g}" if pd.notna(p) else f"{bar.get_width():.0%}"
            axes.text(bar.get_width() + 0.01, bar.get_y() + bar.get_height() / 2, text, va="center", fontsize=7.5)
        axes.set_title(architecture)
        axes.set_xlim(0, 1.1 * frame["importance"].max() + 0.05)
        axes.grid(False, axis="y")
    for axes in panels[-2:]:
        axes.set_xlabel("importance (share of one)")
        axes.tick_params(labelbottom=True)
    return figure


PLOT = Plot(
    "importance",
    title="Importance of hyperparameters",
    caption="PED-ANOVA: how much the best quarter of an architecture's trials differs from the rest. Hatched bars are "
    f"not shown to matter: p, corrected for multiple testing, is not below {ALPHA}, or there is no p since the sampler "
    "chose hyperparameters by earlier scores (such a search describes, but does not test).",
    nothing=f"no architecture has {MIN_TRIALS} trials with different results, the fewest for importance",
    data=data,
    draw=draw,
)
