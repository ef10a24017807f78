"""The score by the two most important hyperparameters of each architecture, interpolated between trials."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation

from analysis.base.table import heading
from analysis.figures import importance, score_by_hyperparameter
from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import Look, Looks, label, legend, outcome_keys, scaled_axis, scatter, wrapped
from analysis.verdicts.importance import MIN_TRIALS

_PARTS = ("_value", "_position", "_scale")


def data(found: PlotData) -> pd.DataFrame:
    """The scores of trials by the two most important hyperparameters of their architecture, x and y, if known."""
    values = score_by_hyperparameter.data(found)
    keys = ["architecture", "trial", "run_id", "outcome", "metric", "score"]
    parts = [pd.DataFrame(columns=[*keys, *(f"{axis}{part}" for axis in "xy" for part in ("", *_PARTS))])]
    for architecture, important in importance.data(found).groupby("architecture", sort=False):
        if len(important) < 2:
            continue
        x, y = (
            values[(values["architecture"] == architecture) & (values["hyperparameter"] == name)]
            .set_index("run_id")[["hyperparameter", "value", "position", "scale"]]
            .rename(columns=lambda part, axis=axis: axis if part == "hyperparameter" else f"{axis}_{part}")
            for axis, name in zip("xy", important["hyperparameter"], strict=False)
        )
        scored = values[values["score"].notna()].drop_duplicates("run_id")[keys]
        both = scored.merge(x, on="run_id").merge(y, on="run_id")
        places = both[["x_position", "y_position"]].drop_duplicates().astype("float64")
        if len(places) >= 4 and np.linalg.matrix_rank((places - places.mean()).to_numpy()) == 2:
            parts.append(both)
    return pd.concat(parts if len(parts) == 1 else parts[1:], ignore_index=True)


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    architectures = frame["architecture"].unique()
    figure, panels = wrapped(len(architectures), columns=2, height=3.2)
    for axes, architecture in zip(panels, architectures, strict=True):
        group = frame[frame["architecture"] == architecture]
        surface = group.groupby(["x_position", "y_position"])["score"].mean().reset_index()
        # Triangulate on axes of equal length, as displayed.
        seen = [_unit(surface[f"{axis}_position"], group[f"{axis}_scale"].iloc[0]) for axis in "xy"]
        triangles = Triangulation(*seen).triangles
        mesh = Triangulation(surface["x_position"], surface["y_position"], triangles)
        filled = axes.tricontourf(mesh, surface["score"], levels=8, cmap="cividis", alpha=0.85)
        axes.tricontour(mesh, surface["score"], levels=8, colors="black", linewidths=0.3)
        axes.use_sticky_edges = False  # do not cut points at the edges
        figure.colorbar(filled, ax=axes, label=label(frame["metric"].iloc[0]), shrink=0.9)
        look = Look("black", looks[architecture].marker, None)
        scatter(axes, group["x_position"], group["y_position"], group["outcome"], look, size=4)
        for axis, side in zip("xy", (axes.xaxis, axes.yaxis), strict=True):
            scaled_axis(side, group.rename(columns={f"{axis}{part}": part[1:] for part in _PARTS}))
            side.set_label_text(heading(group[axis].iloc[0]))
        axes.set_title(architecture)
    legend(figure, outcome_keys(frame["outcome"]))
    return figure


def _unit(positions: pd.Series, scale: str) -> np.ndarray:
    """Positions scaled to an axis from 0 to 1."""
    numbers = positions.astype("float64").to_numpy()
    numbers = np.log(numbers) if scale == "log" else numbers
    return (numbers - numbers.min()) / (numbers.max() - numbers.min())


PLOT = Plot(
    "contour",
    title="Score by the two most important hyperparameters",
    caption="Interpolated between trials, which are the points: trust it only near them. Pruned trials count with "
    "their score when they were stopped.",
    nothing=f"no architecture has {MIN_TRIALS} trials with different results, the fewest for importance",
    data=data,
    draw=draw,
)
