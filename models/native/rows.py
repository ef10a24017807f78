"""Gradients of a few rows of a large matrix, and steps of Adam on these rows, by kernels or by torch.

Shapes: V rows of the matrix, E columns, R rows that have a gradient, P networks.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

from models.native import kernels, stacking


def look_up(matrix_VE: Tensor, ids: Tensor) -> Tensor:
    """The rows of these ids (..., E). The gradient of the matrix is sparse and excludes row 0, the padding.
    Differentiable once."""
    if stacking.active():
        return stacking.for_all(_look_up_of_all, matrix_VE, ids)
    if kernels.usable(matrix_VE):
        vectors: Tensor = _LookUp.apply(matrix_VE, ids)  # type: ignore[no-untyped-call]
        return vectors
    return embedding(ids, matrix_VE, padding_idx=0, sparse=True)


class _LookUp(Function):
    @staticmethod
    def forward(ctx: Any, matrix_VE: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.shape = matrix_VE.shape
        return embedding(ids, matrix_VE)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        values_NE = gradient.reshape(-1, ctx.shape[1])
        rows_R, sums_RE = kernels.sum_rows(ids.flatten().long(), values_NE, ctx.shape[0], skipped=0)
        return torch.sparse_coo_tensor(rows_R.unsqueeze(0), sums_RE, ctx.shape, check_invariants=False), None


def _look_up_of_all(matrix_PVE: Tensor, ids: Tensor) -> Tensor:
    found: Tensor = _StackedLookUp.apply(matrix_PVE, ids)  # type: ignore[no-untyped-call]
    return found


class _StackedLookUp(Function):
    """The rows (P, ..., E) of the ids (P, ...), each network's from its own matrix. The gradient (P, V, E) is sparse in
    the first two dimensions; that of row 0 is zero."""

    @staticmethod
    def forward(ctx: Any, matrix_PVE: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.shape = matrix_PVE.shape
        num_networks, num_rows, _ = matrix_PVE.shape
        first_P = torch.arange(num_networks, device=ids.device) * num_rows
        return embedding(ids + first_P.view(-1, *[1] * (ids.ndim - 1)), matrix_PVE.flatten(0, 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        values_NE = (gradient * (ids != 0).unsqueeze(-1)).flatten(0, -2)
        networks_P = torch.arange(ctx.shape[0], device=ids.device)
        indices_2N = torch.stack((networks_P.repeat_interleave(ids[0].numel()), ids.flatten().long()))
        return torch.sparse_coo_tensor(indices_2N, values_NE, ctx.shape, check_invariants=False), None


def split(gradient_PVE: Tensor) -> list[Tensor]:
    """The sparse gradient (V, E) of each network, with each row once, from one that is sparse in its first two
    dimensions."""
    whole_PVE = gradient_PVE.coalesce()
    num_networks, *shape = whole_PVE.shape
    networks_R, rows_R = whole_PVE.indices()
    ends_P = torch.searchsorted(networks_R, torch.arange(num_networks, device=rows_R.device), right=True)
    sizes = ends_P.diff(prepend=ends_P.new_zeros(1)).tolist()
    return [
        torch.sparse_coo_tensor(own_R.unsqueeze(0), sums_RE, shape, check_invariants=False, is_coalesced=True)
        for own_R, sums_RE in zip(rows_R.split(sizes), whole_PVE.values().split(sizes), strict=True)
    ]


def sums(gradient_VE: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows_R of a sparse gradient and the sums of their entries (R, E)."""
    if kernels.usable(gradient_VE._values()):
        return kernels.sum_rows(gradient_VE._indices()[0], gradient_VE._values(), len(gradient_VE))
    whole_VE = gradient_VE.coalesce()
    return whole_VE.indices()[0], whole_VE.values()


@torch.no_grad()
def adam(
    values_VE: Tensor,
    means_VE: Tensor,
    squares_VE: Tensor,
    rows_R: Tensor,
    gradients_RE: Tensor,
    *,
    step: int,
    rate: float,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """A step of Adam (Kingma and Ba 2015) on these rows of a matrix and of its moments, in place; the others stay as
    they are.

    step: the number of the step, from 1, also for rows that missed earlier steps.
    """
    beta1, beta2 = betas
    step_size, correction = rate / (1 - beta1**step), math.sqrt(1 - beta2**step)
    if kernels.usable(values_VE):
        numbers = [step_size, 1 - beta1, beta2, 1 - beta2, correction, epsilon]
        kernels.adam_rows(values_VE, means_VE, squares_VE, rows_R, gradients_RE, numbers)
        return
    values_RE, means_RE, squares_RE = (whole_VE[rows_R] for whole_VE in (values_VE, means_VE, squares_VE))
    means_RE.lerp_(gradients_RE, 1 - beta1)
    squares_RE.mul_(beta2).addcmul_(gradients_RE, gradients_RE, value=1 - beta2)
    scale_RE = squares_RE.sqrt().div_(correction).add_(epsilon)
    values_RE.addcdiv_(means_RE, scale_RE, value=-step_size)
    for whole_VE, some_RE in ((values_VE, values_RE), (means_VE, means_RE), (squares_VE, squares_RE)):
        whole_VE.index_copy_(0, rows_R, some_RE)


@torch.no_grad()
def move(from_VE: Tensor, to_VE: Tensor, rows_R: Tensor, shares_R: Tensor) -> None:
    """Interpolate these rows of a matrix towards those of another, each by its share, in place."""
    if kernels.usable(from_VE):
        kernels.move_rows(from_VE, to_VE, rows_R, shares_R)
    else:
        from_VE.index_copy_(0, rows_R, from_VE[rows_R].lerp_(to_VE[rows_R], shares_R.unsqueeze(1)))
