"""Functions on the tensors of several networks at once, from within `torch.vmap`.

`torch.vmap` runs the code of one network on the stacked tensors of many. Where that code reaches one of our loops or
kernels, `for_all` leaves the transformation and calls a function for tensors with a leading dimension P of networks.
Gradients are recorded there.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def active() -> bool:
    """Whether the caller runs within `torch.vmap`: tensors may then stand for those of several networks."""
    return torch._C._functorch.maybe_current_level() is not None


def for_all(function: Callable[..., Tensor], *tensors: Tensor | None) -> Tensor:
    """Call the function once, with every tensor stacked along a new first dimension; returns each network's result."""
    result: Tensor = _ForAll.apply(function, *tensors)  # type: ignore[no-untyped-call]
    return result


def for_one(function: Callable[..., Tensor], *tensors: Tensor | None) -> Tensor:
    """Call the function for a stack of one network."""
    return function(*(None if tensor is None else tensor.unsqueeze(0) for tensor in tensors)).squeeze(0)


class _ForAll(Function):
    @staticmethod
    def forward(function: Callable[..., Tensor], *tensors: Tensor | None) -> Tensor:
        raise AssertionError("outside of vmap")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass  # makes torch.vmap accept the function

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], function: Callable[..., Tensor], *tensors: Tensor | None
    ) -> tuple[Tensor, int]:
        def stacked(tensor: Tensor | None, dim: int | None) -> Tensor | None:
            if tensor is None or dim == 0:  # not even viewed: no view can have a sparse gradient
                return tensor
            return tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)

        return function(*map(stacked, tensors, in_dims[1:])), 0
