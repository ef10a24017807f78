"""The mean of some rows of a large table, with a sparse gradient (see `models.native.kernels`).

Shapes: B batch, S rows of a text, R rows of the table, U of them that are in a batch, H hidden.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.native import kernels


def mean_of_rows(table_RH: Tensor, rows_BS: Tensor) -> Tensor:
    """The mean (B, H) of the rows of each text. Row 0 is not counted; the mean of no rows is zero.

    The gradient of the table is sparse, with distinct rows. Differentiable once.
    """
    if kernels.usable(table_RH):
        compiled_BH: Tensor = _MeanOfRows.apply(table_RH, rows_BS.contiguous())  # type: ignore[no-untyped-call]
        return compiled_BH
    is_row_BS = rows_BS != 0
    num_B = is_row_BS.sum(1)
    rows_U, place_K = rows_BS[is_row_BS].unique(return_inverse=True)
    vectors_UH = F.embedding(rows_U, table_RH, sparse=True)
    means_BH: Tensor = F.embedding_bag(place_K, vectors_UH, num_B.cumsum(0) - num_B, mode="mean")
    return means_BH


class _MeanOfRows(Function):
    @staticmethod
    def forward(ctx: Any, table_RH: Tensor, rows_BS: Tensor) -> Tensor:
        means_BH, num_B = kernels.bag_forward(table_RH, rows_BS)
        ctx.save_for_backward(rows_BS, num_B)
        ctx.shape = table_RH.shape
        return means_BH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BH: Tensor) -> tuple[Tensor | None, ...]:
        rows_BS, num_B = ctx.saved_tensors
        rows_U, grad_UH = kernels.bag_backward(grad_BH, rows_BS, num_B, ctx.shape[0])
        return torch.sparse_coo_tensor(rows_U.unsqueeze(0), grad_UH, ctx.shape, check_invariants=False), None
