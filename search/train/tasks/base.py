"""Tasks: the loss, the metrics and the form of the predictions.

The training loop, the record and served models use tasks only through this interface. The task of a trial follows
from the kind of its architecture (`Architecture.task`) and the arrays of the corpus (see `tasks.task_of`). These files
become part of exported models, so they import nothing else from `search`.

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

MOST_KEPT = 50  # classes up to which all probabilities of a text are recorded
NUM_TOP = 5  # most probable classes recorded if there are more

LEAST = 1e-7  # lower bound of probabilities in logarithms

Targets = tuple[Tensor, ...]  # the targets of some examples, in the form of the task
Columns = dict[str, list[str] | list[float]]  # by name, one entry per example


@dataclass(frozen=True, eq=False)
class Observation:
    """Predictions and targets of some examples, prepared once for all metrics of an evaluation.

    A task may predict several labels for an example, such as the digit of each quadrant of an image: labels_N and
    predicted_N then contain all of them. A set of classes, which is right only as a whole, is a row of ones and zeros:
    both are (N, C).
    """

    loss: float
    labels_N: Tensor  # from 0 to num_classes - 1
    predicted_N: Tensor  # likewise
    num_classes: int
    outputs_N: Tensor  # in the form of the task: probabilities (N, C), ink (N, Y, X)
    targets_N: Tensor  # their targets: labels; ink

    @cached_property
    def counts(self) -> Counts:
        return Counts.of(self.labels_N, self.predicted_N, self.num_classes)

    @cached_property
    def ranked(self) -> Ranked:
        return rank(self.labels_N.cpu().numpy(), self.outputs_N.cpu().numpy())


class Task(ABC):
    """What a model is trained for. `logits_N` are its raw results for N examples, `outputs_N` the results in a readable
    unit, `targets` the true values.

    name: of the task.
    arrays: what a corpus must have for each example besides its label (`data.encoded.Split.arrays`).
    requirements: packages that an exported model needs besides those of every model.
    usual_outputs: `num_outputs` without a corpus.
    scored: what a logit refers to.
    has_classes: whether the outputs are probabilities of the corpus's classes.
    exclusive: whether a text has exactly one class.
    has_pictures: whether `picture` returns any.
    separator: between the names of the classes of a text, if it can have several.
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
        """The `Architecture.task` of the architectures that learn this task."""
        return self.name

    def joined_by(self, separator: str | None) -> "Task":
        """The task with this `separator`, if it uses one."""
        return self

    @abstractmethod
    def num_outputs(self, corpus: EncodedCorpus) -> int:
        """The number of outputs of a model (see `models.build`)."""

    @abstractmethod
    def targets(self, split: Split) -> tuple[np.ndarray, ...]:
        """The targets, as arrays of length N."""

    def tensors(self, split: Split) -> Targets:
        """The targets as tensors, copied because arrays from the object store are read-only."""
        return tuple(torch.from_numpy(each_N.copy()) for each_N in self.targets(split))

    @abstractmethod
    def loss(
        self, logits_N: Tensor, targets: Targets, smoothing: float = 0.0, weights_C: Tensor | None = None
    ) -> Tensor:
        """The minimised loss, a scalar. smoothing: of labels, the share that is spread evenly over all classes.
        weights_C: weight of each class, in a task that has classes."""

    @abstractmethod
    def accuracy(self, logits_N: Tensor, targets: Targets) -> float:
        """The accuracy, for a point of the training curve."""

    @abstractmethod
    def outputs(self, logits_N: Tensor) -> Tensor:
        """The results in a readable unit."""

    def logits(self, outputs_N: Tensor) -> Tensor:
        """Logits that give these outputs, if the task `has_classes`."""
        raise NotImplementedError

    def tempered(self, outputs_N: Tensor, temperature: float) -> Tensor:
        """The outputs with their logits divided by a temperature."""
        return outputs_N if temperature == 1 else self.outputs(self.logits(outputs_N) / temperature)

    @abstractmethod
    def observe(self, logits_N: Tensor, targets: Targets, loss: float) -> Observation:
        """The input of all metrics of the task. The loss is finite."""

    @abstractmethod
    def labels(self, split: Split, classes: Sequence[str]) -> list[str]:
        """The targets, in words."""

    @abstractmethod
    def says(self, outputs_N: Tensor, classes: Sequence[str]) -> Columns:
        """The predictions in words as `predicted`, and other columns worth recording. classes: of the corpus."""

    def parts(self, words: str) -> frozenset[str]:
        """The classes named by a target or prediction in words."""
        return frozenset([words])

    def answer(self, outputs_N: Tensor, classes: Sequence[str]) -> Columns:
        """The answer of an exported model: the columns of `says`, and those too large to record."""
        return self.says(outputs_N, classes)

    def predictions(self, outputs_N: Tensor, corpus: EncodedCorpus) -> Iterator[list[str]]:
        """The outputs for the test texts as rows (see `schema.PREDICTIONS`), the names of their columns first."""
        labels = self.labels(corpus.test, corpus.classes)
        columns: Columns = {"label": labels, **self.says(outputs_N, corpus.classes)}
        if self.has_classes and len(corpus.classes) > MOST_KEPT:
            columns = {name: columns[name] for name in ("label", "predicted")} | top(outputs_N, corpus.classes)
        yield list(columns)
        for row in zip(*columns.values(), strict=True):
            yield [f"{cell:.6f}" if isinstance(cell, float) else cell for cell in row]

    def picture(self, logits_N: Tensor, targets: Targets) -> bytes | None:
        """Some outputs beside their targets as PNG, for tasks with pictures."""
        return None


def top(outputs_NC: Tensor, classes: Sequence[str], num: int = NUM_TOP) -> Columns:
    """The most probable classes of each text, and their probabilities: `top 1`, `probability 1`, `top 2`, ..."""
    shares_NK, places_NK = outputs_NC.topk(min(num, len(classes)), dim=1)
    columns: Columns = {}
    for place in range(places_NK.shape[1]):
        columns[f"top {place + 1}"] = [classes[label] for label in places_NK[:, place].tolist()]
        columns[f"probability {place + 1}"] = shares_NK[:, place].tolist()
    return columns
