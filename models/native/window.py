"""Attention to the neighbours only, with backward passes written by hand.

The compiled kernels process one word at a time. The torch implementation, where they cannot be used:
The batch is read as one long row of words, cut into blocks of S words; the words that a block's words may attend to are
a window onto the same row, S + 2K words wide, so neighbours are never gathered: every product is a batched product of
views. A mask keeps texts and padding apart. Memory is linear in words times window.

Shapes: B batch, T words, R = B * T words of the row (rounded up to whole blocks), N blocks, S words of a block,
K window on either side, M = S + 2K words that a block may attend to, H hidden, F features of a value, P = H + F.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from models.native import kernels, stacking
from models.native.padding import real_words
from models.native.rounding import in_float32
from models.native.signatures import LANES

MIN_BLOCK = 10


@in_float32
def window_attention(queries_values_BTP: Tensor, keys_BTH: Tensor, lengths_B: Tensor, window: int) -> Tensor:
    """The attention (B, T, F) of each word to itself and to `window` words on either side: the mean of their values,
    weighted by the softmax of the products of its query with their keys. Queries and values are concatenated, as one
    product computes them. Padding is never attended to; results at padding are meaningless, but finite. Differentiable
    once in queries, values and keys."""
    if stacking.active():
        return stacking.for_all(partial(_attention_of_all, window), queries_values_BTP, keys_BTH, lengths_B)
    num_hidden = keys_BTH.shape[2]
    sizes = num_hidden, queries_values_BTP.shape[2] - num_hidden
    if kernels.usable(keys_BTH) and min(sizes) >= LANES:
        tensors = queries_values_BTP, keys_BTH, lengths_B
        attended_BTF: Tensor = _CompiledWindowAttention.apply(*tensors, window)  # type: ignore[no-untyped-call]
        return attended_BTF
    bias_NSM = _mask(lengths_B, keys_BTH.shape[1], window, keys_BTH.dtype)
    queries_RH, values_RF = queries_values_BTP.flatten(0, 1).split(sizes, 1)
    tensors = queries_RH, keys_BTH.flatten(0, 1), values_RF
    attended_RF: Tensor = _WindowAttention.apply(*tensors, bias_NSM)  # type: ignore[no-untyped-call]
    return attended_RF.view(*keys_BTH.shape[:2], sizes[1])


def _attention_of_all(window: int, queries_values: Tensor, keys: Tensor, lengths: Tensor) -> Tensor:
    """For several networks: attention has no weights, so that all texts can be in one batch."""
    in_one_batch = (tensor.flatten(0, 1) for tensor in (queries_values, keys, lengths))
    attended_BTF: Tensor = window_attention(*in_one_batch, window)
    return attended_BTF.view(*keys.shape[:3], -1)


def window_weights(queries_BTH: Tensor, keys_BTH: Tensor, lengths_B: Tensor, window: int) -> Tensor:
    """The weights of `window_attention`, (B, T, 2K + 1): the word itself is in the middle."""
    bias_NSM = _mask(lengths_B, queries_BTH.shape[1], window, queries_BTH.dtype)
    num_blocks, size, _ = bias_NSM.shape
    weights_NSM = _weights(queries_BTH.flatten(0, 1), keys_BTH.flatten(0, 1), bias_NSM)
    first_S1 = torch.arange(size, device=lengths_B.device).unsqueeze(1)
    band = first_S1 + torch.arange(2 * window + 1, device=lengths_B.device)
    weights_RJ = weights_NSM.gather(2, band.expand(num_blocks, -1, -1)).flatten(0, 1)
    return weights_RJ[: queries_BTH.shape[:2].numel()].view(*queries_BTH.shape[:2], 2 * window + 1)


def _mask(lengths_B: Tensor, num_words: int, window: int, dtype: torch.dtype) -> Tensor:
    """(N, S, M): zero where word s of a block may attend to word m, else the lowest finite number: with -inf, padding
    that has nothing to attend to would become NaN."""
    device = lengths_B.device
    size = max(2 * window, MIN_BLOCK)
    text_B1 = torch.arange(len(lengths_B), device=device, dtype=torch.int32).unsqueeze(1)
    text_R = torch.where(real_words(lengths_B, num_words), text_B1, -1).flatten()
    text_R = pad(text_R, (0, -len(text_R) % size), value=-1)
    text_NS = text_R.view(-1, size)
    text_NM = pad(text_R, (window, window), value=-1).unfold(0, size + 2 * window, size)
    offset_SM = torch.arange(size + 2 * window, device=device) - torch.arange(size, device=device).unsqueeze(1)
    near_SM = (offset_SM >= 0) & (offset_SM <= 2 * window)
    allowed_NSM = (text_NS.unsqueeze(2) == text_NM.unsqueeze(1)) & near_SM
    return torch.zeros((), dtype=dtype, device=device).masked_fill(~allowed_NSM, torch.finfo(dtype).min)


def _blocks(x_RH: Tensor, bias_NSM: Tensor) -> Tensor:
    """(N, S, H), a view where R is a whole number of blocks."""
    num_blocks, size, _ = bias_NSM.shape
    return pad(x_RH, (0, 0, 0, num_blocks * size - len(x_RH))).view(num_blocks, size, -1)


def _neighbours(x_RH: Tensor, bias_NSM: Tensor) -> Tensor:
    """(N, M, H), a view of a padded copy."""
    num_blocks, size, reach = bias_NSM.shape
    window = (reach - size) // 2
    padded = pad(x_RH, (0, 0, window, window + num_blocks * size - len(x_RH)))
    return padded.unfold(0, reach, size).transpose(1, 2)


def _add_up(x_NMH: Tensor, size: int, num_rows: int) -> Tensor:
    """The transpose of `_neighbours`: the sums (R, H) over the blocks in which each word is a neighbour."""
    num_blocks, reach, num_hidden = x_NMH.shape
    window = (reach - size) // 2
    sums = x_NMH.new_zeros(num_blocks + 1, size, num_hidden)
    sums[:-1] = x_NMH[:, :size]
    sums[1:, : 2 * window] += x_NMH[:, size:]
    return sums.flatten(0, 1)[window : window + num_rows]


def _weights(queries_RH: Tensor, keys_RH: Tensor, bias_NSM: Tensor) -> Tensor:
    keys_NMH = _neighbours(keys_RH, bias_NSM)
    return torch.baddbmm(bias_NSM, _blocks(queries_RH, bias_NSM), keys_NMH.transpose(1, 2)).softmax(2)


class _WindowAttention(Function):
    @staticmethod
    def forward(ctx: Any, queries_RH: Tensor, keys_RH: Tensor, values_RF: Tensor, bias_NSM: Tensor) -> Tensor:
        weights_NSM = _weights(queries_RH, keys_RH, bias_NSM)
        ctx.save_for_backward(queries_RH, keys_RH, values_RF, weights_NSM)
        return torch.bmm(weights_NSM, _neighbours(values_RF, weights_NSM)).flatten(0, 1)[: len(values_RF)]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_RF: Tensor) -> tuple[Tensor | None, ...]:
        queries_RH, keys_RH, values_RF, weights_NSM = ctx.saved_tensors
        num_rows, size = len(queries_RH), weights_NSM.shape[1]
        grad_NSF = _blocks(grad_RF.contiguous(), weights_NSM)
        grad_values_NMF = torch.bmm(weights_NSM.transpose(1, 2), grad_NSF)
        grad_weights_NSM = torch.bmm(grad_NSF, _neighbours(values_RF, weights_NSM).transpose(1, 2))
        grad_scores_NSM = grad_weights_NSM.mul_(weights_NSM)
        grad_scores_NSM.addcmul_(weights_NSM, grad_scores_NSM.sum(2, keepdim=True), value=-1)
        grad_queries_NSH = torch.bmm(grad_scores_NSM, _neighbours(keys_RH, weights_NSM))
        grad_keys_NMH = torch.bmm(grad_scores_NSM.transpose(1, 2), _blocks(queries_RH, weights_NSM))
        return (
            grad_queries_NSH.flatten(0, 1)[:num_rows],
            _add_up(grad_keys_NMH, size, num_rows),
            _add_up(grad_values_NMF, size, num_rows),
            None,
        )


class _CompiledWindowAttention(Function):
    @staticmethod
    def forward(ctx: Any, queries_values_BTP: Tensor, keys_BTH: Tensor, lengths_B: Tensor, window: int) -> Tensor:
        queries_values_BTP, keys_BTH = queries_values_BTP.contiguous(), keys_BTH.contiguous()
        lengths_B = lengths_B.to(torch.int64).contiguous()
        weights_BTJ, attended_BTF = kernels.window_forward(queries_values_BTP, keys_BTH, lengths_B, window)
        ctx.save_for_backward(queries_values_BTP, keys_BTH, weights_BTJ, lengths_B)
        return attended_BTF

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BTF: Tensor) -> tuple[Tensor | None, ...]:
        return *kernels.window_backward(grad_BTF.contiguous(), *ctx.saved_tensors), None, None
