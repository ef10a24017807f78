"""The convolutional network against a plain one, text by text, and its word scores by hand.

Shapes: T words, P positions, E embedding, D input of a layer, H hidden, C classes.
"""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import models
from models.cnn import CNN
from models.parts.layers import ACTIVATIONS


def build(size: int = 4, seed: int = 0, **hyperparameters: object) -> CNN:
    torch.manual_seed(seed)
    vectors_VE = torch.randn(20, size)
    vectors_VE[0] = 0
    model = models.build("cnn", models.WordVectors(vectors_VE), 3, **hyperparameters)
    assert isinstance(model, CNN)
    return model.eval()


def plain(model: CNN, words_TE: Tensor) -> Tensor:
    """The logits (C) of one text, as its formula says: convolution, activation, maximum, in this order."""
    positions_DT = words_TE.t()
    for layer in model.layers:
        kernel_size = layer.W_HDK.shape[2]
        padded_DT = F.pad(positions_DT, ((kernel_size - 1) // 2, kernel_size // 2))
        convolved_HT = F.conv1d(padded_DT, layer.W_HDK, layer.b_H)
        active_HT = ACTIVATIONS[layer.activation](convolved_HT)
        positions_DT = F.max_pool1d(active_HT, 2, ceil_mode=True)
    return model.output(positions_DT.mean(1))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("num_layers", "kernel_size"), [(1, 3), (1, 4), (2, 1), (3, 3), (4, 2), (2, 9)])
def test_against_a_plain_network(num_layers: int, kernel_size: int, activation: str) -> None:
    model = build(hidden_size=6, num_layers=num_layers, kernel_size=kernel_size, activation=activation).double()
    lengths_B = torch.tensor([1, 2, 3, 7, 8, 13, 16, 17])
    tokens_BT = torch.randint(1, 20, (len(lengths_B), 17))
    words_BTE = model.embedding(tokens_BT).requires_grad_()
    found_BC = model.classify(words_BTE, lengths_B)
    expected_BC = torch.stack([plain(model, words_BTE[b, :length]) for b, length in enumerate(lengths_B)])
    torch.testing.assert_close(found_BC, expected_BC, rtol=1e-12, atol=1e-12)
    wanted = (words_BTE, *model.parameters())
    gradients = zip(*(torch.autograd.grad(y.square().sum(), wanted) for y in (found_BC, expected_BC)), strict=True)
    for found, expected in gradients:
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_all_that_is_before_the_second_layer_has_the_spread_of_what_it_reads() -> None:
    """Whatever the activation and the kernel: so every one of them trains."""
    words_BTE = torch.randn(50, 40, 50, generator=torch.Generator().manual_seed(1))
    for activation in ACTIVATIONS:
        for kernel_size in (1, 3, 9):
            model = build(50, hidden_size=64, num_layers=2, kernel_size=kernel_size, activation=activation)
            positions_BPH, _ = model.positions(words_BTE, torch.full((50,), 40))
            scale = 2.0 if activation == "sigmoid" else 1.0  # outputs from 0 to 1, where tanh has -1 to 1
            assert 0.3 < scale * positions_BPH.std().item() < 3


def scores(model: CNN, *numbers: float) -> Tensor:
    """The word scores (T, C) of a text whose words are these numbers."""
    with torch.no_grad():
        model.embedding.vectors_VE[1 : len(numbers) + 1, 0] = torch.tensor(numbers)
    return model.word_scores(torch.arange(1, len(numbers) + 1).unsqueeze(0), torch.tensor([len(numbers)]))[0]


def one_feature(num_layers: int, kernel_size: int) -> CNN:
    """Convolutions that add up what they read, and classes that get 1, -1 and 0 times the mean, and 0, 0 and 1."""
    model = build(1, hidden_size=1, num_layers=num_layers, kernel_size=kernel_size, activation="none")
    with torch.no_grad():
        for layer in model.layers:
            layer.W_HDK.fill_(1)
        model.output.weight.copy_(torch.tensor([[1.0], [-1], [0]]))
        model.output.bias.copy_(torch.tensor([0.0, 0, 1]))
    return model


def test_word_scores_by_hand() -> None:
    """Maxima 3, 2 and 5 of (1, 3), (2, -1) and (5): each goes to the word that won it, times 5 words for 3 positions,
    and so does the bias of the third class."""
    found_TC = scores(one_feature(1, 1), 1, 3, 2, -1, 5)
    expected = [[0, 0, 0], [3, -3, 1], [2, -2, 1], [0, 0, 0], [5, -5, 1]]
    torch.testing.assert_close(found_TC, torch.tensor(expected) * 5 / 3)


def test_word_scores_of_a_window_by_hand() -> None:
    """Sums of three: 4, 6, 4, 1 and their maxima 6, at the second word, and 4, at the third: each a third to each word
    that it read, times 4 words for 2 positions."""
    found_TC = scores(one_feature(1, 3), 1, 3, 2, -1)
    torch.testing.assert_close(found_TC[:, 0], torch.tensor([6.0, 6 + 4, 6 + 4, 4]) / 3 * 2)
    torch.testing.assert_close(found_TC[:, 2], torch.tensor([1.0, 2, 2, 1]) / 3 * 2)


def test_word_scores_of_two_layers_by_hand() -> None:
    """Sums 4, 6, 4, 1; maxima 6, 4; sums 10, 10; of equal ones the first wins: 10, half from each of the maxima."""
    found_TC = scores(one_feature(2, 3), 1, 3, 2, -1)
    torch.testing.assert_close(found_TC[:, 0], torch.tensor([5.0, 5 + 5, 5 + 5, 5]) / 3 * 4)


@pytest.mark.parametrize(("num_layers", "kernel_size"), [(1, 3), (2, 4), (4, 5)])
def test_word_scores_add_up_in_double_precision(num_layers: int, kernel_size: int) -> None:
    model = build(hidden_size=6, num_layers=num_layers, kernel_size=kernel_size).double()
    with torch.no_grad():
        model.output.bias.add_(1)
    lengths_B = torch.tensor([1, 2, 9, 14])
    tokens_BT = torch.randint(1, 20, (4, 14))
    scores_BTC = model.word_scores(tokens_BT, lengths_B)
    assert not scores_BTC[torch.arange(14) >= lengths_B.unsqueeze(1)].any()
    torch.testing.assert_close(
        scores_BTC.sum(1) / lengths_B.unsqueeze(1), model(tokens_BT, lengths_B), rtol=1e-13, atol=1e-13
    )
