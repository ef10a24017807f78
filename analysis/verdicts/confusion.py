"""Which classes a model confuses: counts of its answers to the test texts, by class and by pair of classes.

Shapes: N test texts, C classes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from data.base.ordering import natural_order
from search.train.tasks.observed import Counts

PROBABILITY = "probability of "  # how such columns of predictions begin, each with a class
TOP_CLASS, TOP_PROBABILITY = "top 1", "probability 1"  # of many classes, what is kept of the most probable


def of_classes(classes: tuple[str, ...], counts: Counts) -> pd.DataFrame:
    """A row a class: precision, recall and F1, missing where there is nothing to divide by; how many texts are of it
    (support), and of how many that is said."""
    return pd.DataFrame(
        {
            "class": pd.Series(classes, dtype="str"),
            "precision": counts.precisions,
            "recall": counts.recalls,
            "f1": counts.f1s,
            "support": counts.wanted_C,
            "predicted": counts.predicted_C,
        }
    )


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
    def labels(self) -> pd.Series:
        return self._names(self.labels_N)

    @property
    def predicted(self) -> pd.Series:
        return self._names(self.predicted_N)

    def _names(self, places: np.ndarray) -> pd.Series:
        return pd.Series(np.array(self.classes, dtype=object)[places], dtype="str")

    @property
    def swaps(self) -> pd.DataFrame:
        """A row for each text of which one class is said in place of another: the text's place as `row`, from 0."""
        wrong_N = np.flatnonzero(self.labels_N != self.predicted_N)
        names = {"label": self.labels_N, "predicted": self.predicted_N}
        return pd.DataFrame({"row": wrong_N, **{name: self._names(each[wrong_N]) for name, each in names.items()}})

    @property
    def by_class(self) -> pd.DataFrame:
        """See `of_classes`."""
        return of_classes(self.classes, self.counts)

    @property
    def pairs(self) -> pd.DataFrame:
        """A row for each class and another that it is taken for, the most frequent first: how many texts, and which
        share that is of the class's."""
        wrong = self.labels_N != self.predicted_N
        keys, texts = np.unique(np.stack([self.labels_N[wrong], self.predicted_N[wrong]]), axis=1, return_counts=True)
        order = np.argsort(-texts, kind="stable")
        labels, predicted = keys[:, order]
        return pd.DataFrame(
            {
                "label": self._names(labels),
                "predicted": self._names(predicted),
                "texts": texts[order],
                "share": texts[order] / self.counts.wanted_C[labels],
            }
        )

    @property
    def matrix(self) -> np.ndarray:
        """(C, C): texts by their class (rows) and the one that is said (columns)."""
        size = len(self.classes)
        return np.bincount(self.labels_N * size + self.predicted_N, minlength=size**2).reshape(size, size)
