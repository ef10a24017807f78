"""Which classes a model confuses: counts of its predictions for the test texts, by class and by pair of classes.

Shapes: N test texts, C classes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from data.base.ordering import natural_order
from search.train.tasks.observed import Counts

PROBABILITY = "probability of "  # prefix of the columns with a class's probability
TOP_CLASS, TOP_PROBABILITY = "top 1", "probability 1"  # columns of the most probable class, if there are many classes


def of_classes(classes: tuple[str, ...], counts: Counts) -> pd.DataFrame:
    """One row per class: precision, recall and F1 (missing for a division by zero), the number of its texts (support),
    and the number of texts predicted as it."""
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
    """A model's predictions for texts of one class each: true and predicted places in `classes`, and probabilities."""

    classes: tuple[str, ...]
    labels_N: np.ndarray
    predicted_N: np.ndarray
    confidence_N: np.ndarray

    @classmethod
    def of(cls, predictions: pd.DataFrame | None) -> "Confusion | None":
        """From `runs.read_predictions`; None without predictions, or if they are not of single classes."""
        if predictions is None or predictions.empty:
            return None
        if TOP_CLASS in predictions:
            return cls._of_top(predictions)
        columns = [str(name) for name in predictions if str(name).startswith(PROBABILITY)]
        classes = tuple(name.removeprefix(PROBABILITY) for name in columns)
        places = {name: place for place, name in enumerate(classes)}
        found = [predictions[name].map(places) for name in ("label", "predicted")]
        if not columns or any(places_N.isna().any() for places_N in found):
            return None
        labels_N, predicted_N = (each.to_numpy(dtype=np.int64) for each in found)
        probabilities_NC = predictions[columns].to_numpy(dtype=np.float64)
        return cls(classes, labels_N, predicted_N, probabilities_NC[np.arange(len(labels_N)), predicted_N])

    @classmethod
    def _of_top(cls, predictions: pd.DataFrame) -> "Confusion | None":
        """From predictions of many classes, which hold only the most probable ones: of the classes that occur."""
        if not predictions[TOP_CLASS].eq(predictions["predicted"]).all():  # texts have several classes
            return None
        classes = tuple(sorted({*predictions["label"], *predictions["predicted"]}, key=natural_order))
        places = {name: place for place, name in enumerate(classes)}
        labels_N, predicted_N = (predictions[name].map(places).to_numpy(np.int64) for name in ("label", "predicted"))
        return cls(classes, labels_N, predicted_N, predictions[TOP_PROBABILITY].to_numpy(dtype=np.float64))

    @cached_property
    def counts(self) -> Counts:
        right_N = self.labels_N[self.labels_N == self.predicted_N]
        parts = (self.labels_N, self.predicted_N, right_N)
        return Counts(*(np.bincount(part, minlength=len(self.classes)) for part in parts))

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
        """One row per misclassified text: its place as `row`, from 0, with `label` and `predicted`."""
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
        """(C, C): number of texts by true class (rows) and predicted class (columns)."""
        size = len(self.classes)
        return np.bincount(self.labels_N * size + self.predicted_N, minlength=size**2).reshape(size, size)
