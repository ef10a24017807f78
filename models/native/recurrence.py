"""The time loops of the recurrent architectures, with backward passes written by hand.

An autograd loop over the words of a text spends most of its time on bookkeeping. The compiled kernels process all words
in one call for each pass, including the gradients of the weights. On GPUs, a network is computed as a stack of one: see
`stacked_recurrence`. The plain torch form, for all that neither can do, is here: everything that does not depend on the
state is computed for all words at once, namely the input projections before the loop, the slopes of the activations
before the backward loop, and the gradients of the weights after it, by one matrix product each. The loops work in place
in buffers of all words. Slopes are functions of the activations' outputs, so that only outputs are kept for the
backward pass.

Shapes: T words, B batch, D input size, H hidden size, 3H candidate, update and reset gate side by side.
"""

from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from models.native import kernels, stacked_recurrence, stacking
from models.native.loops import activate_, clear_, on_gpu, slope
from models.native.rounding import in_float32
from models.native.signatures import LANES


@in_float32
def elman(
    inputs_TBD: Tensor, W_HD: Tensor, U_HH: Tensor, b_H: Tensor, activation: str, padding_TB: Tensor | None = None
) -> Tensor:
    """The states (T, B, H) of an Elman network (Elman 1990): h_t = s(W x_t + U h_{t-1} + b), from h_0 = 0.

    `activation` is s: none, relu, tanh or sigmoid. `padding_TB` is true after the last word of a text: the states
    there are zero. Differentiable once in all tensors.
    """
    num_hidden = len(b_H)
    for_stack = partial(_stacked_elman, activation), inputs_TBD, W_HD, U_HH, b_H, padding_TB
    if stacking.active():
        return stacking.for_all(*for_stack)
    if kernels.usable(inputs_TBD):
        inputs_TBD, W_HD, U_HH, b_H = _whole_vectors(inputs_TBD, W_HD, U_HH, b_H, 1)
    elif on_gpu(inputs_TBD, num_hidden):
        return stacking.for_one(*for_stack)
    tensors = inputs_TBD, W_HD, U_HH, b_H
    states_TBH: Tensor = _Elman.apply(*tensors, activation, padding_TB)  # type: ignore[no-untyped-call]
    return states_TBH if len(b_H) == num_hidden else states_TBH[..., :num_hidden]  # backward would copy a slice


@in_float32
def gru(
    inputs_TBD: Tensor,
    W_3HD: Tensor,
    U_3HH: Tensor,
    b_3H: Tensor,
    activation: str,
    gate_activation: str,
    padding_TB: Tensor | None = None,
) -> Tensor:
    """The states (T, B, H) of a gated recurrent unit (Cho et al. 2014), from h_0 = 0:

        z = g(W_z x_t + U_z h_{t-1} + b_z)                 update gate
        r = g(W_r x_t + U_r h_{t-1} + b_r)                 reset gate
        c = s(W_c x_t + U_c (r * h_{t-1}) + b_c)           candidate
        h_t = (1 - z) * h_{t-1} + z * c

    The weights hold the rows of c, z and r, in this order. `activation` is s: none, relu, tanh or sigmoid;
    `gate_activation` is g: sigmoid or relu. `padding_TB` is as for `elman`. Differentiable once in all tensors.
    """
    num_hidden = U_3HH.shape[1]
    for_stack = partial(_stacked_gru, activation, gate_activation), inputs_TBD, W_3HD, U_3HH, b_3H, padding_TB
    if stacking.active():
        return stacking.for_all(*for_stack)
    if kernels.usable(inputs_TBD):
        inputs_TBD, W_3HD, U_3HH, b_3H = _whole_vectors(inputs_TBD, W_3HD, U_3HH, b_3H, 3)
    elif on_gpu(inputs_TBD, num_hidden):
        return stacking.for_one(*for_stack)
    settings = activation, gate_activation, padding_TB
    states_TBH: Tensor = _GRU.apply(inputs_TBD, W_3HD, U_3HH, b_3H, *settings)  # type: ignore[no-untyped-call]
    return states_TBH if U_3HH.shape[1] == num_hidden else states_TBH[..., :num_hidden]


def _stacked_elman(activation: str, *tensors: Tensor | None) -> Tensor:
    states_PTBH: Tensor = stacked_recurrence.Elman.apply(*tensors, activation)  # type: ignore[no-untyped-call]
    return states_PTBH


