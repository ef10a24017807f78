"""What a model is trained for: the loss, what is measured besides, and what a trained one answers.

The training loop, the record and what serves models know nothing else of a task. Which one it is depends on the kind
of the architecture (`Architecture.task`) and on what the corpus has of each text (see `tasks.task_of`). These files go
into exported models, so they import nothing else of `search`.

Shapes: N examples of a split or a batch, C classes, Y rows, X columns.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from data.encoded import EncodedCorpus, Split
from search.train.tasks.observed import Counts, Ranked, rank

MOST_KEPT = 50  # classes of which each text's probabilities are all recorded
NUM_TOP = 5  # of more classes, the most probable ones

LEAST = 1e-7  # a probability: float32 tells less from nothing only near zero

Targets = tuple[Tensor, ...]  # what is wanted of each example, as the task has it
Columns = dict[str, list[str] | list[float]]  # by name, an entry for each example


@dataclass(frozen=True, eq=False)
class Observation:
    """What a model makes of some examples beside what is wanted, worked out once for all metrics of an evaluation.

    A task may say several things of an example, such as the digit of each quadrant of an image: labels_N and
    predicted_N have all of them. What is right only as a whole, such as a set of classes, is a row: both are (N, C),
    ones and zeros.
    """

    loss: float
    labels_N: Tensor  # what is wanted, from 0 to num_classes - 1
    predicted_N: Tensor  # and what is said, likewise
    num_classes: int
    outputs_N: Tensor  # as the task has them: probabilities (N, C), ink (N, Y, X)
    targets_N: Tensor  # what is wanted of these: labels; ink

    @cached_property
    def counts(self) -> Counts:
        return Counts.of(self.labels_N, self.predicted_N, self.num_classes)

    @cached_property
    def ranked(self) -> Ranked:
        return rank(self.labels_N.cpu().numpy(), self.outputs_N.cpu().numpy())


class Task(ABC):
    """`logits_N` are what a model makes of N examples, `targets` what is wanted of them, `outputs_N` what it says in a
    unit that can be read.

    name: of the task.
    arrays: what a corpus must have of each example besides its label (`data.encoded.Split.arrays`).
    requirements: packages that an exported model needs besides those of every model.
    usual_outputs: `num_outputs` where there is no corpus.
    scored: what one of the logits is about.
    has_classes: whether the outputs are probabilities of the corpus's classes.
    exclusive: whether a text is of one class only.
    has_pictures: whether `picture` makes any.
    separator: what stands between the classes of a text, where it can have several.
    """

    name: ClassVar[str]
    arrays: ClassVar[tuple[str, ...]] = ()
    requirements: ClassVar[tuple[str, ...]] = ()
    usual_outputs: ClassVar[int]
    scored: ClassVar[str] = "text"
    has_classes: ClassVar[bool] = False
    exclusive: ClassVar[bool] = True
    has_pictures: ClassVar[bool] = False
    separator: str | None = None

    @property
    def kind(self) -> str:
        """Of architecture, as in `Architecture.task`, that learns it."""
        return self.name

    def joined_by(self, separator: str | None) -> "Task":
        """The task with this `separator`, where it has one."""
        return self

    @abstractmethod
    def num_outputs(self, corpus: EncodedCorpus) -> int:
        """What a model is built for (see `models.build`)."""

    @abstractmethod
    def targets(self, split: Split) -> tuple[np.ndarray, ...]:
        """What is wanted, as arrays of N."""

    def tensors(self, split: Split) -> Targets:
        """What is wanted, as tensors of their own: what the object store hands out is read-only."""
        return tuple(torch.from_numpy(each_N.copy()) for each_N in self.targets(split))

    @abstractmethod
    def loss(
        self, logits_N: Tensor, targets: Targets, smoothing: float = 0.0, weights_C: Tensor | None = None
    ) -> Tensor:
        """What is minimised, a scalar. smoothing: the share of what is wanted that is spread over all that could be.
        weights_C: how much an example of each class counts, in a task that has classes."""

    @abstractmethod
    def accuracy(self, logits_N: Tensor, targets: Targets) -> float:
        """For a point of the training curve."""

    @abstractmethod
    def outputs(self, logits_N: Tensor) -> Tensor:
        """What the model says, in a unit that can be read."""

    def logits(self, outputs_N: Tensor) -> Tensor:
        """Logits that have these outputs, where the task `has_classes`."""
        raise NotImplementedError

    def tempered(self, outputs_N: Tensor, temperature: float) -> Tensor:
        """The outputs with their logits divided by a temperature."""
        return outputs_N if temperature == 1 else self.outputs(self.logits(outputs_N) / temperature)

    @abstractmethod
    def observe(self, logits_N: Tensor, targets: Targets, loss: float) -> Observation:
        """What all metrics of the task are computed from. The loss is known to be finite."""

    @abstractmethod
    def labels(self, split: Split, classes: Sequence[str]) -> list[str]:
        """What is wanted, in words."""

    @abstractmethod
    def says(self, outputs_N: Tensor, classes: Sequence[str]) -> Columns:
        """What the model says, in words as `predicted`, and whatever else is worth a record. Classes: the corpus's."""

    def parts(self, words: str) -> frozenset[str]:
        """What is wanted or said, in words, as the classes that it names, if it names any."""
        return frozenset([words])

    def answer(self, outputs_N: Tensor, classes: Sequence[str]) -> Columns:
        """What an exported model answers: all that it says, and what is too large for a record."""
        return self.says(outputs_N, classes)

    def predictions(self, outputs_N: Tensor, corpus: EncodedCorpus) -> Iterator[list[str]]:
        """The outputs for the test texts as rows (see `record.PREDICTIONS`), the names of their columns first."""
        labels = self.labels(corpus.test, corpus.classes)
        columns: Columns = {"label": labels, **self.says(outputs_N, corpus.classes)}
        if self.has_classes and len(corpus.classes) > MOST_KEPT:
            columns = {name: columns[name] for name in ("label", "predicted")} | top(outputs_N, corpus.classes)
        yield list(columns)
        for row in zip(*columns.values(), strict=True):
            yield [f"{cell:.6f}" if isinstance(cell, float) else cell for cell in row]

    def picture(self, logits_N: Tensor, targets: Targets) -> bytes | None:
        """Some of the outputs beside what is wanted, as PNG, where that can be seen."""
        return None


def top(outputs_NC: Tensor, classes: Sequence[str], num: int = NUM_TOP) -> Columns:
    """The most probable classes of each text, and their probabilities: `top 1`, `probability 1`, `top 2`, ..."""
    shares_NK, places_NK = outputs_NC.topk(min(num, len(classes)), dim=1)
    columns: Columns = {}
    for place in range(places_NK.shape[1]):
        columns[f"top {place + 1}"] = [classes[label] for label in places_NK[:, place].tolist()]
        columns[f"probability {place + 1}"] = shares_NK[:, place].tolist()
    return columns
