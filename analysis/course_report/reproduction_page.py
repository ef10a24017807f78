"""The reproduction of the report as a page: its tables in markdown, and each study's figure with the data it shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.base.formats import to_markdown
from analysis.base.pictures import encode, save
from analysis.base.table import Table, cell, heading
from analysis.base.tables import make_folder, write
from analysis.course_report.reproduction import KEYS
from search.base.record import Outcome

FOLDER = "figures"
OURS, REPORT = "ours", "report"
COLORS = {OURS: "tab:blue", REPORT: "tab:red", "relu": "tab:orange", "sigmoid": "tab:green"}
LOWEST = 0.45  # of the accuracies that are drawn; the report's zeros are at this edge
GRADIENTS = "gradient-norms"


def page(tables: Mapping[str, Sequence[Table]], command: str, figures: Mapping[str, str]) -> str:
    """The markdown. figures: the title of a table -> the path of the figure that goes below it, seen from the page."""
    parts = [
        "# The report's studies, repeated\n",
        f"Made by `{command}` from the searches listed at the end, which `make report` runs.\n",
    ]
    for table in (table for some in tables.values() for table in some):
        parts.append(to_markdown(table))
        if table.title in figures:
            path = figures[table.title]
            parts.append(f"![{table.title}]({path}) ([data]({path.removesuffix('.png')}.csv))\n")
    return "\n".join(parts)


def write_page(
    out: Path,
    tables: Mapping[str, Sequence[Table]],
    points: Mapping[str, pd.DataFrame],
    norms: pd.DataFrame,
    command: str,
) -> None:
    """The page, and beside it a folder with its figures and their data. points: see `study_points`, by study.

    Raises UserError when they cannot be written.
    """
    drawn = {study: (each, draw_study(each, study)) for study, each in points.items() if (each["of"] == OURS).any()}
    if len(norms):
        drawn[GRADIENTS] = (norms, draw_gradients(norms))
    folder = out.parent / FOLDER
    make_folder(folder)
    for name, (data, figure) in drawn.items():
        save(encode(figure, data), folder / f"{name}.png")
    titles = {GRADIENTS: [table.title for table in tables["gradients"]]}
    titles |= {name: [t.title for t in tables["figures"] if t.title.partition(":")[0] == name] for name in points}
    figures = {title: f"{FOLDER}/{name}.png" for name in drawn for title in titles[name]}
    write(page(tables, command, figures), out)


# --- A study


def study_points(trials: pd.DataFrame, published: pd.DataFrame, study: str) -> pd.DataFrame:
    """What the figure of a study shows: its KEYS, `of` (ours or report) and test_accuracy, a row for each number."""
    own = trials[(trials["study"] == study) & (trials["outcome"] == Outcome.COMPLETE.value)]
    printed = published[(published["study"] == study) & (published["metric"] == "accuracy")]
    parts = [
        own[[*KEYS, "test_accuracy"]].assign(of=OURS),
        printed.rename(columns={"test": "test_accuracy"})[[*KEYS, "test_accuracy"]].assign(of=REPORT),
    ]
    points = pd.concat([part.astype(object) for part in parts], ignore_index=True)
    return points[[*KEYS, "of", "test_accuracy"]].astype({"test_accuracy": "float64"})


def draw_study(points: pd.DataFrame, title: str) -> Figure:
    """Ours, each run and their mean with its standard deviation, and the report's numbers: a panel for each value of
    what varies, but for the one thing that has most values, which goes along the axis."""
    ours = points[points["of"] == OURS]
    counts = {name: ours[name].nunique() for name in KEYS}
    along = max(counts, key=lambda name: counts[name])
    # With its number of parameters fixed, each architecture has its own hidden size.
    panels = [n for n in KEYS if counts[n] > 1 and n != along and along != "architecture"]
    groups = list(ours.groupby(panels, sort=True)) if panels else [((), ours)]
    figure = Figure(figsize=(max(4.5, 3.6 * len(groups)), 3.4), dpi=120, layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(groups), sharey=True, squeeze=True))
    places = {value: place for place, value in enumerate(sorted(ours[along].dropna().unique()))}
    for ax, (key, group) in zip(axes, groups, strict=True):
        printed = points[points["of"] == REPORT]
        for name, value in zip(panels, key, strict=True):
            printed = printed[printed[name] == value]
        _draw_panel(ax, group, printed, along, places)
        ax.set_title(", ".join(f"{heading(n)} {cell(n, v)}" for n, v in zip(panels, key, strict=True)), fontsize=9)
    axes[0].set_ylabel("test accuracy")
    axes[-1].legend(fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_panel(ax: Axes, ours: pd.DataFrame, printed: pd.DataFrame, along: str, places: Mapping[Any, int]) -> None:
    x = ours[along].map(places).astype(float)
    by_place = ours["test_accuracy"].groupby(x)
    mean, sd = by_place.mean(), by_place.std().fillna(0)
    ax.plot(x, ours["test_accuracy"], ".", color=COLORS[OURS], alpha=0.4, label="ours, each run")
    ax.errorbar(mean.index, mean, sd, fmt="_", color=COLORS[OURS], markersize=12, capsize=3, label="ours, mean ± sd")
    printed = printed[printed[along].isin(list(places))]
    ax.plot(
        printed[along].map(places).astype(float),
        printed["test_accuracy"].clip(LOWEST),
        "D",
        color=COLORS[REPORT],
        fillstyle="none",
        label="the report, one run",
        clip_on=False,
    )
    ax.axhline(0.5, color="grey", linewidth=0.5)
    ax.set_xticks(list(places.values()), [cell(along, value) for value in places])
    ax.set_xlim(-0.5, len(places) - 0.5)
    ax.set_ylim(bottom=LOWEST)
    ax.set_xlabel(heading(along))
    ax.grid(axis="y", alpha=0.3)


# --- Gradients


def draw_gradients(norms: pd.DataFrame) -> Figure:
    """The norm of the gradient by epoch, for each gate: each run, and the geometric mean. A panel for each layer."""
    layers = list(norms["layer"].unique())
    figure = Figure(figsize=(max(4.5, 3.6 * len(layers)), 3.4), dpi=120, layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(layers), squeeze=True))
    for ax, layer in zip(axes, layers, strict=True):
        for place, (gate, own) in enumerate(norms[norms["layer"] == layer].groupby("gate_activation")):
            color = COLORS.get(str(gate), f"C{4 + place}")  # one that no other gate has
            for _, run in own.groupby("run_id"):
                ax.plot(run["epoch"], run["value"], color=color, alpha=0.3, linewidth=0.8)
            mean = np.exp(np.log(own["value"].clip(1e-12)).groupby(own["epoch"]).mean())
            ax.plot(mean.index, mean, color=color, linewidth=2, label=f"{gate} gates")
        ax.set_yscale("log")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_title(layer, fontsize=9)
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("norm of the gradient")
    axes[-1].legend(fontsize=8, frameon=False)
    figure.suptitle("gru-gate: gradient norms by layer and epoch", fontsize=11)
    return figure
