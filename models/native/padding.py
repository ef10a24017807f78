"""Masks of the words of texts and of the padding after them.

Shapes: B batch, T words.
"""

import torch
from torch import Tensor

from models.native import stacking


def real_words(lengths_B: Tensor, num_words: int) -> Tensor:
    """A mask (B, T), True at the words of each text and False at its padding."""
    return torch.arange(num_words, device=lengths_B.device) < lengths_B.unsqueeze(1)


def padding(lengths_B: Tensor, num_words: int) -> Tensor | None:
    """A mask (T, B), True after the last word of each text; on a CPU, None if every text has `num_words`. On a GPU that
    check would wait for all queued work, and for stacked networks its result may differ between networks."""
    padding_TB = ~real_words(lengths_B, num_words).t()
    return padding_TB if stacking.active() or not padding_TB.is_cpu or padding_TB.any() else None
