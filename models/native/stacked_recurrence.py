"""The time loops of `recurrence` for several networks of one size at once: the form for CUDA, and its torch reference.

As in `recurrence`, everything that does not depend on the state is computed for all words outside the loops.

Shapes: P networks, T words, S states (T + 1), B batch, D input size, H hidden size, 3H candidate, update and reset gate
side by side, N = T * B.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from models.native.loops import activate_, clear_, on_gpu, slope


class Elman(Function):
    """States (P, T, B, H); see `recurrence.elman`."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs_PTBD: Tensor,
        W_PHD: Tensor,
        U_PHH: Tensor,
        b_PH: Tensor,
        padding_PTB: Tensor | None,
        activation: str,
    ) -> Tensor:
        hidden_PTBH = _project(inputs_PTBD, W_PHD, b_PH)
        if loops := on_gpu(hidden_PTBH, U_PHH.shape[-1]):
            loops.elman_forward(hidden_PTBH, U_PHH.contiguous(), activation)
        else:
            _elman_forward(hidden_PTBH, U_PHH, activation)
        clear_(hidden_PTBH, padding_PTB)
        ctx.save_for_backward(inputs_PTBD, W_PHD, U_PHH, hidden_PTBH)
        ctx.activation = activation
        return hidden_PTBH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_PTBH: Tensor) -> tuple[Tensor | None, ...]:
        inputs_PTBD, W_PHD, U_PHH, hidden_PTBH = ctx.saved_tensors
        delta_PTBH = grad_PTBH.clone(memory_format=torch.contiguous_format)
        if loops := on_gpu(delta_PTBH, U_PHH.shape[-1]):
            loops.elman_backward(delta_PTBH, hidden_PTBH, U_PHH.contiguous(), ctx.activation)
        else:
            _elman_backward(delta_PTBH, hidden_PTBH, U_PHH, ctx.activation)
        grad_U_PHH = delta_PTBH[:, 1:].flatten(1, 2).mT @ hidden_PTBH[:, :-1].flatten(1, 2)
        grad_inputs, grad_W, grad_b = _project_backward(delta_PTBH, inputs_PTBD, W_PHD, ctx.needs_input_grad[0])
        return grad_inputs, grad_W, grad_U_PHH, grad_b, None, None


class GRU(Function):
    """States (P, T, B, H); see `recurrence.gru`."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs_PTBD: Tensor,
        W_P3HD: Tensor,
        U_P3HH: Tensor,
        b_P3H: Tensor,
        padding_PTB: Tensor | None,
        activation: str,
        gate_activation: str,
    ) -> Tensor:
        gates_PTB3H = _project(inputs_PTBD, W_P3HD, b_P3H)
        num_networks, num_words, num_texts, _ = gates_PTB3H.shape
        states_PSBH = gates_PTB3H.new_zeros(num_networks, num_words + 1, num_texts, U_P3HH.shape[2])
        if loops := on_gpu(states_PSBH, U_P3HH.shape[2]):
            loops.gru_forward(gates_PTB3H, states_PSBH, U_P3HH.contiguous(), activation, gate_activation)
        else:
            _gru_forward(gates_PTB3H, states_PSBH, U_P3HH, activation, gate_activation)
        clear_(states_PSBH[:, 1:], padding_PTB)
        clear_(gates_PTB3H, padding_PTB)
        ctx.save_for_backward(inputs_PTBD, W_P3HD, U_P3HH, gates_PTB3H, states_PSBH)
        ctx.activations = activation, gate_activation
        return states_PSBH[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_PTBH: Tensor) -> tuple[Tensor | None, ...]:
        inputs_PTBD, W_P3HD, U_P3HH, gates_PTB3H, states_PSBH = ctx.saved_tensors
        num_hidden, previous_PTBH = U_P3HH.shape[2], states_PSBH[:, :-1]
        delta_PTB3H = torch.empty_like(gates_PTB3H)
        tensors = delta_PTB3H, grad_PTBH.contiguous(), gates_PTB3H, states_PSBH
        if loops := on_gpu(states_PSBH, num_hidden):
            loops.gru_backward(*tensors, U_P3HH.contiguous(), *ctx.activations)
        else:
            _gru_backward(*tensors, U_P3HH, *ctx.activations)
        reset_state_PTBH = gates_PTB3H[..., 2 * num_hidden :] * previous_PTBH
        delta_P3HN = delta_PTB3H.flatten(1, 2).mT
        grad_U_candidate_PHH = delta_P3HN[:, :num_hidden] @ reset_state_PTBH.flatten(1, 2)
        grad_U_gates_P2HH = delta_P3HN[:, num_hidden:] @ previous_PTBH.flatten(1, 2)
        grad_U_P3HH = torch.cat((grad_U_candidate_PHH, grad_U_gates_P2HH), 1)
        grad_inputs, grad_W, grad_b = _project_backward(delta_PTB3H, inputs_PTBD, W_P3HD, ctx.needs_input_grad[0])
        return grad_inputs, grad_W, grad_U_P3HH, grad_b, None, None, None


def _project(inputs_PTBD: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """W x + b of all words, (P, T, B, rows of W)."""
    projected = torch.baddbmm(bias.unsqueeze(1), inputs_PTBD.flatten(1, 2), weight.mT)
    return projected.view(*inputs_PTBD.shape[:3], -1)


def _project_backward(
    delta: Tensor, inputs_PTBD: Tensor, weight: Tensor, of_inputs: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """The gradients of the inputs (None if not needed), weight and bias."""
    delta, inputs_PND = delta.flatten(1, 2), inputs_PTBD.flatten(1, 2)
    grad_inputs_PTBD = (delta @ weight).view(inputs_PTBD.shape) if of_inputs else None
    return grad_inputs_PTBD, delta.mT @ inputs_PND, delta.sum(1)


def _elman_forward(hidden_PTBH: Tensor, U_PHH: Tensor, activation: str) -> None:
    """In place: from W x + b to the states."""
    hidden = hidden_PTBH.unbind(1)
    activate_(hidden[0], activation)
    for previous_PBH, current_PBH in pairwise(hidden):
        activate_(current_PBH.add_(previous_PBH @ U_PHH.mT), activation)


def _elman_backward(delta_PTBH: Tensor, hidden_PTBH: Tensor, U_PHH: Tensor, activation: str) -> None:
    """In place: from the gradient of the states to that of the activation's argument."""
    delta, slopes = delta_PTBH.unbind(1), slope(hidden_PTBH, activation).unbind(1)
    delta[-1].mul_(slopes[-1])
    for t in reversed(range(1, len(delta))):
        delta[t - 1].add_(delta[t] @ U_PHH).mul_(slopes[t - 1])