def _stacked_gru(activation: str, gate_activation: str, *tensors: Tensor | None) -> Tensor:
    activations = activation, gate_activation
    states_PTBH: Tensor = stacked_recurrence.GRU.apply(*tensors, *activations)  # type: ignore[no-untyped-call]
    return states_PTBH


class _Elman(Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs_TBD: Tensor,
        W_HD: Tensor,
        U_HH: Tensor,
        b_H: Tensor,
        activation: str,
        padding_TB: Tensor | None,
    ) -> Tensor:
        inputs_TBD = inputs_TBD.contiguous()
        if kernels.usable(inputs_TBD):
            W_HD, U_HH, b_H = (weight.contiguous() for weight in (W_HD, U_HH, b_H))
            padding_TB = None if padding_TB is None else padding_TB.contiguous()
            hidden_TBH = kernels.elman_forward(inputs_TBD, W_HD, U_HH, b_H, activation, padding_TB)
        else:
            hidden_TBH = _project(inputs_TBD, W_HD, b_H)
            _elman_forward(hidden_TBH, U_HH, activation, padding_TB)
        ctx.save_for_backward(inputs_TBD, W_HD, U_HH, hidden_TBH, padding_TB)
        ctx.activation = activation
        return hidden_TBH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor | None, ...]:
        inputs_TBD, W_HD, U_HH, hidden_TBH, padding_TB = ctx.saved_tensors
        of_inputs = ctx.needs_input_grad[0]
        if kernels.usable(hidden_TBH):
            tensors = grad_TBH, hidden_TBH, inputs_TBD, W_HD, U_HH
            gradients = kernels.elman_backward(*tensors, ctx.activation, padding_TB, of_inputs=of_inputs)
            return *gradients, None, None
        delta_TBH = _elman_backward(grad_TBH, hidden_TBH, U_HH, ctx.activation)
        grad_U_HH = delta_TBH[1:].flatten(0, 1).t() @ hidden_TBH[:-1].flatten(0, 1)
        grad_inputs_TBD, grad_W_HD, grad_b_H = _project_backward(delta_TBH, inputs_TBD, W_HD, of_inputs)
        return grad_inputs_TBD, grad_W_HD, grad_U_HH, grad_b_H, None, None


class _GRU(Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs_TBD: Tensor,
        W_3HD: Tensor,
        U_3HH: Tensor,
        b_3H: Tensor,
        activation: str,
        gate_activation: str,
        padding_TB: Tensor | None,
    ) -> Tensor:
        inputs_TBD = inputs_TBD.contiguous()
        if kernels.usable(inputs_TBD):
            W_3HD, U_3HH, b_3H = (weight.contiguous() for weight in (W_3HD, U_3HH, b_3H))
            padding_TB = None if padding_TB is None else padding_TB.contiguous()
            settings = activation, gate_activation, padding_TB
            keep_gates = any(ctx.needs_input_grad)
            states_SBH, gates_TB3H = kernels.gru_forward(
                inputs_TBD, W_3HD, U_3HH, b_3H, *settings, keep_gates=keep_gates
            )
        else:
            gates_TB3H = _project(inputs_TBD, W_3HD, b_3H)
            states_SBH = gates_TB3H.new_zeros(len(gates_TB3H) + 1, gates_TB3H.shape[1], U_3HH.shape[1])  # h_0 first
            _gru_forward(gates_TB3H, states_SBH, U_3HH, activation, gate_activation, padding_TB)
        ctx.save_for_backward(inputs_TBD, W_3HD, U_3HH, gates_TB3H, states_SBH, padding_TB)
        ctx.activation, ctx.gate_activation = activation, gate_activation
        return states_SBH[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor | None, ...]:
        inputs_TBD, W_3HD, U_3HH, gates_TB3H, states_SBH, padding_TB = ctx.saved_tensors
        activations, of_inputs = (ctx.activation, ctx.gate_activation), ctx.needs_input_grad[0]
        if kernels.usable(gates_TB3H):
            tensors = grad_TBH, gates_TB3H, states_SBH, inputs_TBD, W_3HD, U_3HH
            gradients = kernels.gru_backward(*tensors, *activations, padding_TB, of_inputs=of_inputs)
            return *gradients, None, None, None
        num_hidden, previous_TBH = U_3HH.shape[1], states_SBH[:-1]
        delta_TB3H = _gru_backward(grad_TBH, gates_TB3H, states_SBH, U_3HH, *activations)
        reset_state_TBH = gates_TB3H[..., 2 * num_hidden :] * previous_TBH
        delta_3HN = delta_TB3H.flatten(0, 1).t()  # N = T * B
        grad_U_candidate_HH = delta_3HN[:num_hidden] @ reset_state_TBH.flatten(0, 1)
        grad_U_gates_2HH = delta_3HN[num_hidden:] @ previous_TBH.flatten(0, 1)
        grad_U_3HH = torch.cat((grad_U_candidate_HH, grad_U_gates_2HH))
        grad_inputs_TBD, grad_W_3HD, grad_b_3H = _project_backward(delta_TB3H, inputs_TBD, W_3HD, of_inputs)
        return grad_inputs_TBD, grad_W_3HD, grad_U_3HH, grad_b_3H, None, None, None


