"""The work of a trial between its reports, as requests: one batch for one model at a time.

A trial is a generator. It yields a `Step` whenever its model has to compute something, and receives the `Answer`; other
yielded objects, such as results, are for the caller. `alone` executes steps one by one, a pack (`search.train.pack`)
those of several trials at once.

Shapes: B batch, T words.
"""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from models import Architecture
from models.native import masks
from models.parts.layers import masked
from search.train.examples import Examples
from search.train.tasks import Targets, Task

R = TypeVar("R")
S = TypeVar("S")
V = TypeVar("V")


class Loss(NamedTuple):
    """The loss to minimise. weights_C: class weights, or None."""

    task: Task
    label_smoothing: float
    weights_C: Tensor | None

    def __call__(self, logits_B: Tensor, targets_B: Targets) -> Tensor:
        return self.task.loss(logits_B, targets_B, self.label_smoothing, self.weights_C)


class Training(NamedTuple):
    """word_dropout: share of the words that are read as padding. seed: of all random masks; None: they are drawn from
    torch's generator."""

    loss: Loss
    targets_B: Targets
    word_dropout: float
    seed: int | None


@dataclass(frozen=True, eq=False)
class Step:
    """A request for the logits of a batch and, in training, for the loss and its gradients.

    texts_B: which of the examples, on the processor. training: None for an evaluation.
    """

    model: Architecture
    examples: Examples
    texts_B: Tensor | slice
    training: Training | None = None

    @property
    def num_texts(self) -> int:
        """The number of texts in the batch, B."""
        chosen = self.texts_B
        return len(range(len(self.examples))[chosen]) if isinstance(chosen, slice) else len(chosen)

    def execute(self) -> "Answer":
        """Execute this step alone; in training, the parameters have their gradients afterwards."""
        if self.training is None:
            with torch.inference_mode():
                return Answer(self.model(*self.examples.batch(self.texts_B)), None)
        loss, targets_B, word_dropout, seed = self.training
        tokens_BT, lengths_B = self.examples.batch(self.texts_B)
        if word_dropout and seed is None:
            tokens_BT = tokens_BT * (torch.rand(tokens_BT.shape, device=tokens_BT.device) >= word_dropout)
        elif word_dropout and seed is not None:
            settings_2 = torch.tensor(masks.settings(seed, 0, word_dropout)).to(tokens_BT.device, non_blocking=True)
            tokens_BT = tokens_BT * masks.kept(settings_2, tokens_BT.shape)
        with contextlib.nullcontext() if seed is None else masked(self.model, seed):
            logits_B = self.model(tokens_BT, lengths_B)
        minimised = loss(logits_B, targets_B)
        minimised.backward()
        return Answer(logits_B, minimised)


class Answer(NamedTuple):
    """loss: None after an evaluation."""

    logits_B: Tensor
    loss: Tensor | None


#: Yields steps, which are answered, and results of type R; returns a V.
Steps = Generator[Step | R, Answer, V]


def alone(steps: Steps[R, V]) -> Generator[R, None, V]:
    """The results; each step is executed by itself."""
    with contextlib.closing(steps):
        try:
            item = next(steps)
            while True:
                if isinstance(item, Step):
                    item = steps.send(item.execute())
                else:
                    yield item
                    item = next(steps)
        except StopIteration as end:
            returned: V = end.value
            return returned


def mapped(steps: Steps[R, V], function: Callable[[R], S]) -> Steps[S, V]:
    """The same steps, and the results mapped by the function."""
    with contextlib.closing(steps):
        try:
            item = next(steps)
            while True:
                item = steps.send((yield item if isinstance(item, Step) else function(item)))
        except StopIteration as end:
            returned: V = end.value
            return returned


def finish(steps: Steps[Any, V]) -> V:
    """Execute all steps, ignore the results, and return the value that the generator returns."""
    results = alone(steps)
    while True:
        try:
            next(results)
        except StopIteration as end:
            returned: V = end.value
            return returned
