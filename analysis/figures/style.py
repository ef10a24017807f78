"""The common style of figures: the look of architectures, panels, axes and legends.

Figures are readable in colour, for colour-blind readers, and in black and white: an architecture has the same colour,
marker and line everywhere; complete trials are filled, pruned ones hollow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullFormatter

from analysis.base.table import cell, heading
from search.base import schema
from search.base.schema import Outcome
from search.train.metrics import METRICS


@dataclass(frozen=True)
class Look:
    """The look of an architecture in figures."""

    colour: str
    marker: str
    line: Any


Looks = Mapping[str, Look]

# Okabe and Ito's colours, distinguishable with every kind of colour vision; without yellow, which is pale on white.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">", "p"]
_LINES = ["solid", (0, (6, 2)), (0, (2, 1)), (0, (6, 2, 1, 2)), (0, (1, 1.5))]

STYLE: Any = {
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
    "svg.hashsalt": "bakeoff",  # equal figures give equal files
    "text.parse_math": False,  # dollar signs in names are text
}
WIDTH, DPI = 9.0, 150  # inches; pixels per inch
GREY, PALE = "#767676", "#9a9a9a"
#: The line style of a trial, by its outcome.
LINE_OF: dict[Any, dict[str, Any]] = {
    Outcome.COMPLETE.value: {},
    Outcome.PRUNED.value: {"c": PALE, "lw": 0.9, "ls": "dashed"},
    Outcome.DIVERGED.value: {"c": PALE, "lw": 0.9, "ls": "dotted"},
}
_LABELS = {"seconds": "training time (s)", "num_parameters": "trainable parameters"}


def looks(architectures: Iterable[str]) -> dict[str, Look]:
    """The looks of architectures; the same set always gets the same looks."""
    return looks_of(sorted(set(architectures)))


def looks_of(names: Sequence[str]) -> dict[str, Look]:
    """The looks of any names, in their order."""
    parts = (islice(cycle(values), len(names)) for values in (_COLOURS, _MARKERS, _LINES))
    return {name: Look(*look) for name, *look in zip(names, *parts, strict=True)}


def label(name: str) -> str:
    """The label of an axis: the name in words, with its unit."""
    split, _, metric = name.partition("_")
    if split in schema.SPLITS and metric in METRICS:
        return f"{'validation' if split == 'val' else split} {label(metric)}"
    if name in METRICS:
        return METRICS[name].label or heading(name)
    return _LABELS.get(name, heading(name))


def grid(
    rows: int, columns: int, height: float = 2.4, width: float | None = None, **more: Any
) -> tuple[Figure, np.ndarray]:
    """A figure with its panels as a matrix. height: inches per row. width: total inches (default: by columns)."""
    width = width or WIDTH * min(1, 0.4 + 0.3 * columns)
    figure = Figure(figsize=(width, height * rows), dpi=DPI, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def wrapped(count: int, columns: int, height: float, **more: Any) -> tuple[Figure, Sequence[Axes]]:
    """A figure with `count` panels in rows of at most `columns`."""
    columns = min(columns, count)
    figure, panels = grid(-(-count // columns), columns, height, **more)
    for axes in panels.flat[count:]:
        axes.set_visible(False)
    return figure, list(panels.flat[:count])


def scatter(axes: Axes, x: pd.Series, y: pd.Series, outcomes: pd.Series, look: Look, size: float = 5.5) -> None:
    """Draw complete trials filled, others hollow, and diverged ones, which have no score, as crosses at the bottom."""
    for outcome in outcomes.unique():
        mask = y.notna() & (outcomes == outcome)
        marker = "x" if outcome == Outcome.DIVERGED.value else look.marker
        face = look.colour if outcome == Outcome.COMPLETE.value else "white"
        axes.plot(x[mask], y[mask], marker, c=look.colour, mfc=face, ms=size, ls="none", alpha=0.85, zorder=3)
    lost = x[y.isna()]
    axes.plot(lost, [0.02] * len(lost), "x", c=look.colour, transform=axes.get_xaxis_transform())


def architecture_keys(names: Iterable[str], looks: Looks, lines: bool = False, face: str | None = None) -> list[Line2D]:
    keys = []
    for name in sorted(set(names)):
        look = looks[name]
        line = look.line if lines else "none"
        keys.append(Line2D([], [], c=look.colour, marker=look.marker, mfc=face or look.colour, ls=line, label=name))
    return keys


#: The line of the best baseline, at its score.
BASELINE_LINE: dict[str, Any] = {"c": "black", "lw": 1.1, "ls": (0, (4, 2.5)), "zorder": 1.5}


def baseline_keys(names: Iterable[str]) -> list[Line2D]:
    return [Line2D([], [], **BASELINE_LINE, label=f"{name} (baseline)") for name in dict.fromkeys(names)]


def outcome_keys(outcomes: Iterable[str]) -> list[Line2D]:
    occurring = set(outcomes)
    keys = [
        Line2D([], [], c=GREY, marker="o", ls="none", label="complete"),
        Line2D([], [], c=GREY, marker="o", mfc="white", ls="none", label="pruned"),
        Line2D([], [], c=GREY, marker="x", ls="none", label="diverged"),
    ]
    return [key for key in keys if key.get_label() in occurring]


def legend(figure: Figure, keys: Sequence[Line2D | Patch]) -> None:
    figure.legend(handles=keys, loc="outside lower center", ncols=min(len(keys), 8), handlelength=2.6)


def whole_numbers(panels: Sequence[Axes], name: str, bottom: int | None = None) -> None:
    """Give panels an x axis of integers; the last `bottom` panels (default: all) get labels."""
    for axes in panels:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes in panels[-(bottom or len(panels)) :]:
        axes.set_xlabel(name)
        axes.tick_params(labelbottom=True)


def scaled_axis(side: Any, points: pd.DataFrame) -> None:
    """Scale an axis by the frame's column `scale`, with choices as tick labels."""
    scale = points["scale"].iloc[0]
    if scale == "log":
        log_axis(side)
    elif scale == "linear" and all(isinstance(value, int) for value in points["value"]):
        side.set_major_locator(MaxNLocator(integer=True))
    elif scale == "choices":
        choices = points.drop_duplicates("position").sort_values("position")
        names = [short(cell("", value)) for value in choices["value"]]
        side.set_ticks(choices["position"].to_list(), labels=names)
        side.axes.margins(**{f"{side.axis_name}": 0.15})
        if side.axis_name == "x" and sum(map(len, names)) > 30:
            side.set_tick_params(rotation=30)


