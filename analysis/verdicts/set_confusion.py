"""Which classes a model misses and adds, for texts with any number of classes.

Shapes: N test texts, C classes.
"""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.verdicts.confusion import PROBABILITY, Confusion, of_classes
from data.base.label_sets import split_label
from data.base.ordering import natural_order
from search.train.tasks.observed import Counts


@dataclass(frozen=True, eq=False)
class SetConfusion:
    """A model's predictions for texts with any number of classes.

    labels, predicted: the classes of every text as one string. missed_NC: whether a class of the text is not predicted
    (false negative). added_NC: whether a class is predicted that the text does not have (false positive). sure_NC: the
    confidence in these mistakes, from 0 to 1, 0 where there is none; a lower bound if the class's probability was not
    kept. confidence_N: the largest confidence in a mistake of the text.
    """

    classes: tuple[str, ...]
    labels: pd.Series
    predicted: pd.Series
    labels_NC: np.ndarray
    predicted_NC: np.ndarray
    missed_NC: np.ndarray
    added_NC: np.ndarray
    sure_NC: np.ndarray
    confidence_N: np.ndarray

    @classmethod
    def of(cls, predictions: pd.DataFrame | None, separator: str) -> "SetConfusion | None":
        """From `runs.read_predictions`; None without predictions, or without classes in them."""
        if predictions is None or predictions.empty:
            return None
        labels, predicted = predictions["label"], predictions["predicted"]
        sets = [[split_label(words, separator) for words in column] for column in (labels, predicted)]
        columns = [str(name) for name in predictions if str(name).startswith(PROBABILITY)]
        tops = [str(name) for name in predictions if re.fullmatch(r"top \d+", str(name))]
        classes = tuple(name.removeprefix(PROBABILITY) for name in columns)
        if tops:
            named = frozenset().union(*sets[0], *sets[1], *(predictions[name] for name in tops))
            classes = tuple(sorted(named, key=natural_order))
        places = {name: place for place, name in enumerate(classes)}
        if not classes or not all(names <= places.keys() for by_text in sets for names in by_text):
            return None
        chosen = np.zeros((2, len(labels), len(classes)), dtype=bool)
        for chosen_NC, by_text in zip(chosen, sets, strict=True):
            for row, names in enumerate(by_text):
                chosen_NC[row, [places[name] for name in names]] = True
        if tops:
            kept = predictions[[f"probability {name.removeprefix('top ')}" for name in tops]].to_numpy(dtype=np.float64)
            # The probability of any other class is at most the lowest one kept.
            probabilities_NC = np.repeat(kept.min(1, keepdims=True), len(classes), axis=1)
            for name, own_N in zip(tops, kept.T, strict=True):
                probabilities_NC[np.arange(len(labels)), predictions[name].map(places).to_numpy(np.int64)] = own_N
        else:
            probabilities_NC = predictions[columns].to_numpy(dtype=np.float64)
        labels_NC, predicted_NC = chosen
        missed_NC, added_NC = labels_NC & ~predicted_NC, predicted_NC & ~labels_NC
        sure_NC = np.where(missed_NC, 1 - probabilities_NC, np.where(added_NC, probabilities_NC, 0.0))
        return cls(classes, labels, predicted, labels_NC, predicted_NC, missed_NC, added_NC, sure_NC, sure_NC.max(1))

    @cached_property
    def counts(self) -> Counts:
        parts = (self.labels_NC, self.predicted_NC, self.labels_NC & self.predicted_NC)
        return Counts(*(part.sum(0) for part in parts))

    @property
    def by_class(self) -> pd.DataFrame:
        """`of_classes` with the number of texts that miss the class (false negatives), and to which it is added (false
        positives)."""
        frame = of_classes(self.classes, self.counts)
        return frame.assign(missed=self.missed_NC.sum(0), added=self.added_NC.sum(0))

    @property
    def mistakes(self) -> pd.DataFrame:
        """One row per missed class and per added class, the most frequent first: the number of texts, and their share
        of the class's texts (missed) or of the texts predicted as the class (added)."""
        kinds = [("missed", self.missed_NC, self.counts.wanted_C), ("added", self.added_NC, self.counts.predicted_C)]
        frames = [
            pd.DataFrame(
                {
                    "class": pd.Series(self.classes, dtype="str"),
                    "mistake": kind,
                    "texts": wrong_NC.sum(0),
                    "share": wrong_NC.sum(0) / np.maximum(1, of_C),
                }
            )
            for kind, wrong_NC, of_C in kinds
        ]
        frame = pd.concat(frames)
        return frame[frame["texts"] > 0].sort_values("texts", ascending=False, kind="stable", ignore_index=True)

    @property
    def mistaken(self) -> pd.DataFrame:
        """One row per mistake: the text's place as `row`, the class, the kind of mistake, and the confidence in it."""
        names = np.array(self.classes, dtype=object)
        frames = []
        for kind, wrong_NC in (("missed", self.missed_NC), ("added", self.added_NC)):
            rows, places = np.nonzero(wrong_NC)
            values = {"row": rows, "class": pd.Series(names[places], dtype="str"), "mistake": kind}
            frames.append(pd.DataFrame({**values, "confidence": self.sure_NC[rows, places]}))
        return pd.concat(frames, ignore_index=True)

    @property
    def _swapped(self) -> tuple[np.ndarray, Confusion]:
        """The places of texts with exactly one class missed and one added, and the confusion of these two."""
        rows = np.flatnonzero((self.missed_NC.sum(1) == 1) & (self.added_NC.sum(1) == 1))
        missed_N, added_N = (mistake_NC[rows].argmax(1) for mistake_NC in (self.missed_NC, self.added_NC))
        return rows, Confusion(self.classes, missed_N, added_N, self.confidence_N[rows])

    @property
    def swaps(self) -> pd.DataFrame:
        """As in `Confusion`, for texts whose only mistakes are one class missed and one added."""
        rows, swapped = self._swapped
        return swapped.swaps.assign(row=rows)

    @property
    def pairs(self) -> pd.DataFrame:
        """As in `Confusion`, for texts whose only mistakes are one class missed and one added."""
        _, swapped = self._swapped
        frame = swapped.pairs
        support = dict(zip(self.classes, self.counts.wanted_C, strict=True))
        return frame.assign(share=frame["texts"] / frame["label"].map(support).astype(float))  # also if it is empty
