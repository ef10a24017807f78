"""The texts of a trial on the device that trains.

Shapes: N examples, T words, B batch, W words of all texts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from search.train.tasks import Targets, Task

EVALUATION_BATCH = 128  # a larger one takes longer, and hundreds of megabytes for the states of a recurrent network


@dataclass(frozen=True, eq=False)
class Examples:
    """A split in the layout of `data.encoded.Split`, with the targets of the task."""

    tokens_W: Tensor
    starts_N: Tensor
    lengths_N: Tensor
    targets: Targets

    def __len__(self) -> int:
        return len(self.lengths_N)

    @cached_property
    def place(self) -> tuple[int, ...]:
        """Equal for splits that share their texts in memory."""
        return tuple(each.data_ptr() for each in (self.tokens_W, self.starts_N, self.lengths_N))

    @cached_property
    def known_lengths(self) -> np.ndarray:
        """The lengths in host memory: reading them from a GPU would wait for all queued work."""
        return self.lengths_N.numpy(force=True)

    def batch(self, texts_B: Tensor | slice) -> tuple[Tensor, Tensor]:
        """tokens_BT, padded with 0 to the longest of these texts, and lengths_B. texts_B: on the processor."""
        longest = int(self.known_lengths[texts_B].max())
        if isinstance(texts_B, Tensor):
            texts_B = texts_B.to(self.lengths_N.device, non_blocking=True)
        lengths_B = self.lengths_N[texts_B]
        # A sliding window over the words is a view, and selecting rows of that view is the fastest way to gather.
        words_WT = self.tokens_W.as_strided((len(self.tokens_W) - longest + 1, longest), (1, 1))
        tokens_BT = words_WT.index_select(0, self.starts_N[texts_B])
        padding_BT = torch.arange(longest, device=lengths_B.device) >= lengths_B.unsqueeze(1)
        return tokens_BT.masked_fill_(padding_BT, 0), lengths_B

    def batches(self, size: int) -> Iterator[tuple[Tensor, ...]]:
        """All texts in order: tokens_BT, lengths_B and the targets."""
        for texts_B in self.slices(size):
            yield *self.batch(texts_B), *(each_N[texts_B] for each_N in self.targets)

    def slices(self, size: int = EVALUATION_BATCH) -> Iterator[slice]:
        return (slice(start, start + size) for start in range(0, len(self), size))

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return self.batches(EVALUATION_BATCH)


class Splits(NamedTuple):
    """The splits of a trial, and the task that defines the form of their targets."""

    train: Examples
    val: Examples
    test: Examples
    task: Task