def _gru_forward(
    gates_PTB3H: Tensor, states_PSBH: Tensor, U_P3HH: Tensor, activation: str, gate_activation: str
) -> None:
    """In place: from W x + b to the gates, and from the first of the states to the others."""
    num_hidden = U_P3HH.shape[2]
    U_candidate_PHH, U_update_reset_PH2H = U_P3HH[:, :num_hidden].mT, U_P3HH[:, num_hidden:].mT
    states = states_PSBH.unbind(1)
    for (previous_PBH, state_PBH), gates_PB3H in zip(pairwise(states), gates_PTB3H.unbind(1), strict=True):
        candidate_PBH, update_reset_PB2H = gates_PB3H[..., :num_hidden], gates_PB3H[..., num_hidden:]
        activate_(update_reset_PB2H.add_(previous_PBH @ U_update_reset_PH2H), gate_activation)
        update_PBH, reset_PBH = update_reset_PB2H.chunk(2, -1)
        activate_(candidate_PBH.add_((reset_PBH * previous_PBH) @ U_candidate_PHH), activation)
        torch.lerp(previous_PBH, candidate_PBH, update_PBH, out=state_PBH)


def _gru_backward(
    delta_PTB3H: Tensor,
    grad_PTBH: Tensor,
    gates_PTB3H: Tensor,
    states_PSBH: Tensor,
    U_P3HH: Tensor,
    activation: str,
    gate_activation: str,
) -> None:
    """Write the gradient of the activations' arguments to `delta_PTB3H`."""
    num_hidden = U_P3HH.shape[2]
    U_candidate_PHH, U_gates_P2HH = U_P3HH[:, :num_hidden], U_P3HH[:, num_hidden:]
    from_after_PBH = torch.zeros_like(grad_PTBH[:, 0])
    for t in reversed(range(grad_PTBH.shape[1])):
        candidate_PBH, update_PBH, reset_PBH = gates_PTB3H[:, t].chunk(3, -1)
        before_PBH = states_PSBH[:, t]
        grad_PBH = grad_PTBH[:, t] + from_after_PBH
        delta_candidate_PBH, delta_update_PBH, delta_reset_PBH = delta_PTB3H[:, t].chunk(3, -1)
        delta_candidate_PBH.copy_(grad_PBH * update_PBH * slope(candidate_PBH, activation))
        delta_update_PBH.copy_(grad_PBH * (candidate_PBH - before_PBH) * slope(update_PBH, gate_activation))
        of_reset_state_PBH = delta_candidate_PBH @ U_candidate_PHH
        delta_reset_PBH.copy_(of_reset_state_PBH * before_PBH * slope(reset_PBH, gate_activation))
        from_after_PBH = grad_PBH * (1 - update_PBH) + of_reset_state_PBH * reset_PBH
        from_after_PBH += delta_PTB3H[:, t, :, num_hidden:] @ U_gates_P2HH
