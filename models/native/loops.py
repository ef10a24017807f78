"""Helpers of the time loops, for one network and for several.

Shapes: T words, B batch, H hidden size; other dimensions may come first.
"""

import os
from functools import cache
from types import ModuleType

import torch
from torch import Tensor


def on_gpu(states: Tensor, num_hidden: int) -> ModuleType | None:
    """The Triton kernels, if they can run the loops of such states (..., num_hidden), else None."""
    if states.dtype != torch.float32 or not (states.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"):
        return None
    loops = _triton_loops()
    return loops if loops is not None and num_hidden <= loops.MOST_UNITS else None


@cache
def _triton_loops() -> ModuleType | None:
    if os.environ.get("BAKEOFF_KERNELS") == "0":
        return None
    try:
        from models.native import triton_loops
    except ImportError:  # Triton comes with torch for GPUs
        return None
    return triton_loops


def clear_(x_TBH: Tensor, padding_TB: Tensor | None) -> None:
    """Zero the padding, in place. A product with a mask would not do: there states may be infinite, and the product
    NaN."""
    if padding_TB is not None:
        x_TBH.masked_fill_(padding_TB.unsqueeze(-1), 0)


def activate_(x: Tensor, activation: str) -> Tensor:
    """Apply the activation in place."""
    if activation == "tanh" and not x.is_cuda:  # torch's tanh on CPUs takes five times as long as its sigmoid
        return x.mul_(2).sigmoid_().mul_(2).sub_(1)
    match activation:
        case "none":
            return x
        case "relu":
            return x.relu_()
        case "tanh":
            return x.tanh_()
        case "sigmoid":
            return x.sigmoid_()
    raise ValueError(activation)


def slope(y: Tensor, activation: str) -> Tensor:
    """The derivative of the activation where its output is y."""
    match activation:
        case "none":
            return torch.ones_like(y)
        case "relu":
            return (y > 0).to(y.dtype)
        case "tanh":
            return 1 - y * y
        case "sigmoid":
            return y - y * y
    raise ValueError(activation)
