"""Receptive fields of stacks of convolutions and poolings.

For one dimension; squares, in two, are the same in both. By formula (Dumoulin and Visin 2016; Araujo, Norris and Sim
2019), and measured: where the Jacobian is not zero.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """What one output of a convolution or pooling reads: `kernel` inputs, `dilation` apart. The first output's window
    begins `padding` before the first input, each next one's `stride` further on. In positions, from 1; padding from 0.
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
    """Where the gradient of a function to one number is not zero, for any of these inputs of one shape: a mask of it.

    Several inputs, because a maximum passes the gradient on to one position at a time, and a relu may be off.
    """
    found = [torch.autograd.grad(function(x.requires_grad_()), x)[0] != 0 for x in inputs]
    return torch.stack(found).any(0)
