"""The gain of each change from an architecture's default configuration to its best."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import Looks, grid, label, looks_of, short


def data(found: PlotData) -> pd.DataFrame:
    """The rows of `verdicts.why.steps` with a gain, by architecture; `metric` names the score."""
    frames = []
    for name, table in found.paths.items():
        (measured,) = (column for column in map(str, table.frame) if column.endswith("_mean"))
        frame = table.frame.rename(columns={measured: "mean"}).dropna(subset="gain")
        frames.append(frame.assign(architecture=name, metric=measured.removesuffix("_mean")))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    names = [*frame["architecture"].unique()]
    longest = frame.groupby("architecture").size().max()
    figure, panels = grid(len(names), 1, height=0.9 + 0.26 * longest, sharex=True)
    looks = looks_of(names) if set(names) - {*looks} else looks
    for axes, name in zip(panels[:, 0], names, strict=True):
        group = frame[frame["architecture"] == name].reset_index(drop=True)
        for place, row in group.iterrows():
            colour = "black" if row["step"] == "total" else looks[name].colour
            axes.plot([row["low"], row["high"]], [place, place], c=colour, lw=1.4)
            axes.plot(row["gain"], place, looks[name].marker, c=colour)
        axes.axvline(0, c="0.6", lw=0.8, zorder=0)
        axes.set_yticks(range(len(group)), [short(step, 32) for step in group["step"]])
        axes.set_ylim(len(group) - 0.5, -0.5)
        axes.grid(False, axis="y")
        axes.set_title(f"{name}, {group['seeds'].iloc[0]} seeds", loc="left")
    panels[-1, 0].set_xlabel(f"gain of {label(frame['metric'].iloc[0])}, better to the right")
    return figure


PLOT = Plot(
    "why",
    title="Why the best is better than the default",
    caption="Each row takes over one more value of the best configuration, from top to bottom, and shows its gain on "
    "the same fresh seeds, with the 95 % interval. The gains add up to the total.",
    nothing="no steps from a default configuration to the best one were trained (search ablate does that)",
    data=data,
    draw=draw,
)
