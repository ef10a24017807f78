"""Receptive fields of stacks of convolutions and poolings.

In one dimension; square windows are the same in both of two. Computed by formula (Dumoulin and Visin 2016; Araujo,
Norris and Sim 2019), and measured: where the Jacobian is not zero.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """The inputs of one output of a convolution or pooling: `kernel` of them, `dilation` apart. The window of the first
    output begins `padding` before the first input, that of every next output `stride` later. In positions, from 1;
    padding from 0.
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        """The number of positions from the first to the last input, both included."""
        return self.dilation * (self.kernel - 1) + 1


def receptive_field(windows: Iterable[Window]) -> int:
    """The receptive field of one output, first and last input included: 1 + the sum of
    (extent - 1) times the product of all strides before."""
    field, jump = 1, 1
    for window in windows:
        field += (window.extent - 1) * jump
        jump *= window.stride
    return field


def reached(function: Callable[[Tensor], Tensor], inputs: Iterable[Tensor]) -> Tensor:
    """A mask of where the gradient of a scalar function is not zero for any of these inputs, which have the same shape.

    Several inputs, because a maximum passes the gradient on to one position at a time, and a relu may be off.
    """
    masks = [torch.autograd.grad(function(x.requires_grad_()), x)[0] != 0 for x in inputs]
    return torch.stack(masks).any(0)
