"""The time loops of the recurrent architectures on GPUs: one launch per pass for all words of a batch.

A program processes some texts of one network, keeps their states on chip from word to word, and reads the recurrent
weights from on-chip memory or the nearest cache. Only the loops are here; products that do not depend on the state are
left to torch. Several networks of one size run in one launch, each with exactly the numbers that it has alone, because
no program sums over data of another network.

Written in Triton (Tillet, Kung and Cox 2019). With TRITON_INTERPRET=1 the kernels run on the CPU, slowly, which is how
they are tested on machines without a GPU.

Shapes: P networks, T words, B batch, H hidden size, 3H candidate, update and reset gate side by side.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

TEXTS = 16  # per program: the minimum for a product in Triton
MOST_UNITS = 256
MOST_KEPT = 64  # units whose matrices stay on the chip
PART = tl.constexpr(32)  # rows of a larger matrix that are read at once


def elman_forward(hidden_PTBH: Tensor, U_PHH: Tensor, activation: str) -> None:
    """In place: from W x_t + b to the states. See `recurrence.elman`."""
    _launch(_elman_forward, hidden_PTBH, (hidden_PTBH, U_PHH), ACTIVATION=activation)


def elman_backward(delta_PTBH: Tensor, hidden_PTBH: Tensor, U_PHH: Tensor, activation: str) -> None:
    """In place: from the gradient of the states to that of the argument of the activation."""
    _launch(_elman_backward, hidden_PTBH, (delta_PTBH, hidden_PTBH, U_PHH), ACTIVATION=activation)


def gru_forward(
    gates_PTB3H: Tensor, states_PSBH: Tensor, U_P3HH: Tensor, activation: str, gate_activation: str
) -> None:
    """In place: from W x_t + b to the gates, and from the first of the states (S = T + 1) to the others. See
    `recurrence.gru`."""
    settings = {"ACTIVATION": activation, "GATE_ACTIVATION": gate_activation}
    _launch(_gru_forward, states_PSBH[:, 1:], (gates_PTB3H, states_PSBH, U_P3HH), **settings)


def gru_backward(
    delta_PTB3H: Tensor,
    grad_PTBH: Tensor,
    gates_PTB3H: Tensor,
    states_PSBH: Tensor,
    U_P3HH: Tensor,
    activation: str,
    gate_activation: str,
) -> None:
    """Write the gradient of the arguments of the activations to `delta_PTB3H`, from that of the states."""
    tensors = delta_PTB3H, grad_PTBH, gates_PTB3H, states_PSBH, U_P3HH
    settings = {"ACTIVATION": activation, "GATE_ACTIVATION": gate_activation}
    _launch(_gru_backward, grad_PTBH, tensors, **settings)


def num_warps(units: int) -> int:
    """Warps of a program: the smallest number without register spills."""
    return 4 if units <= MOST_KEPT else 8


def _launch(kernel: Any, states_PTBH: Tensor, tensors: tuple[Tensor, ...], **settings: str) -> None:
    num_networks, num_words, num_texts, num_hidden = states_PTBH.shape
    assert num_hidden <= MOST_UNITS
    assert all(tensor.is_contiguous() for tensor in tensors)
    grid = num_networks, triton.cdiv(num_texts, TEXTS)
    units = max(16, triton.next_power_of_2(num_hidden))
    form = {"TEXTS": TEXTS, "UNITS": units, "KEPT": num_hidden <= MOST_KEPT, "num_warps": num_warps(units)}
    kernel[grid](*tensors, num_words, num_texts, num_hidden, **settings, **form)


@triton.jit
def _activate(x, NAME: tl.constexpr):
    if NAME == "relu":
        return tl.maximum(x, 0.0)
    elif NAME == "tanh":
        return 2 / (1 + tl.exp(-2 * x)) - 1
    elif NAME == "sigmoid":
        return 1 / (1 + tl.exp(-x))
    else:
        return x


@triton.jit
def _times_slope(x, y, NAME: tl.constexpr):
    """x times the derivative of the activation where its output is y."""
    if NAME == "relu":
        return tl.where(y > 0, x, 0.0)
    elif NAME == "tanh":
        return x * (1 - y * y)
    elif NAME == "sigmoid":
        return x * (y - y * y)
    else:
        return x


@triton.jit
def _rows_of(U, first, H, STEP: tl.constexpr, UNITS: tl.constexpr, TRANSPOSED: tl.constexpr):
    """Some rows of a matrix (H, H), or of its transpose, padded with zeros to whole blocks."""
    rows, columns = first + tl.arange(0, STEP)[:, None], tl.arange(0, UNITS)[None, :]
    places = columns * H + rows if TRANSPOSED else rows * H + columns
    return tl.load(U + places, mask=(rows < H) & (columns < H), other=0.0)


@triton.jit
def _kept(U, H, UNITS: tl.constexpr, TRANSPOSED: tl.constexpr, KEPT: tl.constexpr):
    """The matrix for `_product`: loaded onto the chip if KEPT, else its address."""
    if KEPT:
        return _rows_of(U, 0, H, UNITS, UNITS, TRANSPOSED)
    else:
        return U


@triton.jit
def _product(
    x, x_at, there, U, H, TRANSPOSED: tl.constexpr, TEXTS: tl.constexpr, UNITS: tl.constexpr, KEPT: tl.constexpr
):  # fmt: skip
    """x times the matrix of `_kept`. Unless KEPT, the matrix is read in parts, since the matrices of three gates would
    exceed a GPU's shared memory, and x from `x_at`, the address of its first column, where it has just been stored."""
    if KEPT:
        return tl.dot(x, U, input_precision="ieee")
    else:
        tl.debug_barrier()  # other threads have stored it
        sums = tl.full((TEXTS, UNITS), 0.0, tl.float32)
        for first in range(0, H, PART):
            units = first + tl.arange(0, PART)[None, :]
            x_part = tl.load(x_at + units, mask=there & (units < H), other=0.0)
            sums = tl.dot(x_part, _rows_of(U, first, H, PART, UNITS, TRANSPOSED), sums, input_precision="ieee")
        tl.debug_barrier()  # x may be overwritten from here on
        return sums


