"""Which classes the best models confuse: a matrix for each, of the test texts; of texts of several classes, which are
missed and added."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.figures.plot import Found, Plot
from analysis.figures.style import Looks, legend, short, wrapped
from analysis.verdicts.confusion_tables import MOST_CLASSES
from analysis.verdicts.set_confusion import SetConfusion

INCHES_PER_CLASS, LEAST_INCHES = 0.28, 2.6
BAR_INCHES = 0.2  # a class
FOUND, MISSED, ADDED = "#08519c", "#9ecae1", "#e6550d"
COUNTED = 12  # classes, for whose cells there is room for a number


def data(found: Found) -> pd.DataFrame:
    """A row for each model and pair of classes: test texts of the one that are said to be the other, and which share
    that is of the class's texts. Of texts of several classes a row for each model and class: of how many texts it is
    found, missed and added."""
    frames, columns = [], ["label", "predicted", "texts", "share"]
    for model, each in found.confusions.items():
        if isinstance(each, SetConfusion):
            columns = ["class", "found", "missed", "added"]
            by_class = each.by_class.assign(found=each.counts.right_C)
            wrong = by_class["missed"] + by_class["added"]
            shown = by_class.loc[wrong.sort_values(ascending=False, kind="stable").index[:MOST_CLASSES]]
            frames.append(shown[columns].assign(model=model))
        elif len(each.classes) <= MOST_CLASSES:
            matrix_CC = each.matrix
            shares_CC = matrix_CC / np.maximum(1, matrix_CC.sum(1, keepdims=True))
            places = pd.MultiIndex.from_product([each.classes, each.classes], names=["label", "predicted"])
            frame = pd.DataFrame({"texts": matrix_CC.ravel(), "share": shares_CC.ravel()}, index=places).reset_index()
            frames.append(frame.assign(model=model))
    return pd.concat(frames or [pd.DataFrame()], ignore_index=True).reindex(columns=["model", *columns])


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    return _bars(frame) if "missed" in frame else _matrices(frame)


def _matrices(frame: pd.DataFrame) -> Figure:
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


def _bars(frame: pd.DataFrame) -> Figure:
    models = frame["model"].unique()
    most = frame["model"].value_counts().max()
    figure, panels = wrapped(len(models), 2, max(LEAST_INCHES, BAR_INCHES * most + 1.0))
    least, greatest = -frame["added"].max(), (frame["found"] + frame["missed"]).max()
    margin = 0.03 * (greatest - least)
    for axes, model in zip(panels, models, strict=True):
        own = frame[frame["model"] == model].iloc[::-1]  # the first one on top
        places = range(len(own))
        axes.barh(places, own["found"], color=FOUND)
        axes.barh(places, own["missed"], left=own["found"], color=MISSED)
        axes.barh(places, -own["added"], color=ADDED)
        axes.set_yticks(places, [short(str(name)) for name in own["class"]])
        axes.axvline(0, c="black", lw=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):,.0f}"))
        axes.set_xlim(least - margin, greatest + margin)
        axes.set_xlabel("test texts")
        axes.set_title(model)
    keys = {"added": ADDED, "found": FOUND, "missed": MISSED}
    legend(figure, [Patch(color=colour, label=label) for label, colour in keys.items()])
    return figure


PLOT = Plot(
    "confusion",
    title="Which classes the best models confuse",
    caption="Test texts by their class (rows) and the class that is predicted (columns); the darker, the larger the "
    "share of the class's texts. On the diagonal are the right ones. Where a text can have several classes: right of 0 "
    "the texts of a class, of which it is found or missed, left of it those to which it is wrongly added; of many "
    f"classes the {MOST_CLASSES} with most mistakes.",
    nothing="what the best trials predict is not on record, is not of classes, or is of more than "
    f"{MOST_CLASSES} classes, of which the pairs that are confused most often are in a table below",
    data=data,
    draw=draw,
    of_winners=True,
)
