"""A linear layer and its activation in one step, with a backward pass written by hand: see `models.native.kernels`.

Shapes: N rows, K inputs, M outputs.
"""

from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from models.native import kernels
from models.native.kernels import product


def dense(inputs: Tensor, weight_MK: Tensor, bias_M: Tensor | None, activation: str = "none") -> Tensor:
    """s(W x + b) for inputs (..., K), or s(W x) without a bias. `activation` is s: none or, if `kernels.usable`, also
    relu, tanh or sigmoid. Differentiable once in all tensors."""
    if not kernels.usable(inputs):
        assert activation == "none"
        return linear(inputs, weight_MK, bias_M)
    inputs_NK = inputs.reshape(-1, inputs.shape[-1])
    outputs_NM: Tensor = _Dense.apply(inputs_NK, weight_MK, bias_M, activation)  # type: ignore[no-untyped-call]
    return outputs_NM.view(*inputs.shape[:-1], len(weight_MK))


class _Dense(Function):
    @staticmethod
    def forward(ctx: Any, inputs_NK: Tensor, weight_MK: Tensor, bias_M: Tensor | None, activation: str) -> Tensor:
        outputs_NM = product(inputs_NK, weight_MK.t(), bias_M, activation)
        ctx.save_for_backward(inputs_NK, weight_MK, outputs_NM)
        ctx.activation = activation
        return outputs_NM

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NM: Tensor) -> tuple[Tensor | None, ...]:
        inputs_NK, weight_MK, outputs_NM = ctx.saved_tensors
        delta_NM = kernels.activation_backward(grad_NM, outputs_NM, ctx.activation)
        grad_inputs_NK = product(delta_NM, weight_MK) if ctx.needs_input_grad[0] else None
        grad_M = delta_NM.sum(0) if ctx.needs_input_grad[2] else None
        return grad_inputs_NK, product(delta_NM.t(), inputs_NK), grad_M, None
