"""Which classes a model misses and adds, of texts each of which is of any number of classes.

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
    """What a model said of texts each of which is of any number of classes.

    labels, predicted: these classes in words. missed_NC, added_NC: whether a text's class is not said, or one is said
    that it is not of. sure_NC: how sure it was of these mistakes, from 0 to 1, 0 where there is none; of a class whose
    probability is not kept at least. confidence_N: how sure of the surest of a text.
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
        """From what `runs.read_predictions` reads; None where that is nothing, or names no class."""
        if predictions is None or predictions.empty:
            return None
        labels, predicted = predictions["label"], predictions["predicted"]
        sets = [[split_label(words, separator) for words in each] for each in (labels, predicted)]
        columns = [str(name) for name in predictions if str(name).startswith(PROBABILITY)]
        tops = [str(name) for name in predictions if re.fullmatch(r"top \d+", str(name))]
        classes = tuple(name.removeprefix(PROBABILITY) for name in columns)
        if tops:
            named = frozenset().union(*sets[0], *sets[1], *(predictions[name] for name in tops))
            classes = tuple(sorted(named, key=natural_order))
        places = {name: place for place, name in enumerate(classes)}
        if not classes or not all(each <= places.keys() for of_each in sets for each in of_each):
            return None
        chosen = np.zeros((2, len(labels), len(classes)), dtype=bool)
        for chosen_NC, of_each in zip(chosen, sets, strict=True):
            for row, names in enumerate(of_each):
                chosen_NC[row, [places[name] for name in names]] = True
        if tops:
            kept = predictions[[f"probability {name.removeprefix('top ')}" for name in tops]].to_numpy(dtype=np.float64)
            # that of another class is not above the lowest that is kept
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
        each = (self.labels_NC, self.predicted_NC, self.labels_NC & self.predicted_NC)
        return Counts(*(part.sum(0) for part in each))

    @property
    def by_class(self) -> pd.DataFrame:
        """See `of_classes`; and of how many texts the class is missed (false negatives), and of how many it
        is added to what they are (false positives)."""
        frame = of_classes(self.classes, self.counts)
        return frame.assign(missed=self.missed_NC.sum(0), added=self.added_NC.sum(0))

    @property
    def mistakes(self) -> pd.DataFrame:
        """A row for each class that is missed, and each that is added, the most frequent first: of how many texts, and
        which share that is of the class's, or of those that are said to be."""
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
        """A row for each mistake: the text's place as `row`, the class, which mistake, and how sure it was of it."""
        names = np.array(self.classes, dtype=object)
        frames = []
        for kind, wrong_NC in (("missed", self.missed_NC), ("added", self.added_NC)):
            rows, places = np.nonzero(wrong_NC)
            own = {"row": rows, "class": pd.Series(names[places], dtype="str"), "mistake": kind}
            frames.append(pd.DataFrame({**own, "confidence": self.sure_NC[rows, places]}))
        return pd.concat(frames, ignore_index=True)

    @property
    def _swapped(self) -> tuple[np.ndarray, Confusion]:
        """The texts of which one class is missed and one is added, as places; and what was said of them."""
        rows = np.flatnonzero((self.missed_NC.sum(1) == 1) & (self.added_NC.sum(1) == 1))
        missed_N, added_N = (each[rows].argmax(1) for each in (self.missed_NC, self.added_NC))
        return rows, Confusion(self.classes, missed_N, added_N, self.confidence_N[rows])

    @property
    def swaps(self) -> pd.DataFrame:
        """As those of one class a text: all of the text's other classes are said, and no other."""
        rows, swapped = self._swapped
        return swapped.swaps.assign(row=rows)

    @property
    def pairs(self) -> pd.DataFrame:
        """As those of one class a text, where exactly that happened: all of the text's other classes are said."""
        _, swapped = self._swapped
        frame = swapped.pairs
        support = dict(zip(self.classes, self.counts.wanted_C, strict=True))
        return frame.assign(share=frame["texts"] / frame["label"].map(support).astype(float))  # of no pair, too
