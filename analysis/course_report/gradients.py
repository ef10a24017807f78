"""Gradient norms of the gru by gate activation, layer and epoch: as a table and as a figure."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.base.table import Table
from analysis.course_report.side_by_side import panels
from search.base import schema
from search.base.schema import Outcome

GATED = "gru-gate"  # the study
TITLE = f"{GATED}: norms of the gradient by layer and epoch"
COLORS = {"relu": "tab:orange", "sigmoid": "tab:green"}


def norms(trials: pd.DataFrame, series: pd.DataFrame) -> pd.DataFrame:
    """The norms of all complete runs of gru-gate: gate_activation, run_id, layer, epoch, value. series: from
    `runs.read_series`."""
    group = trials[(trials["study"] == GATED) & (trials["outcome"] == Outcome.COMPLETE.value)]
    layers = series["metric"].map(schema.gradient_layer)
    merged = group[["run_id", "gate_activation"]].merge(series.assign(layer=layers), on="run_id")
    return merged.rename(columns={"step": "epoch"})[["gate_activation", "run_id", "layer", "epoch", "value"]]


def means(norms: pd.DataFrame) -> pd.DataFrame:
    """The geometric mean, minimum and maximum over runs of the norms, by layer, epoch and gate."""
    powers = np.log(norms["value"].clip(1e-12)).groupby([norms["layer"], norms["epoch"], norms["gate_activation"]])
    table = np.exp(powers.agg(["mean", "min", "max"])).assign(runs=powers.size())
    return table.rename(columns={"mean": "grad_norm", "min": "lowest", "max": "highest"}).reset_index()


def table(means: pd.DataFrame) -> Table:
    """The means with the gates side by side, for readers."""
    gates = list(means["gate_activation"].unique())
    numbers = means[["grad_norm", "lowest", "highest"]].itertuples(index=False)
    written = [f"{mean:.3g} ({low:.3g} to {high:.3g})" for mean, low, high in numbers]
    wide = means.assign(written=written).pivot(index=["layer", "epoch"], columns="gate_activation", values="written")
    wide = wide.rename(columns={gate: f"{gate} gates" for gate in gates}).rename_axis(columns=None).reset_index()
    return Table(
        wide,
        groups=[list(wide.columns)],
        key=["layer", "epoch"],
        title=TITLE,
        notes=["Geometric means over runs (lowest to highest)."],
    )


def draw(norms: pd.DataFrame) -> Figure:
    """The norms by epoch, one panel per layer: all runs, and the geometric mean by gate."""
    layers = norms["layer"].unique()
    figure, axes = panels(len(layers), f"{GATED}: gradient norms by layer and epoch")
    for ax, layer in zip(axes, layers, strict=True):
        for place, (gate, group) in enumerate(norms[norms["layer"] == layer].groupby("gate_activation")):
            color = COLORS.get(str(gate), f"C{4 + place}")  # colours that COLORS does not use
            for _, run in group.groupby("run_id"):
                ax.plot(run["epoch"], run["value"], color=color, alpha=0.3, linewidth=0.8)
            mean = np.exp(np.log(group["value"].clip(1e-12)).groupby(group["epoch"]).mean())
            ax.plot(mean.index, mean, color=color, linewidth=2, label=f"{gate} gates")
        ax.set_yscale("log")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_title(layer, fontsize=9)
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("norm of the gradient")
    axes[-1].legend(fontsize=8, frameon=False)
    return figure