@triton.jit
def _elman_forward(
    hidden, U, T, B, H, ACTIVATION: tl.constexpr, TEXTS: tl.constexpr, UNITS: tl.constexpr, KEPT: tl.constexpr
):  # fmt: skip
    network = tl.program_id(0).to(tl.int64)
    texts, units = (tl.program_id(1) * TEXTS + tl.arange(0, TEXTS))[:, None], tl.arange(0, UNITS)[None, :]
    there = (texts < B) & (units < H)
    U_t = _kept(U + network * H * H, H, UNITS, True, KEPT)
    at = hidden + network * T * B * H + texts * H
    state = _activate(tl.load(at + units, mask=there, other=0.0), ACTIVATION)
    tl.store(at + units, state, mask=there)
    for _ in range(1, T):
        before = _product(state, at, texts < B, U_t, H, True, TEXTS, UNITS, KEPT)
        at += B * H
        state = _activate(tl.load(at + units, mask=there, other=0.0) + before, ACTIVATION)
        tl.store(at + units, state, mask=there)


@triton.jit
def _elman_backward(
    delta, hidden, U, T, B, H, ACTIVATION: tl.constexpr, TEXTS: tl.constexpr, UNITS: tl.constexpr, KEPT: tl.constexpr
):  # fmt: skip
    network = tl.program_id(0).to(tl.int64)
    texts, units = (tl.program_id(1) * TEXTS + tl.arange(0, TEXTS))[:, None], tl.arange(0, UNITS)[None, :]
    there = (texts < B) & (units < H)
    U_n = _kept(U + network * H * H, H, UNITS, False, KEPT)
    at = (network * T + T - 1) * B * H + texts * H
    grad = tl.load(delta + at + units, mask=there, other=0.0)
    state_delta = _times_slope(grad, tl.load(hidden + at + units, mask=there, other=0.0), ACTIVATION)
    tl.store(delta + at + units, state_delta, mask=there)
    for _ in range(1, T):
        after = _product(state_delta, delta + at, texts < B, U_n, H, False, TEXTS, UNITS, KEPT)
        at -= B * H
        grad = tl.load(delta + at + units, mask=there, other=0.0) + after
        state_delta = _times_slope(grad, tl.load(hidden + at + units, mask=there, other=0.0), ACTIVATION)
        tl.store(delta + at + units, state_delta, mask=there)


