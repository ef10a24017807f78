"""The spread of scores over seeds, by configuration."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.base.baselines import ROLE, baselines, searched
from analysis.base.runs import hyperparameters
from analysis.boards.leaderboard import check_metric
from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import BASELINE_LINE, Looks, architecture_keys, baseline_keys, grid, label, legend, short
from search.base.schema import Outcome

MAX_CONFIGURATIONS = 30


def data(found: PlotData) -> pd.DataFrame:
    """The scores of complete trials that differ in their seeds only, the best configuration first; then those of the
    best baseline.

    Configurations are called by their name, else by their first trial. Those with a single trial are left out, and
    those after the best MAX_CONFIGURATIONS by mean.
    """
    rank_by, complete = found.rank_by, found.trials[found.trials["outcome"] == Outcome.COMPLETE.value]
    same = complete[["architecture", "configuration", *hyperparameters(complete)]].itertuples(index=False, name=None)
    keys = pd.Series(map(repr, same), index=complete.index, dtype=object)
    repeated = complete[keys.duplicated(keep=False)]
    names = repeated["configuration"].fillna(repeated["trial"]).groupby(keys).first()
    long = (
        ["configuration", "architecture", ROLE, "trial", "run_id", "seed"],
        list(dict.fromkeys([rank_by, found.on_test])),
        "metric",
    )
    frame = repeated.assign(configuration=keys.map(names)).melt(*long)
    frame = frame[np.isfinite(frame["value"].astype("float64"))]
    means = frame[frame["metric"] == rank_by].groupby("configuration")["value"].mean()
    order = [*means.sort_values(ascending=not check_metric(rank_by).maximize).index][:MAX_CONFIGURATIONS]
    frame = frame[frame["configuration"].isin(order)]
    frame = frame.sort_values("configuration", key=lambda names: names.map(order.index), kind="stable")
    baseline = found.best_baseline.assign(configuration=found.best_baseline["trial"])
    if len(frame):
        frame = pd.concat([frame, baseline.melt(*long)])
    return frame.reset_index(drop=True)


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    baseline, frame = baselines(frame), searched(frame)
    metrics, configurations = frame["metric"].unique(), [*frame["configuration"].unique()]
    figure, panels = grid(1, len(metrics), height=1.2 + 0.32 * len(configurations), sharey=True)
    for axes, metric in zip(panels[0], metrics, strict=True):
        for place, configuration in enumerate(configurations):
            group = frame[(frame["configuration"] == configuration) & (frame["metric"] == metric)]
            if group.empty:
                continue
            look = looks[group["architecture"].iloc[0]]
            axes.plot([group["value"].min(), group["value"].max()], [place, place], c=look.colour, lw=1)
            axes.plot(group["value"], [place] * len(group), look.marker, c=look.colour, mfc="white", ls="none")
            axes.plot(group["value"].mean(), place, "|", c="black", ms=14, mew=2, zorder=3)
        for score in baseline["value"][baseline["metric"] == metric]:
            axes.axvline(score, **BASELINE_LINE)
        axes.set_xlabel(label(metric))
        axes.grid(False, axis="y")
    panels[0, 0].set_yticks(range(len(configurations)), [short(name, 32) for name in configurations])
    panels[0, 0].set_ylim(len(configurations) - 0.5, -0.5)
    mean = Line2D([], [], c="black", ls="none", marker="|", ms=12, mew=2, label="mean")
    keys = [*architecture_keys(frame["architecture"], looks, face="white"), mean, *baseline_keys(baseline["trial"])]
    legend(figure, keys)
    return figure


PLOT = Plot(
    "spread_over_seeds",
    title="Spread over seeds",
    caption="Trials of a configuration differ in their seeds only: a difference between configurations that is no "
    f"larger than the spread within them can be luck. At most the best {MAX_CONFIGURATIONS} are shown. The dashed line "
    "is the best baseline, if there is one.",
    nothing="no configuration has complete trials with more than one seed",
    data=data,
    draw=draw,
)
