"""Which classes the best models confuse: a matrix for each, of the test texts."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.plot import Found, Plot
from analysis.figures.style import Looks, short, wrapped
from analysis.verdicts.confusion import MOST_CLASSES

INCHES_PER_CLASS, LEAST_INCHES = 0.28, 2.6
COUNTED = 12  # classes, for whose cells there is room for a number


def data(found: Found) -> pd.DataFrame:
    """A row for each model and pair of classes: test texts of the one that are said to be the other, and which share
    that is of the class's texts."""
    frames = []
    for model, each in found.confusions.items():
        if len(each.classes) > MOST_CLASSES:
            continue
        matrix_CC = each.matrix
        shares_CC = matrix_CC / np.maximum(1, matrix_CC.sum(1, keepdims=True))
        places = pd.MultiIndex.from_product([each.classes, each.classes], names=["label", "predicted"])
        frame = pd.DataFrame({"texts": matrix_CC.ravel(), "share": shares_CC.ravel()}, index=places).reset_index()
        frames.append(frame.assign(model=model))
    columns = ["model", "label", "predicted", "texts", "share"]
    return pd.concat(frames or [pd.DataFrame()], ignore_index=True).reindex(columns=columns)


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    models, classes = frame["model"].unique(), frame["label"].unique()
    height = max(LEAST_INCHES, INCHES_PER_CLASS * len(classes) + 1.2)
    figure, panels = wrapped(len(models), 3 if len(classes) <= 6 else 2, height)
    names = [short(str(name)) for name in classes]
    for axes, model in zip(panels, models, strict=True):
        own = frame[frame["model"] == model]
        size = len(classes)
        shares_CC, texts_CC = (own[name].to_numpy().reshape(size, size) for name in ("share", "texts"))
        axes.imshow(shares_CC, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(size), names, rotation=90 if size > 3 else 0)
        axes.set_yticks(range(size), names)
        axes.grid(visible=False)
        axes.set_title(model)
        for (row, column), count in np.ndenumerate(texts_CC if size <= COUNTED else np.zeros((0, 0))):
            colour = "white" if shares_CC[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color=colour)
    figure.supxlabel("predicted", fontsize="medium")
    figure.supylabel("class", fontsize="medium")
    return figure


PLOT = Plot(
    "confusion",
    title="Which classes the best models confuse",
    caption="Test texts by their class (rows) and the class that is predicted (columns); the darker, the larger the "
    "share of the class's texts. On the diagonal are the right ones.",
    nothing="what the best trials predict is not on record, is not one class a text, or is of more than "
    f"{MOST_CLASSES} classes, of which the pairs that are confused most often are in a table below",
    data=data,
    draw=draw,
    of_winners=True,
)