def _whole_vectors(
    inputs: Tensor, W: Tensor, U: Tensor, b: Tensor, num_parts: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs and weights padded with zeros to the vector length of the kernels."""
    if inputs.shape[2] < LANES:
        inputs, W = (pad(x, (0, LANES - x.shape[-1])) for x in (inputs, W))
    more = -U.shape[1] % LANES
    if not more:
        return inputs, W, U, b
    W, U, b = (weight.unflatten(0, (num_parts, -1)) for weight in (W, U, b))
    W, U, b = pad(W, (0, 0, 0, more)), pad(U, (0, more, 0, more)), pad(b, (0, more))
    return inputs, W.flatten(0, 1), U.flatten(0, 1), b.flatten()


def _elman_forward(hidden_TBH: Tensor, U_HH: Tensor, activation: str, padding_TB: Tensor | None) -> None:
    U_transposed_HH = U_HH.t().contiguous()
    # tanh(a) = 2 sigmoid(2a) - 1, and sigmoid is the faster one: loop over y = (1 + h) / 2 = sigmoid(2a), where
    # 2a = 2(W x + b - U 1) + 4U y.
    by_sigmoid = activation == "tanh" and not hidden_TBH.is_cuda
    if by_sigmoid:
        hidden_TBH.mul_(2)
        hidden_TBH[1:] -= 2 * U_HH.sum(1)
        U_transposed_HH = 4 * U_transposed_HH
    hidden = hidden_TBH.unbind()
    step_activation = "sigmoid" if by_sigmoid else activation
    activate_(hidden[0], step_activation)
    for previous_BH, current_BH in pairwise(hidden):
        activate_(current_BH.addmm_(previous_BH, U_transposed_HH), step_activation)
    if by_sigmoid:
        hidden_TBH.mul_(2).sub_(1)
    clear_(hidden_TBH, padding_TB)


def _elman_backward(grad_TBH: Tensor, hidden_TBH: Tensor, U_HH: Tensor, activation: str) -> Tensor:
    """The gradient of the argument of the activation, from that of the states."""
    delta_TBH = grad_TBH.clone(memory_format=torch.contiguous_format)
    delta = delta_TBH.unbind()
    if activation == "none":
        for t in reversed(range(1, len(delta))):
            delta[t - 1].addmm_(delta[t], U_HH)
    else:
        slopes = slope(hidden_TBH, activation).unbind()
        delta[-1].mul_(slopes[-1])
        for t in reversed(range(1, len(delta))):
            delta[t - 1].addmm_(delta[t], U_HH).mul_(slopes[t - 1])
    return delta_TBH


def _gru_forward(
    gates_TB3H: Tensor,
    states_SBH: Tensor,
    U_3HH: Tensor,
    activation: str,
    gate_activation: str,
    padding_TB: Tensor | None,
) -> None:
    num_hidden = U_3HH.shape[1]
    candidate_TBH = gates_TB3H[..., :num_hidden]
    update_reset_TB2H = gates_TB3H[..., num_hidden:]
    update_TBH, reset_TBH = update_reset_TB2H.chunk(2, -1)
    U_candidate_HH = U_3HH[:num_hidden].t().contiguous()
    U_update_reset_H2H = U_3HH[num_hidden:].t().contiguous()
    states = states_SBH.unbind()
    reset_state_BH = torch.empty_like(states[0])

    for previous_BH, state_BH, candidate_BH, update_reset_B2H, update_BH, reset_BH in zip(
        states[:-1],
        states[1:],
        candidate_TBH.unbind(),
        update_reset_TB2H.unbind(),
        update_TBH.unbind(),
        reset_TBH.unbind(),
        strict=True,
    ):
        activate_(update_reset_B2H.addmm_(previous_BH, U_update_reset_H2H), gate_activation)
        torch.mul(reset_BH, previous_BH, out=reset_state_BH)
        activate_(candidate_BH.addmm_(reset_state_BH, U_candidate_HH), activation)
        torch.lerp(previous_BH, candidate_BH, update_BH, out=state_BH)

    clear_(states_SBH[1:], padding_TB)
    clear_(gates_TB3H, padding_TB)


def _gru_backward(
    grad_TBH: Tensor,
    gates_TB3H: Tensor,
    states_SBH: Tensor,
    U_3HH: Tensor,
    activation: str,
    gate_activation: str,
) -> Tensor:
    """The gradient of the arguments of the activations, from that of the states."""
    num_hidden, previous_TBH = U_3HH.shape[1], states_SBH[:-1]
    candidate_TBH, update_TBH, reset_TBH = gates_TB3H.chunk(3, -1)

    # delta starts as the factor of the gradients of h_t (for c and z) and of r * h_{t-1} (for r) that gives the
    # gradients of the arguments of s and g; the loop multiplies it by them.
    delta_TB3H = torch.empty_like(gates_TB3H)
    delta_candidate_TBH, delta_update_TBH, delta_reset_TBH = delta_TB3H.chunk(3, -1)
    update_slope_TB2H = slope(gates_TB3H[..., num_hidden:], gate_activation)
    torch.mul(slope(candidate_TBH, activation), update_TBH, out=delta_candidate_TBH)
    torch.sub(candidate_TBH, previous_TBH, out=delta_update_TBH)
    delta_reset_TBH.copy_(previous_TBH)
    delta_TB3H[..., num_hidden:].mul_(update_slope_TB2H)

    grad_state_TBH = grad_TBH.clone(memory_format=torch.contiguous_format)
    keep_TBH = 1 - update_TBH
    U_candidate_HH, U_update_reset_2HH = U_3HH[:num_hidden], U_3HH[num_hidden:]
    grad_reset_state_BH = torch.empty_like(grad_state_TBH[0])

    grad_state, keep, reset = grad_state_TBH.unbind(), keep_TBH.unbind(), reset_TBH.unbind()
    delta_candidate, delta_reset = delta_candidate_TBH.unbind(), delta_reset_TBH.unbind()
    delta_update_reset = delta_TB3H[..., num_hidden:].unbind()
    delta_candidate_update = delta_TB3H.unflatten(-1, (3, num_hidden))[:, :, :2].unbind()
    for t in reversed(range(len(grad_state))):
        delta_candidate_update[t].mul_(grad_state[t].unsqueeze(1))
        torch.mm(delta_candidate[t], U_candidate_HH, out=grad_reset_state_BH)
        delta_reset[t].mul_(grad_reset_state_BH)
        if t > 0:
            grad_state[t - 1].addcmul_(grad_state[t], keep[t])
            grad_state[t - 1].addcmul_(grad_reset_state_BH, reset[t])
            grad_state[t - 1].addmm_(delta_update_reset[t], U_update_reset_2HH)
    return delta_TB3H


def _project(inputs_TBD: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.addmm(bias, inputs_TBD.flatten(0, 1), weight.t()).view(*inputs_TBD.shape[:2], len(bias))


def _project_backward(
    delta: Tensor, inputs_TBD: Tensor, weight: Tensor, of_inputs: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """The gradients of the inputs (None if not needed, as for frozen word vectors), weight and bias."""
    delta, inputs_ND = delta.flatten(0, 1), inputs_TBD.flatten(0, 1)
    grad_inputs_TBD = (delta @ weight).view(inputs_TBD.shape) if of_inputs else None
    return grad_inputs_TBD, delta.t() @ inputs_ND, delta.sum(0)
