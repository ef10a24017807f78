"""Masks of the words of texts and of the padding after them.

Shapes: B batch, T words.
"""

import torch
from torch import Tensor


def real_words(lengths_B: Tensor, num_words: int) -> Tensor:
    """A mask (B, T), True at the words of each text and False at its padding."""
    return torch.arange(num_words, device=lengths_B.device) < lengths_B.unsqueeze(1)


def padding(lengths_B: Tensor, num_words: int) -> Tensor | None:
    """A mask (T, B), True after the last word of each text; on a processor None where every text has `num_words`, which
    a card cannot be asked without waiting for it."""
    padding_TB = ~real_words(lengths_B, num_words).t()
    return padding_TB if not padding_TB.is_cpu or padding_TB.any() else None
