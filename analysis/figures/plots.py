"""The figures of a search: for each, a function from frames to the frame of what is drawn, and one that draws it.

Every figure can be read in colour, colour-blind and in black and white: an architecture has the same colour, marker and
line in all of them, and complete trials are filled where pruned ones are hollow.
"""

import io
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.tri import Triangulation
from optuna.distributions import CategoricalDistribution

from analysis.base.formats import to_csv
from analysis.base.runs import hyperparameters, present
from analysis.base.table import cell, heading
from analysis.boards.comparison import grouped
from analysis.boards.leaderboard import RANK_BY, by_architecture, check_metric, varying
from analysis.verdicts.importance import ALPHA, MAX_VALUES, MIN_TRIALS
from analysis.verdicts.ranges import distributions
from search.base import record
from search.base.record import Outcome


@dataclass(frozen=True)
class Found:
    """What is on record of a search. series: see `runs.read_series` and `series_wanted`; mattered: `importance`'s;
    memory: `memory.read`'s."""

    trials: pd.DataFrame
    series: pd.DataFrame
    space: Mapping[str, Any] | None
    mattered: pd.DataFrame
    rank_by: str = RANK_BY
    memory: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class Look:
    """How an architecture is drawn."""

    colour: str
    marker: str
    line: Any


Looks = Mapping[str, Look]

# Okabe and Ito's colours, which all kinds of colour vision tell apart; without their yellow, too pale on white.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">", "p"]
_LINES = ["solid", (0, (6, 2)), (0, (2, 1)), (0, (6, 2, 1, 2)), (0, (1, 1.5))]

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.facecolor": "white",
    "font.size": 9,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 5.5,
    "svg.hashsalt": "bakeoff",  # the same figure is the same file
    "text.parse_math": False,  # a dollar in a name is a dollar
}
_WIDTH, _DPI = 9.0, 150  # inches; pixels an inch
_GREY, _PALE = "#767676", "#9a9a9a"
#: The line of a trial, by how it ended.
_LINE_OF: dict[Any, dict[str, Any]] = {
    Outcome.COMPLETE.value: {},
    Outcome.PRUNED.value: {"c": _PALE, "lw": 0.9, "ls": "dashed"},
    Outcome.DIVERGED.value: {"c": _PALE, "lw": 0.9, "ls": "dotted"},
}
_LABELS = {
    "accuracy": "accuracy (share that is right)",
    "loss": "loss (nats)",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "pixel_error": "pixel error (RMS of ink)",
    "seconds": "training time (s)",
    "num_parameters": "trainable parameters",
}


def looks(architectures: Iterable[str]) -> dict[str, Look]:
    """A look for each of them, the same whenever the same ones are given."""
    return _looks(sorted(set(architectures)))


def _looks(names: Sequence[str]) -> dict[str, Look]:
    parts = (islice(cycle(each), len(names)) for each in (_COLOURS, _MARKERS, _LINES))
    return {name: Look(*look) for name, *look in zip(names, *parts, strict=True)}


def label(name: str) -> str:
    """What stands at an axis: the name in words, with its unit."""
    split, _, metric = name.partition("_")
    if split in record.SPLITS and metric in _LABELS:
        return f"{'validation' if split == 'val' else split} {_LABELS[metric]}"
    return _LABELS.get(name, heading(name))


