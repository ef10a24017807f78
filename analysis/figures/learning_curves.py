"""Learning curves of the best trial of each architecture: training and validation by epoch."""

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import GREY, Looks, grid, label, legend, whole_numbers
from search.train.metrics import split_metric


def data(found: PlotData) -> pd.DataFrame:
    """Training and validation metrics of the best trials by epoch; `best` marks the epoch of the trial's score."""
    frame = found.winners.merge(found.series, on="run_id")
    frame[["split", "metric"]] = frame["metric"].str.split("_", n=1, expand=True).reindex(columns=[0, 1])
    frame = frame[frame["split"].isin(["train", "val"]) & frame["metric"].isin(_metrics(found.rank_by))]
    frame = frame.assign(best=(frame["step"] == frame["best_epoch"]).fillna(False)).rename(columns={"step": "epoch"})
    return frame[["architecture", "trial", "run_id", "metric", "split", "epoch", "value", "best"]]


def series(rank_by: str, recorded: Iterable[str]) -> list[str]:
    return [f"{split}_{metric}" for metric in _metrics(rank_by) for split in ("train", "val")]


def _metrics(rank_by: str) -> list[str]:
    return list(dict.fromkeys([split_metric(rank_by)[1].name, "loss"]))


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    metrics, architectures = frame["metric"].unique(), frame["architecture"].unique()
    figure, panels = grid(len(metrics), len(architectures), sharex=True, sharey="row")
    for row, metric in enumerate(metrics):
        panels[row, 0].set_ylabel(label(metric))
        for axes, architecture in zip(panels[row], architectures, strict=True):
            group = frame[(frame["architecture"] == architecture) & (frame["metric"] == metric)]
            look = looks[architecture]
            for split, line, face in (("train", "dashed", "white"), ("val", "solid", look.colour)):
                points = group[group["split"] == split]
                axes.plot(points["epoch"], points["value"], ls=line, c=look.colour, marker=look.marker, mfc=face)
            for epoch in group[group["best"]]["epoch"].unique():
                axes.axvline(epoch, color=GREY, lw=1, ls=":")
            if row == 0:
                axes.set_title(group["trial"].iloc[0] if len(group) else architecture)
    whole_numbers(panels[-1], "epoch")
    keys = [
        Line2D([], [], color=GREY, ls="dashed", marker="o", mfc="white", label="training"),
        Line2D([], [], color=GREY, marker="o", label="validation"),
        Line2D([], [], color=GREY, lw=1, ls=":", label="best epoch"),
    ]
    legend(figure, keys)
    return figure


PLOT = Plot(
    "learning_curves",
    title="Learning curves of the best trial of each architecture",
    caption="Training and validation by epoch; the dotted line is the best epoch, whose score counts. Training numbers "
    "are measured on the batches during training, with dropout, so they may be worse in early epochs.",
    nothing="no epochs were recorded for trials with a score",
    data=data,
    draw=draw,
    series=series,
    of_winners=True,
)
