"""Closed forms against torch.func.jacrev in float64, for random shapes.

Shapes: N words and states, D input size, H hidden.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import jacrev, vmap

from models.native.recurrence import elman, gru
from models.parts import jacobians
from models.parts.layers import ACTIVATIONS

SIZES = st.integers(1, 6)
SEEDS = st.integers(0, 2**32)
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
PLAIN = {**ACTIVATIONS, "tanh": torch.tanh}


def random(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


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
