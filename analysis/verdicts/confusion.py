"""Which classes a model confuses: counts of its answers to the test texts, by class and by pair of classes.

Shapes: N test texts, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.base.table import Table
from data.base.ordering import natural_order
from search.train.tasks.observed import Counts

PROBABILITY = "probability of "  # how such columns of predictions begin, each with a class
TOP_CLASS, TOP_PROBABILITY = "top 1", "probability 1"  # of many classes, what is kept of the most probable
MOST_CLASSES = 20  # that a matrix, or a table for readers, has room for
NUM_PAIRS = 10  # for readers


@dataclass(frozen=True, eq=False)
class Confusion:
    """What a model said of each test text, by the places of classes, and with which probability."""

    classes: tuple[str, ...]
    labels_N: np.ndarray
    predicted_N: np.ndarray
    confidence_N: np.ndarray

    @classmethod
    def of(cls, predictions: pd.DataFrame | None) -> "Confusion | None":
        """From what `runs.read_predictions` reads; None where that is nothing, or no text has just one class."""
        if predictions is None or predictions.empty:
            return None
        if TOP_CLASS in predictions:
            return cls._of_top(predictions)
        columns = [str(name) for name in predictions if str(name).startswith(PROBABILITY)]
        classes = tuple(name.removeprefix(PROBABILITY) for name in columns)
        places = {name: place for place, name in enumerate(classes)}
        found = [predictions[name].map(places) for name in ("label", "predicted")]
        if not columns or any(each.isna().any() for each in found):
            return None
        labels_N, predicted_N = (each.to_numpy(dtype=np.int64) for each in found)
        probabilities_NC = predictions[columns].to_numpy(dtype=np.float64)
        return cls(classes, labels_N, predicted_N, probabilities_NC[np.arange(len(labels_N)), predicted_N])

    @classmethod
    def _of_top(cls, predictions: pd.DataFrame) -> "Confusion | None":
        """Where there are too many classes for the probabilities of all to be kept: of those that come."""
        if not predictions[TOP_CLASS].eq(predictions["predicted"]).all():  # texts of several classes
            return None
        classes = tuple(sorted({*predictions["label"], *predictions["predicted"]}, key=natural_order))
        places = {name: place for place, name in enumerate(classes)}
        labels_N, predicted_N = (predictions[name].map(places).to_numpy(np.int64) for name in ("label", "predicted"))
        return cls(classes, labels_N, predicted_N, predictions[TOP_PROBABILITY].to_numpy(dtype=np.float64))

    @cached_property
    def counts(self) -> Counts:
        right_N = self.labels_N[self.labels_N == self.predicted_N]
        each = (self.labels_N, self.predicted_N, right_N)
        return Counts(*(np.bincount(part, minlength=len(self.classes)) for part in each))

    @property
    def only(self) -> str | None:
        """The class that is said of every text, if it is one, though the texts are of several."""
        said = np.unique(self.predicted_N)
        return self.classes[said[0]] if len(said) == 1 and len(np.unique(self.labels_N)) > 1 else None

    @property
    def by_class(self) -> pd.DataFrame:
        """A row a class: precision, recall and F1, missing where there is nothing to divide by; how many texts are of
        it (support), and of how many that is said."""
        counts = self.counts
        return pd.DataFrame(
            {
                "class": pd.Series(self.classes, dtype="str"),
                "precision": counts.precisions,
                "recall": counts.recalls,
                "f1": counts.f1s,
                "support": counts.wanted_C,
                "predicted": counts.predicted_C,
            }
        )

    @property
    def pairs(self) -> pd.DataFrame:
        """A row for each class and another that it is taken for, the most frequent first: how many texts, and which
        share that is of the class's."""
        wrong = self.labels_N != self.predicted_N
        keys, texts = np.unique(np.stack([self.labels_N[wrong], self.predicted_N[wrong]]), axis=1, return_counts=True)
        order = np.argsort(-texts, kind="stable")
        labels, predicted = keys[:, order]
        names = np.array(self.classes, dtype=object)
        return pd.DataFrame(
            {
                "label": pd.Series(names[labels], dtype="str"),
                "predicted": pd.Series(names[predicted], dtype="str"),
                "texts": texts[order],
                "share": texts[order] / self.counts.wanted_C[labels],
            }
        )

    @property
    def matrix(self) -> np.ndarray:
        """(C, C): texts by their class (rows) and the one that is said (columns)."""
        size = len(self.classes)
        return np.bincount(self.labels_N * size + self.predicted_N, minlength=size**2).reshape(size, size)


def read(predictions: Mapping[str, pd.DataFrame | None]) -> dict[str, Confusion]:
    """Of each model whose predictions are of one class a text."""
    found = {name: Confusion.of(each) for name, each in predictions.items()}
    return {name: each for name, each in found.items() if each is not None}


# --- As tables


def class_tables(confusions: Mapping[str, Confusion], *, long: bool = False) -> list[Table]:
    """Each model's precision, recall and F1 of each class; of many classes for readers those that it does worst.

    long: one table of all classes of all models. confusions: by what the models are called.
    """
    frames = {name: each.by_class for name, each in confusions.items()}
    columns = ["class", "precision", "recall", "f1", "support", "predicted"]
    if long:
        frame = pd.concat([each.assign(model=name) for name, each in frames.items()] or [pd.DataFrame()])
        frame = frame.reindex(columns=["model", *columns]).reset_index(drop=True)
        return [Table(frame, groups=[list(frame.columns)], key=["model", "class"], title="Classes")]
    return [_of_classes(name, frames[name], columns, one_class(each)) for name, each in confusions.items()]


def _of_classes(name: str, frame: pd.DataFrame, columns: list[str], warning: str) -> Table:
    shown, title = frame, f"Each class on test, by {name}"
    if len(frame) > MOST_CLASSES:
        shown = frame.sort_values("f1", kind="stable", na_position="last").head(MOST_CLASSES).reset_index(drop=True)
        title = f"The {MOST_CLASSES} of {len(frame):,} classes with the lowest F1 on test, by {name}"
    notes = ["support: test texts of the class; predicted: those that are said to be."]
    notes += [f"{name} tells nothing apart: it {warning}."] if warning else []
    return Table(shown, groups=[columns], key="class", title=title, notes=notes)


def pair_table(confusions: Mapping[str, Confusion]) -> Table:
    """The pairs of classes that the models confuse most often."""
    frames = [each.pairs.head(NUM_PAIRS).assign(model=name) for name, each in confusions.items()]
    columns = ["model", "label", "predicted", "texts", "share"]
    frame = pd.concat(frames or [pd.DataFrame()]).reindex(columns=columns).reset_index(drop=True)
    return Table(
        frame,
        groups=[columns],
        key=["model", "label", "predicted"],
        title="The classes that are most often confused on test",
        notes=["share: of the class's texts."],
    )


def one_class(confusion: Confusion) -> str:
    """What there is to say of a model that says the same of every text; else ''."""
    if confusion.only is None:
        return ""
    share = confusion.counts.wanted_C[confusion.classes.index(confusion.only)] / len(confusion.labels_N)
    return f"says {confusion.only[:40]!r} of every test text, as {share:.1%} of them are"