def winners(trials: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """The best trial of each architecture that has one: architecture, trial, run_id, best_epoch; the best first."""
    best = by_architecture(trials, rank_by).dropna(subset="trial")[["architecture", "trial", "run_id"]]
    return best.merge(trials[["run_id", "best_epoch"]], on="run_id")


def series_wanted(rank_by: str, recorded: Iterable[str]) -> list[str]:
    """The names of the series that the figures of winners are made of, of those that are recorded."""
    names = [f"{split}_{metric}" for metric in _curves(rank_by) for split in ("train", "val")]
    return [*names, *sorted(name for name in recorded if _layer(name) is not None)]


def _curves(rank_by: str) -> list[str]:
    return list(dict.fromkeys([record.split_metric(rank_by)[1].name, "loss"]))


def _layer(name: str) -> str | None:
    """'grad_norm/output' -> 'output'; '' for that of all layers together; None for any other metric."""
    return "" if name == record.GRAD_NORM else name.removeprefix(record.GRAD_NORM_OF) if "/" in name else None


# --- Learning curves


def learning_curves(trials: pd.DataFrame, series: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """Training and validation of each architecture's best trial by epoch; `best` marks the epoch of its score."""
    frame = winners(trials, rank_by).merge(series, on="run_id")
    frame[["split", "metric"]] = frame["metric"].str.split("_", n=1, expand=True).reindex(columns=[0, 1])
    frame = frame[frame["split"].isin(["train", "val"]) & frame["metric"].isin(_curves(rank_by))]
    frame = frame.assign(best=(frame["step"] == frame["best_epoch"]).fillna(False)).rename(columns={"step": "epoch"})
    return frame[["architecture", "trial", "run_id", "metric", "split", "epoch", "value", "best"]]


def draw_learning_curves(frame: pd.DataFrame, looks: Looks) -> Figure:
    metrics, architectures = frame["metric"].unique(), frame["architecture"].unique()
    figure, panels = _grid(len(metrics), len(architectures), sharex=True, sharey="row")
    for (row, metric), (column, architecture) in _product(metrics, architectures):
        axes, own = panels[row, column], frame[(frame["architecture"] == architecture) & (frame["metric"] == metric)]
        for split, line, face in (("train", "dashed", "white"), ("val", "solid", looks[architecture].colour)):
            points = own[own["split"] == split]
            look = looks[architecture]
            axes.plot(points["epoch"], points["value"], ls=line, c=look.colour, marker=look.marker, mfc=face)
        for epoch in own[own["best"]]["epoch"].unique():
            axes.axvline(epoch, color=_GREY, lw=1, ls=":")
        if row == 0:
            axes.set_title(own["trial"].iloc[0] if len(own) else architecture)
        if column == 0:
            axes.set_ylabel(label(metric))
    _whole_numbers(panels[-1], "epoch")
    keys = [
        Line2D([], [], color=_GREY, ls="dashed", marker="o", mfc="white", label="training"),
        Line2D([], [], color=_GREY, marker="o", label="validation"),
        Line2D([], [], color=_GREY, lw=1, ls=":", label="best epoch"),
    ]
    _legend(figure, keys)
    return figure


# --- Gradient norms


def gradient_norms(trials: pd.DataFrame, series: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """The gradient's norm by layer and epoch in each architecture's best trial; `layer` '' is all of it together.

    That of all is left out where there are those of layers.
    """
    frame = winners(trials, rank_by).merge(series, on="run_id")
    frame = frame.assign(layer=frame["metric"].map(_layer)).rename(columns={"step": "epoch"})
    frame = frame[frame["layer"].notna() & np.isfinite(frame["value"]) & (frame["value"] > 0)]
    by_layer = frame[frame["layer"] != ""]
    frame = pd.concat([by_layer, frame[~frame["run_id"].isin(by_layer["run_id"])]]).sort_index()
    return frame[["architecture", "trial", "run_id", "layer", "epoch", "value"]]


def draw_gradient_norms(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures = frame["architecture"].unique()
    figure, panels = _grid(1, len(architectures), height=3.0, sharex=True, sharey=True)
    for axes, architecture in zip(panels[0], architectures, strict=True):
        own = frame[frame["architecture"] == architecture]
        layers = own["layer"].unique()
        # Of one line for all layers together, the architecture's own look tells enough.
        each = looks if [*layers] == [""] else _looks(layers)
        for layer in layers:
            points, look = own[own["layer"] == layer], each[layer or architecture]
            axes.plot(
                points["epoch"], points["value"], c=look.colour, marker=look.marker, ls=look.line, ms=4, label=layer
            )
        axes.set_title(own["trial"].iloc[0])
        if each is not looks:
            axes.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1 + (len(layers) > 4))
    _log_axis(panels[0, 0].yaxis)
    panels[0, 0].set_ylabel("mean norm of the gradient")
    _whole_numbers(panels[-1], "epoch")
    return figure


# --- Best so far


def best_so_far(trials: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """Each architecture's trials in the order in which they ended, with what had been spent and the best score then.

    `trials` and `seconds` are those of the architecture up to here, as in the ledger. `best` is that of complete
    trials, or of pruned ones in an architecture that has no complete one: so the winner is chosen.
    """
    metric = check_metric(rank_by)
    ended = trials[trials["end"].notna()].sort_values(["architecture", "end", "number"], kind="stable")
    parts = []
    for _, own in ended.groupby("architecture"):
        scores = own[rank_by].where(np.isfinite(own[rank_by]))
        complete = scores.where(own["outcome"] == Outcome.COMPLETE.value)
        counted = complete if complete.notna().any() else scores.where(own["outcome"] == Outcome.PRUNED.value)
        if counted.notna().any():
            best = (counted.cummax() if metric.maximize else counted.cummin()).ffill()
            spent = own["seconds"].fillna(0).cumsum()
            parts.append(
                own.assign(trials=range(1, len(own) + 1), seconds=spent, metric=rank_by, score=scores, best=best)
            )
    columns = ["architecture", "trial", "run_id", "outcome", "trials", "seconds", "metric", "score", "best"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def draw_best_so_far(frame: pd.DataFrame, looks: Looks) -> Figure:
    figure, panels = _grid(1, 2, height=3.4, sharey=True)
    for axes, spent in zip(panels[0], ("trials", "seconds"), strict=True):
        for architecture in sorted(frame["architecture"].unique()):
            own = frame[frame["architecture"] == architecture]
            look, steps = looks[architecture], own[own["best"].notna()]
            better = steps["best"] != steps["best"].shift()
            axes.step(steps[spent], steps["best"], where="post", c=look.colour, ls=look.line)
            axes.plot(steps[spent][better], steps["best"][better], look.marker, c=look.colour)
            axes.plot(steps[spent].iloc[-1], steps["best"].iloc[-1], "|", c=look.colour, ms=9, mew=1.5)
    panels[0, 0].set(xlabel="trials ended", ylabel=f"best {label(frame['metric'].iloc[0])}")
    panels[0, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0, 1].set_xlabel("training time of all trials of the architecture (s)")
    _legend(figure, _architecture_keys(frame["architecture"], looks, lines=True))
    return figure


# --- Score by hyperparameter


def score_by_hyperparameter(
    trials: pd.DataFrame, space: Mapping[str, Any] | None, rank_by: str = RANK_BY
) -> pd.DataFrame:
    """Each trial's score by each hyperparameter that varied in its architecture; without one for diverged trials.

    `scale` is linear or log, with `position` the value, or choices, with `position` its place among them.
    """
    shown = trials[trials["outcome"].isin([Outcome.COMPLETE, Outcome.PRUNED, Outcome.DIVERGED])]
    columns = ["architecture", "trial", "run_id", "outcome", "hyperparameter", "value", "position", "scale"]
    parts = []
    for name in hyperparameters(shown):
        varied = [str(each) for each, own in shown.groupby("architecture") if name in varying(own)]
        own = shown[shown["architecture"].isin(varied) & shown[name].map(present).astype(bool)]
        if own.empty:
            continue
        found = [ranges[name] for ranges in (distributions(space, each) for each in varied) if name in ranges]
        numbers = pd.api.types.is_numeric_dtype(own[name]) and not pd.api.types.is_bool_dtype(own[name])
        if numbers and not (found and all(isinstance(each, CategoricalDistribution) for each in found)):
            log = any(getattr(each, "log", False) for each in found) and own[name].min() > 0
            scale, positions = "log" if log else "linear", own[name].astype("float64").to_list()
        else:
            places = {key: float(place) for place, (key,) in enumerate(grouped(own, [name]))}
            scale, positions = "choices", [places[value] for value in own[name]]
        parts.append(
            own.assign(hyperparameter=name, value=own[name].astype(object), position=positions, scale=scale)[columns]
        )
    frame = pd.concat(parts) if parts else pd.DataFrame(columns=columns)
    scores = trials[rank_by].where(np.isfinite(trials[rank_by]) & (trials["outcome"] != Outcome.DIVERGED.value))
    frame = frame.assign(metric=rank_by, score=scores.reindex(frame.index))
    return frame[frame["score"].notna() | (frame["outcome"] == Outcome.DIVERGED.value)].reset_index(drop=True)


def draw_score_by_hyperparameter(frame: pd.DataFrame, looks: Looks) -> Figure:
    names = frame["hyperparameter"].unique()
    figure, panels = _wrapped(len(names), columns=3, height=2.5, sharey=True)
    architectures = sorted(frame["architecture"].unique())
    for axes, name in zip(panels, names, strict=True):
        points = frame[frame["hyperparameter"] == name]
        # Where there are only a few places, the architectures stand side by side at each.
        places = np.unique(points["position"].astype("float64"))
        few = len(places) <= MAX_VALUES and points["scale"].iloc[0] != "log"
        step = 0.12 * np.diff(places).min() if few and len(places) > 1 else 0.0
        for place, architecture in enumerate(architectures):
            own = points[points["architecture"] == architecture]
            aside = step * (place - (len(architectures) - 1) / 2)
            _scatter(axes, own["position"] + aside, own["score"], own["outcome"], looks[architecture])
        _scaled_axis(axes.xaxis, points)
        axes.set_xlabel(heading(name))
    figure.supylabel(label(frame["metric"].iloc[0]), fontsize="medium")
    _legend(figure, [*_architecture_keys(architectures, looks), *_outcome_keys(frame["outcome"])])
    return figure


# --- Parallel coordinates


def parallel_coordinates(trials: pd.DataFrame, space: Mapping[str, Any] | None, rank_by: str = RANK_BY) -> pd.DataFrame:
    """Each trial's values on axes from 0 to 1 (`height`): what varied in its architecture, and its score."""
    values = score_by_hyperparameter(trials, space, rank_by).rename(columns={"hyperparameter": "axis"})
    scores = values.drop_duplicates("run_id").assign(
        axis=rank_by, value=lambda own: own["score"], position=lambda own: own["score"], scale="linear"
    )
    frame = pd.concat([values, scores], ignore_index=True)
    height = np.log(frame["position"].where(frame["scale"] == "log")).fillna(frame["position"]).astype("float64")
    groups = height.groupby([frame["architecture"], frame["axis"]])
    low, high = groups.transform("min"), groups.transform("max")
    frame["height"] = ((height - low) / (high - low).where(high > low)).fillna(0.5).where(height.notna())
    return frame.sort_values("architecture", kind="stable", ignore_index=True)


def draw_parallel_coordinates(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures = frame["architecture"].unique()
    figure, panels = _grid(len(architectures), 1, height=1.9, width=_WIDTH)
    for axes, architecture in zip(panels[:, 0], architectures, strict=True):
        own, look = frame[frame["architecture"] == architecture], looks[architecture]
        names = [*own["axis"].unique()]
        heights = own.pivot(index="run_id", columns="axis", values="height")[names]
        outcomes = own.drop_duplicates("run_id").set_index("run_id")["outcome"].reindex(heights.index)
        for outcome, heights_of in heights.groupby(outcomes):
            style = {"c": look.colour, "lw": 1.2, "alpha": 0.8, "zorder": 3} | _LINE_OF[outcome]
            axes.plot(range(len(names)), heights_of.T, **style)
        for place, name in enumerate(names):
            _upright_axis(axes, place, own[own["axis"] == name])
        axes.set(xlim=(-0.15, len(names) - 0.75), ylim=(-0.12, 1.12), yticks=[])
        axes.set_xticks(range(len(names)), [heading(name) for name in names])
        axes.set_title(architecture, loc="left")
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines[["left", "bottom"]].set_visible(False)
    occurring = set(frame["outcome"])
    keys = {outcome: Line2D([], [], **{"c": _GREY, "label": outcome} | style) for outcome, style in _LINE_OF.items()}
    _legend(figure, [key for outcome, key in keys.items() if outcome in occurring])
    return figure


def _upright_axis(axes: Axes, place: int, own: pd.DataFrame) -> None:
    """A vertical line with the lowest and the highest value, or all choices, written beside it."""
    axes.plot([place, place], [0, 1], c="black", lw=1, zorder=2)
    marks = own.dropna(subset="height").drop_duplicates("height").sort_values("height")
    if own["scale"].iloc[0] != "choices":
        marks = marks.iloc[sorted({0, len(marks) - 1})] if len(marks) else marks
    name = own["axis"].iloc[0]
    for height, value in zip(marks["height"], marks["value"], strict=True):
        text = _short(cell(name, value))
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
        axes.text(place + 0.03, height, text, fontsize=7.5, va="center", zorder=4, bbox=box)


# --- Importance


def importances(mattered: pd.DataFrame) -> pd.DataFrame:
    """The importance of each hyperparameter, and p, where they can be told; of `importance.what_mattered`."""
    told = mattered.reindex(columns=["architecture", "hyperparameter", "importance", "p"]).dropna(subset="importance")
    return told.drop_duplicates(["architecture", "hyperparameter"])


def draw_importances(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures = frame["architecture"].unique()
    most = frame.groupby("architecture").size().max()
    figure, panels = _wrapped(len(architectures), columns=2, height=0.7 + 0.28 * most, sharex=True)
    for axes, architecture in zip(panels, architectures, strict=True):
        own, colour = frame[frame["architecture"] == architecture].iloc[::-1], looks[architecture].colour
        shown = own["p"] < ALPHA
        bars = axes.barh([heading(name) for name in own["hyperparameter"]], own["importance"], edgecolor=colour)
        for bar, sure, p in zip(bars, shown, own["p"], strict=True):
            bar.set(facecolor=colour if sure else "white", hatch=None if sure else "////")
            axes.text(
                bar.get_width() + 0.01, bar.get_y() + bar.get_height() / 2, f"p {p:.2g}", va="center", fontsize=7.5
            )
        axes.set_title(architecture)
        axes.set_xlim(0, 1.1 * frame["importance"].max() + 0.05)
        axes.grid(False, axis="y")
    for axes in panels[-2:]:
        axes.set_xlabel("importance (share of one)")
        axes.tick_params(labelbottom=True)
    return figure


# --- Contour


def contours(
    trials: pd.DataFrame, space: Mapping[str, Any] | None, mattered: pd.DataFrame, rank_by: str = RANK_BY
) -> pd.DataFrame:
    """The score of trials by their architecture's two most important hyperparameters, x and y, where they are told."""
    values = score_by_hyperparameter(trials, space, rank_by)
    keys = ["architecture", "trial", "run_id", "outcome", "metric", "score"]
    parts = [pd.DataFrame(columns=[*keys, *(f"{axis}{part}" for axis in "xy" for part in ("", *_PARTS))])]
    for architecture, told in importances(mattered).groupby("architecture", sort=False):
        if len(told) < 2:
            continue
        x, y = (
            values[(values["architecture"] == architecture) & (values["hyperparameter"] == name)]
            .set_index("run_id")[["hyperparameter", "value", "position", "scale"]]
            .rename(columns=lambda part, axis=axis: axis if part == "hyperparameter" else f"{axis}_{part}")
            for axis, name in zip("xy", told["hyperparameter"], strict=False)
        )
        scored = values[values["score"].notna()].drop_duplicates("run_id")[keys]
        both = scored.merge(x, on="run_id").merge(y, on="run_id")
        places = both[["x_position", "y_position"]].drop_duplicates().astype("float64")
        if len(places) >= 4 and np.linalg.matrix_rank((places - places.mean()).to_numpy()) == 2:
            parts.append(both)
    return pd.concat(parts if len(parts) == 1 else parts[1:], ignore_index=True)


_PARTS = ("_value", "_position", "_scale")


def draw_contours(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures = frame["architecture"].unique()
    figure, panels = _wrapped(len(architectures), columns=2, height=3.2)
    for axes, architecture in zip(panels, architectures, strict=True):
        own = frame[frame["architecture"] == architecture]
        surface = own.groupby(["x_position", "y_position"])["score"].mean().reset_index()
        # Triangles are found on axes of equal length, as they are seen.
        seen = [_unit(surface[f"{axis}_position"], own[f"{axis}_scale"].iloc[0]) for axis in "xy"]
        triangles = Triangulation(*seen).triangles
        mesh = Triangulation(surface["x_position"], surface["y_position"], triangles)
        filled = axes.tricontourf(mesh, surface["score"], levels=8, cmap="cividis", alpha=0.85)
        axes.tricontour(mesh, surface["score"], levels=8, colors="black", linewidths=0.3)
        axes.use_sticky_edges = False  # the points at the edges are whole
        figure.colorbar(filled, ax=axes, label=label(frame["metric"].iloc[0]), shrink=0.9)
        look = Look("black", looks[architecture].marker, None)
        _scatter(axes, own["x_position"], own["y_position"], own["outcome"], look, size=4)
        for axis, side in zip("xy", (axes.xaxis, axes.yaxis), strict=True):
            _scaled_axis(side, own.rename(columns={f"{axis}{part}": part[1:] for part in _PARTS}))
            side.set_label_text(heading(own[axis].iloc[0]))
        axes.set_title(architecture)
    _legend(figure, _outcome_keys(frame["outcome"]))
    return figure


def _unit(positions: pd.Series, scale: str) -> np.ndarray:
    """Positions on an axis from 0 to 1."""
    numbers = positions.astype("float64").to_numpy()
    numbers = np.log(numbers) if scale == "log" else numbers
    return (numbers - numbers.min()) / (numbers.max() - numbers.min())


# --- Accuracy against cost


def accuracy_against_cost(trials: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy of complete trials against parameters and seconds; `front`: no trial is both better and cheaper."""
    complete = trials[(trials["outcome"] == Outcome.COMPLETE.value) & np.isfinite(trials["test_accuracy"])]
    parts = []
    for cost in ("num_parameters", "seconds"):
        own = complete.assign(cost=cost, amount=complete[cost].astype("float64")).dropna(subset="amount")
        own = own[own["amount"] > 0].sort_values(["amount", "test_accuracy"], ascending=[True, False], kind="stable")
        before = own["test_accuracy"].cummax().shift()
        parts.append(own.assign(front=before.isna() | (own["test_accuracy"] > before)))
    return pd.concat(parts)[["architecture", "trial", "run_id", "cost", "amount", "test_accuracy", "front"]]


def draw_accuracy_against_cost(frame: pd.DataFrame, looks: Looks) -> Figure:
    costs = frame["cost"].unique()
    figure, panels = _grid(1, len(costs), height=3.8, sharey=True)
    for axes, cost in zip(panels[0], costs, strict=True):
        points = frame[frame["cost"] == cost]
        front = points[points["front"]]
        axes.step(front["amount"], front["test_accuracy"], where="post", c=_GREY, lw=1)
        axes.plot(front["amount"], front["test_accuracy"], "o", ms=11, mfc="none", mec="black", mew=0.8, ls="none")
        for architecture, own in points.groupby("architecture"):
            look = looks[architecture]
            axes.plot(own["amount"], own["test_accuracy"], look.marker, c=look.colour, ls="none")
        for _, point in front.iterrows():
            place = (point["amount"], point["test_accuracy"])
            # Upright: above a point of the front there is nothing.
            style = {"rotation": 90, "fontsize": 7.5, "ha": "center", "va": "bottom"}
            axes.annotate(point["trial"], place, (0, 8), textcoords="offset points", **style)
        _log_axis(axes.xaxis)
        axes.margins(0.08, 0.2)
        axes.set_xlabel(label(cost))
    panels[0, 0].set_ylabel(label("test_accuracy"))
    ring = Line2D([], [], c=_GREY, lw=1, marker="o", ms=11, mfc="none", mec="black", mew=0.8, label="Pareto front")
    _legend(figure, [*_architecture_keys(frame["architecture"], looks), ring])
    return figure


# --- Pruning


def pruning(trials: pd.DataFrame, series: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """Each trial's validation by epoch; `last` marks the last epoch of each, where a pruned one was stopped."""
    columns = ["architecture", "trial", "number", "run_id", "outcome"]
    own = series[(series["metric"] == rank_by) & np.isfinite(series["value"])]
    frame = trials[columns].merge(own, on="run_id").rename(columns={"step": "epoch"})
    last = frame.groupby("run_id")["epoch"].transform("max") == frame["epoch"]
    return frame.assign(last=last.astype(bool))[[*columns, "metric", "epoch", "value", "last"]]


def draw_pruning(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures = sorted(frame["architecture"].unique())
    figure, panels = _wrapped(len(architectures), columns=2, height=2.7, sharex=True, sharey=True)
    gap = 0.045 * (frame["value"].max() - frame["value"].min())
    for axes, architecture in zip(panels, architectures, strict=True):
        points, look = frame[frame["architecture"] == architecture], looks[architecture]
        for outcome, trials in points.groupby("outcome", sort=False):
            style = _LINE_OF.get(outcome, {"c": _PALE, "lw": 0.9})
            for _, own in trials.groupby("run_id"):
                axes.plot(own["epoch"], own["value"], **{"c": look.colour} | style)
        ends = points[points["last"]].sort_values(["epoch", "value"])
        _scatter(axes, ends["epoch"].astype("float64"), ends["value"], ends["outcome"], look)
        if len(ends) <= 16:
            for _, own in ends.groupby("epoch"):
                for height, (_, end) in zip(_apart(own["value"], gap), own.iterrows(), strict=True):
                    place = (float(end["epoch"]), height)
                    style = {"textcoords": "offset points", "fontsize": 7, "va": "center"}
                    axes.annotate(end["number"], place, (6, 0), **style)
        axes.margins(y=0.1)
        axes.set_title(architecture)
    _whole_numbers(panels, "epoch", bottom=2)
    figure.supylabel(label(frame["metric"].iloc[0]), fontsize="medium")
    _legend(figure, _outcome_keys(frame["outcome"]))
    return figure


def _apart(heights: Iterable[float], gap: float) -> list[float]:
    """Ascending heights, moved up where they are nearer to each other than the gap."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    return moved


# --- Spread over seeds

MAX_CONFIGURATIONS = 30


def spread_over_seeds(trials: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """Scores of complete trials that differ in nothing but their seeds, the best configuration first.

    A configuration has the name that it was given, else that of its first trial. Those with one trial only are left
    out, and those after the best MAX_CONFIGURATIONS by their mean.
    """
    complete = trials[trials["outcome"] == Outcome.COMPLETE.value]
    same = complete[["architecture", "configuration", *hyperparameters(complete)]].itertuples(index=False, name=None)
    keys = pd.Series(map(repr, same), index=complete.index, dtype=object)
    repeated = complete[keys.duplicated(keep=False)]
    names = repeated["configuration"].fillna(repeated["trial"]).groupby(keys).first()
    frame = repeated.assign(configuration=keys.map(names)).melt(
        ["configuration", "architecture", "trial", "run_id", "seed"],
        list(dict.fromkeys([rank_by, "test_accuracy"])),
        "metric",
    )
    frame = frame[np.isfinite(frame["value"].astype("float64"))]
    means = frame[frame["metric"] == rank_by].groupby("configuration")["value"].mean()
    order = [*means.sort_values(ascending=not check_metric(rank_by).maximize).index][:MAX_CONFIGURATIONS]
    frame = frame[frame["configuration"].isin(order)]
    return frame.sort_values(
        "configuration", key=lambda names: names.map(order.index), kind="stable", ignore_index=True
    )


def draw_spread_over_seeds(frame: pd.DataFrame, looks: Looks) -> Figure:
    metrics, configurations = frame["metric"].unique(), [*frame["configuration"].unique()]
    figure, panels = _grid(1, len(metrics), height=1.2 + 0.32 * len(configurations), sharey=True)
    for axes, metric in zip(panels[0], metrics, strict=True):
        for place, configuration in enumerate(configurations):
            own = frame[(frame["configuration"] == configuration) & (frame["metric"] == metric)]
            if own.empty:
                continue
            look = looks[own["architecture"].iloc[0]]
            axes.plot([own["value"].min(), own["value"].max()], [place, place], c=look.colour, lw=1)
            axes.plot(own["value"], [place] * len(own), look.marker, c=look.colour, mfc="white", ls="none")
            axes.plot(own["value"].mean(), place, "|", c="black", ms=14, mew=2, zorder=3)
        axes.set_xlabel(label(metric))
        axes.grid(False, axis="y")
    panels[0, 0].set_yticks(range(len(configurations)), [_short(name, 32) for name in configurations])
    panels[0, 0].set_ylim(len(configurations) - 0.5, -0.5)
    mean = Line2D([], [], c="black", ls="none", marker="|", ms=12, mew=2, label="mean")
    _legend(figure, [*_architecture_keys(frame["architecture"], looks, face="white"), mean])
    return figure


# --- Memory

FORGOTTEN = 1e-6  # where the axis ends


def draw_memory(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures, activations = frame["architecture"].unique(), [*frame["activation"].unique()]
    figure, panels = _grid(2, len(architectures), height=2.6, sharex=True, sharey="row")
    each = _looks(activations)
    for (row, by), (column, architecture) in _product(("state", "word"), architectures):
        axes = panels[row, column]
        of_model = ["activation", "gate_activation", "weights", "search", "trial"]
        points = frame[frame["architecture"] == architecture]
        for (activation, gate, weights, *_), own in points.groupby(of_model, dropna=False, sort=False):
            look, trained = each[activation], weights == "trained"
            by_relu = gate == "relu"
            axes.plot(
                own["distance"],
                own[by],
                c=look.colour,
                ls="solid" if trained else "dotted",
                marker=look.marker if by_relu else "",
                markevery=max(len(own) // 8, 1),
                ms=4,
                mfc=look.colour if trained else "white",
            )
        if row == 0:
            axes.set_title(architecture)
        axes.set_yscale("log")
    for axes, by in zip(panels[:, 0], ("state", "word"), strict=True):
        axes.set_ylim(bottom=max(FORGOTTEN, axes.get_ylim()[0]))
        _log_axis(axes.yaxis)
        axes.set_ylabel(f"norm by the {by}")
    _whole_numbers(panels[-1], "words before the last")
    keys = [Line2D([], [], c=each[name].colour, label=name) for name in activations]
    if frame["gate_activation"].eq("relu").any():
        keys.append(Line2D([], [], c=_GREY, marker="o", label="gates of relu"))
    if frame["weights"].nunique() > 1:
        keys.append(Line2D([], [], c=_GREY, ls="dotted", label="before training"))
    _legend(figure, keys)
    return figure


# --- What the drawings share


def _grid(
    rows: int, columns: int, height: float = 2.4, width: float | None = None, **more: Any
) -> tuple[Figure, np.ndarray]:
    """A figure, and its panels as a matrix; height: inches a row; width: inches in all, less for a column or two."""
    width = width or _WIDTH * min(1, 0.4 + 0.3 * columns)
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def _wrapped(count: int, columns: int, height: float, **more: Any) -> tuple[Figure, Sequence[Axes]]:
    """A figure, and so many panels in rows."""
    columns = min(columns, count)
    figure, panels = _grid(-(-count // columns), columns, height, **more)
    for axes in panels.flat[count:]:
        axes.set_visible(False)
    return figure, list(panels.flat[:count])


def _product(rows: Iterable[Any], columns: Iterable[Any]) -> Iterable[tuple[tuple[int, Any], tuple[int, Any]]]:
    columns = list(columns)
    return ((row, column) for row in enumerate(rows) for column in enumerate(columns))


def _scatter(axes: Axes, x: pd.Series, y: pd.Series, outcomes: pd.Series, look: Look, size: float = 5.5) -> None:
    """Complete trials filled, others hollow; a diverged one, which has no score, as a cross at the bottom."""
    for outcome in outcomes.unique():
        own = y.notna() & (outcomes == outcome)
        marker = "x" if outcome == Outcome.DIVERGED.value else look.marker
        face = look.colour if outcome == Outcome.COMPLETE.value else "white"
        axes.plot(x[own], y[own], marker, c=look.colour, mfc=face, ms=size, ls="none", alpha=0.85, zorder=3)
    lost = x[y.isna()]
    axes.plot(lost, [0.02] * len(lost), "x", c=look.colour, transform=axes.get_xaxis_transform())


def _architecture_keys(
    names: Iterable[str], looks: Looks, lines: bool = False, face: str | None = None
) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            c=look.colour,
            marker=look.marker,
            mfc=face or look.colour,
            ls=look.line if lines else "none",
            label=name,
        )
        for name, look in ((name, looks[name]) for name in sorted(set(names)))
    ]


def _outcome_keys(outcomes: Iterable[str]) -> list[Line2D]:
    occurring = set(outcomes)
    keys = [
        Line2D([], [], c=_GREY, marker="o", ls="none", label="complete"),
        Line2D([], [], c=_GREY, marker="o", mfc="white", ls="none", label="pruned"),
        Line2D([], [], c=_GREY, marker="x", ls="none", label="diverged"),
    ]
    return [key for key in keys if key.get_label() in occurring]


def _legend(figure: Figure, keys: Sequence[Line2D]) -> None:
    figure.legend(handles=keys, loc="outside lower center", ncols=min(len(keys), 8), handlelength=2.6)


def _whole_numbers(panels: Sequence[Axes], name: str, bottom: int | None = None) -> None:
    """The last `bottom` of these panels (all) have the same axis of whole numbers from 1 below them."""
    for axes in panels:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes in panels[-(bottom or len(panels)) :]:
        axes.set_xlabel(name)
        axes.tick_params(labelbottom=True)


def _scaled_axis(side: Any, points: pd.DataFrame) -> None:
    """An axis as the frame's `scale` says, with the choices written at it."""
    scale = points["scale"].iloc[0]
    if scale == "log":
        _log_axis(side)
    elif scale == "linear" and all(isinstance(value, int) for value in points["value"]):
        side.set_major_locator(MaxNLocator(integer=True))
    elif scale == "choices":
        choices = points.drop_duplicates("position").sort_values("position")
        names = [_short(cell("", value)) for value in choices["value"]]
        side.set_ticks(choices["position"].to_list(), labels=names)
        side.axes.margins(**{f"{side.axis_name}": 0.15})
        if side.axis_name == "x" and sum(map(len, names)) > 30:
            side.set_tick_params(rotation=30)


def _log_axis(side: Any) -> None:
    """A log axis with its ticks in plain numbers."""
    getattr(side.axes, f"set_{side.axis_name}scale")("log")
    low, high = side.get_view_interval()
    steps = (1,) if high > 100 * low else (1, 2, 5)
    side.set_major_locator(LogLocator(subs=steps))
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:.3g}"))
    side.set_minor_formatter(NullFormatter())


def _short(text: str, length: int = 16) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


# --- The figures


@dataclass(frozen=True)
class Plot:
    """A figure of the report. caption: how to read it. nothing: why it is left out where there is nothing to show."""

    name: str
    title: str
    caption: str
    nothing: str
    data: Callable[[Found], pd.DataFrame]
    draw: Callable[[pd.DataFrame, Looks], Figure]


PLOTS = {
    plot.name: plot
    for plot in (
        Plot(
            "learning_curves",
            "Learning curves of the best trial of each architecture",
            "Training against validation by epoch; the dotted line is the epoch that counts. Training numbers are "
            "those of the batches as they were trained on, with dropout: early on they may be worse.",
            "no trial with a score has its epochs on record",
            lambda found: learning_curves(found.trials, found.series, found.rank_by),
            draw_learning_curves,
        ),
        Plot(
            "gradient_norms",
            "Gradient norms of the best trial of each architecture",
            "The mean over each epoch, before any clipping, on a log axis. A layer whose norm falls to nothing has "
            "stopped learning.",
            "no trial with a score has gradient norms on record",
            lambda found: gradient_norms(found.trials, found.series, found.rank_by),
            draw_gradient_norms,
        ),
        Plot(
            "best_so_far",
            "Best so far",
            "The best complete trial after so many trials and so much training time of the same architecture, in the "
            "order in which they ended (the best pruned one, where none is complete). A bar ends each line.",
            "no trial has ended with a score",
            lambda found: best_so_far(found.trials, found.rank_by),
            draw_best_so_far,
        ),
        Plot(
            "score_by_hyperparameter",
            "Score by each hyperparameter",
            "A point for each trial. Pruned trials were stopped early, so they score lower than they would have. A "
            "sampler tries good values together: what goes with the score need not be its cause.",
            "no hyperparameter had more than one value in trials with a result",
            lambda found: score_by_hyperparameter(found.trials, found.space, found.rank_by),
            draw_score_by_hyperparameter,
        ),
        Plot(
            "parallel_coordinates",
            "Parallel coordinates",
            "A line for each trial, through its hyperparameters to its score on the right; the axes are those of the "
            "architecture, from the lowest to the highest value tried.",
            "no hyperparameter had more than one value in trials with a result",
            lambda found: parallel_coordinates(found.trials, found.space, found.rank_by),
            draw_parallel_coordinates,
        ),
        Plot(
            "importance",
            "Importance of hyperparameters",
            "PED-ANOVA: what sets the best quarter of an architecture's trials apart from the rest. Hatched bars are "
            f"not shown to matter (p, corrected for their number, is not below {ALPHA}).",
            f"no architecture has {MIN_TRIALS} trials with different results, too few to say what mattered",
            lambda found: importances(found.mattered),
            draw_importances,
        ),
        Plot(
            "contour",
            "Score by the two most important hyperparameters",
            "Interpolated between the trials, which are the points: trust it only near them. Pruned trials count with "
            "the score that they had when they were stopped.",
            f"no architecture has {MIN_TRIALS} trials with different results, too few to say which two mattered most",
            lambda found: contours(found.trials, found.space, found.mattered, found.rank_by),
            draw_contours,
        ),
        Plot(
            "accuracy_against_cost",
            "Test accuracy against parameters and training time",
            "Complete trials. On the Pareto front (ringed) are those that no other beats at the same or a lower cost. "
            "It is there to look at: nothing was chosen on the test set.",
            "no complete trial has a test accuracy",
            lambda found: accuracy_against_cost(found.trials),
            draw_accuracy_against_cost,
        ),
        Plot(
            "pruning",
            "Pruning",
            "Validation of every trial by epoch, and where it ended; the numbers are those of the trials. Pruned "
            "trials end early because they were behind the others of their architecture.",
            "no trial has its epochs on record",
            lambda found: pruning(found.trials, found.series, found.rank_by),
            draw_pruning,
        ),
        Plot(
            "spread_over_seeds",
            "Spread over seeds",
            "Trials of the same configuration differ in nothing but their seeds: a difference between configurations "
            f"that is no larger than the spread within them can be luck. The best {MAX_CONFIGURATIONS} are shown.",
            "no configuration was trained to its end with more than one seed",
            lambda found: spread_over_seeds(found.trials, found.rank_by),
            draw_spread_over_seeds,
        ),
        Plot(
            "memory",
            "Memory of the recurrent models",
            "How much the last state depends on the state, and on the word, so many words before: the norm of its "
            "Jacobian (Frobenius', divided by the square root of the hidden size), the mean over test texts, on a log "
            "axis. Of the best trial with each activation whose checkpoint is at hand. What falls towards nothing is "
            "forgotten, and gradients vanish alike; what stays near 1 is kept.",
            "no checkpoint of an rnn or gru is at hand",
            lambda found: found.memory,
            draw_memory,
        ),
    )
}


def render(plot: Plot, found: Found) -> dict[str, bytes]:
    """The figure as svg, png, and its data as csv; empty where there is nothing to show."""
    frame = plot.data(found)
    if frame.empty:
        return {}
    files = {"csv": to_csv(frame).encode()}
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a name in a script that the font lacks
        figure = plot.draw(frame, looks(found.trials["architecture"].dropna()))
        for ending, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            out = io.BytesIO()
            figure.savefig(out, format=ending, dpi=_DPI, metadata=metadata)
            files[ending] = out.getvalue()
            figure.set_layout_engine("none")  # it is laid out, which takes longer than to draw it
    return files
