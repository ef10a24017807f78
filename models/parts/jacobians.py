"""Jacobians of one step of a recurrence, in closed form: the derivative of output i with respect to input j at [i, j].

Shapes: N words and states, D input size, H hidden.
"""

import torch
from torch import Tensor

from models.native.loops import slope
from models.parts.layers import ACTIVATIONS


def elman_step(
    words_ND: Tensor, states_NH: Tensor, W_HD: Tensor, U_HH: Tensor, b_H: Tensor, activation: str
) -> tuple[Tensor, Tensor, Tensor]:
    """For h' = s(W x + U h + b): h' (N, H), and its Jacobians with respect to h (N, H, H) and x (N, H, D).

    These are diag(s') U and diag(s') W, for every word and state.
    """
    next_NH = ACTIVATIONS[activation](words_ND @ W_HD.t() + states_NH @ U_HH.t() + b_H)
    slope_NH1 = slope(next_NH, activation).unsqueeze(2)
    return next_NH, slope_NH1 * U_HH, slope_NH1 * W_HD


def gru_step(
    words_ND: Tensor,
    states_NH: Tensor,
    W_3HD: Tensor,
    U_3HH: Tensor,
    b_3H: Tensor,
    activation: str,
    gate_activation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """For a gated recurrent unit: h' (N, H), and its Jacobians with respect to h (N, H, H) and x (N, H, D).

    As in `native.recurrence`, z, r = g(W x + U h + b), c = s(W x + U (r * h) + b), h' = (1 - z) * h + z * c. By h:

        diag(1 - z) + diag((c - h) g'(z)) U_z + diag(z s'(c)) U_c (diag(r) + diag(h g'(r)) U_r)

    and by x:

        diag((c - h) g'(z)) W_z + diag(z s'(c)) (W_c + U_c diag(h g'(r)) W_r)
    """
    (W_c, W_z, W_r), (U_c, U_z, U_r), (b_c, b_z, b_r) = W_3HD.chunk(3), U_3HH.chunk(3), b_3H.chunk(3)
    update_NH = ACTIVATIONS[gate_activation](words_ND @ W_z.t() + states_NH @ U_z.t() + b_z)
    reset_NH = ACTIVATIONS[gate_activation](words_ND @ W_r.t() + states_NH @ U_r.t() + b_r)
    candidate_NH = ACTIVATIONS[activation](words_ND @ W_c.t() + (reset_NH * states_NH) @ U_c.t() + b_c)
    next_NH = (1 - update_NH) * states_NH + update_NH * candidate_NH

    by_update_NH1 = ((candidate_NH - states_NH) * slope(update_NH, gate_activation)).unsqueeze(2)
    by_candidate_NH1 = (update_NH * slope(candidate_NH, activation)).unsqueeze(2)
    by_reset_NH1 = (states_NH * slope(reset_NH, gate_activation)).unsqueeze(2)
    reset_state_NHH = torch.diag_embed(reset_NH) + by_reset_NH1 * U_r
    by_state_NHH = torch.diag_embed(1 - update_NH) + by_update_NH1 * U_z + by_candidate_NH1 * (U_c @ reset_state_NHH)
    by_word_NHD = by_update_NH1 * W_z + by_candidate_NH1 * (W_c + U_c @ (by_reset_NH1 * W_r))
    return next_NH, by_state_NHH, by_word_NHD