def log_axis(side: Any) -> None:
    """Make an axis logarithmic, with plain numbers as tick labels."""
    getattr(side.axes, f"set_{side.axis_name}scale")("log")
    side.set_major_locator(_LogTicks())
    side.set_major_formatter(FuncFormatter(_in_thousands))
    side.set_minor_formatter(NullFormatter())


class _LogTicks(Locator):
    """Ticks at powers of ten; with fewer than three of these, also between them; on a shorter axis, linear ticks."""

    def __call__(self) -> Any:
        assert self.axis is not None
        return self.tick_values(*sorted(self.axis.get_view_interval()))

    def tick_values(self, vmin: float, vmax: float) -> Any:
        for steps in ((1,), (1, 3), (1, 2, 5)):
            found = _within(LogLocator(subs=steps).tick_values(vmin, vmax), vmin, vmax)
            # LogLocator may fall back to ticks at other multiples.
            others = {float(f"{tick:.3e}".partition("e")[0]) for tick in found} - {*steps}
            if len(found) >= 3 and not others:
                return found
        return _within(MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(vmin, vmax), vmin, vmax)


def _within(ticks: Iterable[float], low: float, high: float) -> list[float]:
    return [tick for tick in ticks if low <= tick <= high]


def _in_thousands(value: float, _: Any = None) -> str:
    """A short tick label: 0.003, 20, 5,000, 20k, 1.5M."""
    if value >= 1e6:
        return f"{value / 1e6:.4g}M"
    if value >= 1e4:
        return f"{value / 1e3:.4g}k"
    return f"{value:,.0f}" if value >= 1 and value % 1 == 0 else f"{value:.3g}"


def short(text: str, length: int = 16) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
