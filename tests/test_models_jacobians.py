"""Closed forms against torch.func.jacrev in float64, for random shapes.

Shapes: N words and states, M outputs, D channels or input size, H hidden or output channels, K kernel, P positions.
"""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import jacrev, vmap
from torch.nn.functional import conv1d

from models.native.recurrence import elman, gru
from models.parts import jacobians
from models.parts.geometry import Window
from models.parts.layers import ACTIVATIONS

SIZES = st.integers(1, 6)
SEEDS = st.integers(0, 2**32)
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
PLAIN = {**ACTIVATIONS, "tanh": torch.tanh}


def random(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@given(num_in=SIZES, num_out=SIZES, seed=SEEDS)
@settings(deadline=None, max_examples=30)
def test_linear_and_bias(num_in: int, num_out: int, seed: int) -> None:
    A_MN, x_N, b_M = random(seed, (num_out, num_in), (num_in,), (num_out,))
    by_input, by_bias = jacrev(lambda x, b: A_MN @ x + b, argnums=(0, 1))(x_N, b_M)
    torch.testing.assert_close(jacobians.linear(A_MN), by_input, **CLOSE)
    torch.testing.assert_close(jacobians.bias(num_out, torch.float64), by_bias, **CLOSE)


def test_a_convolution_is_a_band_by_hand() -> None:
    """Row p holds the kernel from column p on."""
    kernel = torch.tensor([[[1.0, 2, 3]]])
    expected = [[1.0, 2, 3, 0, 0], [0, 1, 2, 3, 0], [0, 0, 1, 2, 3]]
    assert jacobians.convolution(kernel, 5, Window(3))[0, :, 0].tolist() == expected
    padded = jacobians.convolution(kernel, 3, Window(3, padding=1))[0, :, 0]
    assert padded.tolist() == [[2.0, 3, 0], [1, 2, 3], [0, 1, 2]]
    with_holes = jacobians.convolution(kernel, 6, Window(3, dilation=2, stride=1))[0, :, 0]
    assert with_holes.tolist() == [[1.0, 0, 2, 0, 3, 0], [0, 1, 0, 2, 0, 3]]


@given(
    window=st.builds(Window, *(st.integers(low, high) for low, high in ((1, 4), (1, 3), (0, 3), (1, 3)))),
    num_inputs=st.integers(1, 15),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=SEEDS,
)
@settings(deadline=None, max_examples=60)
def test_convolution(window: Window, num_inputs: int, channels: tuple[int, int], seed: int) -> None:
    assume(num_inputs + 2 * window.padding >= window.extent)
    num_out, num_in = channels
    kernel_HDK, inputs_DN = random(seed, (num_out, num_in, window.kernel), (num_in, num_inputs))
    steps = {"stride": window.stride, "padding": window.padding, "dilation": window.dilation}
    expected_HPDN = jacrev(lambda x: conv1d(x, kernel_HDK, **steps))(inputs_DN)
    torch.testing.assert_close(jacobians.convolution(kernel_HDK, num_inputs, window), expected_HPDN, **CLOSE)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(size_in=SIZES, num_hidden=SIZES, seed=SEEDS)
@settings(deadline=None, max_examples=15)
def test_elman_step(activation: str, size_in: int, num_hidden: int, seed: int) -> None:
    words_ND, states_NH, W, U, b = random(
        seed, (3, size_in), (3, num_hidden), (num_hidden, size_in), (num_hidden, num_hidden), (num_hidden,)
    )
    next_NH, by_state_NHH, by_word_NHD = jacobians.elman_step(words_ND, states_NH, W, U, b, activation)

    def step(x_D: Tensor, h_H: Tensor) -> Tensor:
        return PLAIN[activation](W @ x_D + U @ h_H + b)

    expected_word_NHD, expected_state_NHH = vmap(jacrev(step, argnums=(0, 1)))(words_ND, states_NH)
    torch.testing.assert_close(next_NH, vmap(step)(words_ND, states_NH), **CLOSE)
    torch.testing.assert_close(by_state_NHH, expected_state_NHH, **CLOSE)
    torch.testing.assert_close(by_word_NHD, expected_word_NHD, **CLOSE)
    first_NH = jacobians.elman_step(words_ND, torch.zeros_like(states_NH), W, U, b, activation)[0]
    torch.testing.assert_close(first_NH, elman(words_ND.unsqueeze(0), W, U, b, activation)[0], **CLOSE)


@pytest.mark.parametrize("gate_activation", ["sigmoid", "relu"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(size_in=SIZES, num_hidden=SIZES, seed=SEEDS)
@settings(deadline=None, max_examples=15)
def test_gru_step(activation: str, gate_activation: str, size_in: int, num_hidden: int, seed: int) -> None:
    shapes = (3, size_in), (3, num_hidden), (3 * num_hidden, size_in), (3 * num_hidden, num_hidden), (3 * num_hidden,)
    words_ND, states_NH, W, U, b = random(seed, *shapes)
    found = jacobians.gru_step(words_ND, states_NH, W, U, b, activation, gate_activation)
    next_NH, by_state_NHH, by_word_NHD = found
    (W_c, W_z, W_r), (U_c, U_z, U_r), (b_c, b_z, b_r) = W.chunk(3), U.chunk(3), b.chunk(3)

    def step(x_D: Tensor, h_H: Tensor) -> Tensor:
        update_H = PLAIN[gate_activation](W_z @ x_D + U_z @ h_H + b_z)
        reset_H = PLAIN[gate_activation](W_r @ x_D + U_r @ h_H + b_r)
        candidate_H = PLAIN[activation](W_c @ x_D + U_c @ (reset_H * h_H) + b_c)
        return (1 - update_H) * h_H + update_H * candidate_H

    expected_word_NHD, expected_state_NHH = vmap(jacrev(step, argnums=(0, 1)))(words_ND, states_NH)
    torch.testing.assert_close(next_NH, vmap(step)(words_ND, states_NH), **CLOSE)
    torch.testing.assert_close(by_state_NHH, expected_state_NHH, **CLOSE)
    torch.testing.assert_close(by_word_NHD, expected_word_NHD, **CLOSE)
    first_NH = jacobians.gru_step(words_ND, torch.zeros_like(states_NH), W, U, b, activation, gate_activation)[0]
    expected_NH = gru(words_ND.unsqueeze(0), W, U, b, activation, gate_activation)[0]
    torch.testing.assert_close(first_NH, expected_NH, **CLOSE)