@triton.jit
def _gru_forward(
    gates, states, U, T, B, H, ACTIVATION: tl.constexpr, GATE_ACTIVATION: tl.constexpr,
    TEXTS: tl.constexpr, UNITS: tl.constexpr, KEPT: tl.constexpr,
):  # fmt: skip
    network = tl.program_id(0).to(tl.int64)
    texts, units = (tl.program_id(1) * TEXTS + tl.arange(0, TEXTS))[:, None], tl.arange(0, UNITS)[None, :]
    rows, there = texts < B, (texts < B) & (units < H)
    U += network * 3 * H * H
    U_candidate = _kept(U, H, UNITS, True, KEPT)
    U_update = _kept(U + H * H, H, UNITS, True, KEPT)
    U_reset = _kept(U + 2 * H * H, H, UNITS, True, KEPT)
    gates_at = gates + network * T * B * 3 * H + texts * 3 * H
    states_at = states + network * (T + 1) * B * H + texts * H
    state = tl.load(states_at + units, mask=there, other=0.0)
    for _ in range(T):
        update = tl.load(gates_at + H + units, mask=there, other=0.0)
        update += _product(state, states_at, rows, U_update, H, True, TEXTS, UNITS, KEPT)
        update = _activate(update, GATE_ACTIVATION)
        reset = tl.load(gates_at + 2 * H + units, mask=there, other=0.0)
        reset += _product(state, states_at, rows, U_reset, H, True, TEXTS, UNITS, KEPT)
        reset = _activate(reset, GATE_ACTIVATION)
        candidate = tl.load(gates_at + units, mask=there, other=0.0)
        if not KEPT:
            tl.store(gates_at + units, reset * state, mask=there)
        candidate += _product(reset * state, gates_at, rows, U_candidate, H, True, TEXTS, UNITS, KEPT)
        candidate = _activate(candidate, ACTIVATION)
        state += update * (candidate - state)
        tl.store(gates_at + units, candidate, mask=there)
        tl.store(gates_at + H + units, update, mask=there)
        tl.store(gates_at + 2 * H + units, reset, mask=there)
        gates_at += B * 3 * H
        states_at += B * H
        tl.store(states_at + units, state, mask=there)


@triton.jit
def _gru_backward(
    delta, grad, gates, states, U, T, B, H, ACTIVATION: tl.constexpr, GATE_ACTIVATION: tl.constexpr,
    TEXTS: tl.constexpr, UNITS: tl.constexpr, KEPT: tl.constexpr,
):  # fmt: skip
    network = tl.program_id(0).to(tl.int64)
    last = network * T + T - 1
    texts, units = (tl.program_id(1) * TEXTS + tl.arange(0, TEXTS))[:, None], tl.arange(0, UNITS)[None, :]
    rows, there = texts < B, (texts < B) & (units < H)
    U += network * 3 * H * H
    U_candidate = _kept(U, H, UNITS, False, KEPT)
    U_update = _kept(U + H * H, H, UNITS, False, KEPT)
    U_reset = _kept(U + 2 * H * H, H, UNITS, False, KEPT)
    at = last * B * 3 * H + texts * 3 * H
    grad_at = grad + last * B * H + texts * H
    states_at = states + (last + network) * B * H + texts * H  # of the states before
    from_after = tl.full((TEXTS, UNITS), 0.0, tl.float32)
    for _ in range(T):
        candidate = tl.load(gates + at + units, mask=there, other=0.0)
        update = tl.load(gates + at + H + units, mask=there, other=0.0)
        reset = tl.load(gates + at + 2 * H + units, mask=there, other=0.0)
        before = tl.load(states_at + units, mask=there, other=0.0)
        grad_state = tl.load(grad_at + units, mask=there, other=0.0) + from_after
        of_candidate = _times_slope(grad_state * update, candidate, ACTIVATION)
        of_update = _times_slope(grad_state * (candidate - before), update, GATE_ACTIVATION)
        tl.store(delta + at + units, of_candidate, mask=there)
        tl.store(delta + at + H + units, of_update, mask=there)
        of_reset_state = _product(of_candidate, delta + at, rows, U_candidate, H, False, TEXTS, UNITS, KEPT)
        of_reset = _times_slope(of_reset_state * before, reset, GATE_ACTIVATION)
        tl.store(delta + at + 2 * H + units, of_reset, mask=there)
        from_after = grad_state * (1 - update) + of_reset_state * reset
        from_after += _product(of_update, delta + at + H, rows, U_update, H, False, TEXTS, UNITS, KEPT)
        from_after += _product(of_reset, delta + at + 2 * H, rows, U_reset, H, False, TEXTS, UNITS, KEPT)
        at -= B * 3 * H
        grad_at -= B * H
        states_at -= B * H
