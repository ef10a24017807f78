"""The confusion matrix of every best model on test; for texts with several classes, the classes missed and added."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import Looks, legend, short, wrapped
from analysis.verdicts.confusion_tables import MOST_CLASSES
from analysis.verdicts.set_confusion import SetConfusion

INCHES_PER_CLASS, LEAST_INCHES = 0.28, 2.6
BAR_INCHES = 0.2  # per class
FOUND, MISSED, ADDED = "#08519c", "#9ecae1", "#e6550d"
COUNTED = 12  # the most classes with numbers in the cells


def data(found: PlotData) -> pd.DataFrame:
    """One row per model and pair of true and predicted class: the number of test texts, and their share of the class's
    texts. With several classes per text, one row per model and class: texts in which it is found, missed and added."""
    frames, columns = [], ["label", "predicted", "texts", "share"]
    for model, confusion in found.confusions.items():
        if isinstance(confusion, SetConfusion):
            columns = ["class", "found", "missed", "added"]
            by_class = confusion.by_class.assign(found=confusion.counts.right_C)
            wrong = by_class["missed"] + by_class["added"]
            shown = by_class.loc[wrong.sort_values(ascending=False, kind="stable").index[:MOST_CLASSES]]
            frames.append(shown[columns].assign(model=model))
        elif len(confusion.classes) <= MOST_CLASSES:
            matrix_CC = confusion.matrix
            shares_CC = matrix_CC / np.maximum(1, matrix_CC.sum(1, keepdims=True))
            places = pd.MultiIndex.from_product([confusion.classes] * 2, names=["label", "predicted"])
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
        group = frame[frame["model"] == model]
        size = len(classes)
        shares_CC, texts_CC = (group[name].to_numpy().reshape(size, size) for name in ("share", "texts"))
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
        group = frame[frame["model"] == model].iloc[::-1]  # the first class at the top
        places = range(len(group))
        axes.barh(places, group["found"], color=FOUND)
        axes.barh(places, group["missed"], left=group["found"], color=MISSED)
        axes.barh(places, -group["added"], color=ADDED)
        axes.set_yticks(places, [short(str(name)) for name in group["class"]])
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
    caption="Number of test texts by true class (rows) and predicted class (columns); darker cells are larger shares "
    "of the true class. The diagonal is correct. If texts can have several classes: to the right of 0, the texts of a "
    "class in which it is found or missed; to the left, the texts to which it is wrongly added; at most the "
    f"{MOST_CLASSES} classes with the most mistakes.",
    nothing="the predictions of the best trials were not kept, are not of classes, or are of more than "
    f"{MOST_CLASSES} classes (the most confused pairs are in a table below)",
    data=data,
    draw=draw,
    of_winners=True,
)
