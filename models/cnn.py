"""The convolutional network.

Shapes: B batch, T words or positions, P positions after pooling, E embedding, D input of a layer, H hidden, K kernel,
C classes.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.native import stacking
from models.native.padding import real_words
from models.parts.geometry import Window
from models.parts.hyperparameters import Domain, Integer, Real
from models.parts.layers import ACTIVATION, ACTIVATIONS, Architecture, Dropout, WordVectors, linear, pool

POOL = 2  # positions per max-pooling window


class CNN(Architecture):
    """A stack of convolutions over words (Kim 2014), each followed by max-pooling of every two positions; then a linear
    layer on the mean over the remaining positions. Texts are padded with zeros.

    - hidden_size: channels of each convolution, 1 to 2048
    - num_layers: convolutions, each with its pooling, 1 to 4
    - activation: after each pooling, one of none, relu, tanh, sigmoid
    - dropout: share of the features dropped between layers and before the linear layer, 0 to 0.9
    - kernel_size: how many words or positions a convolution reads at once, 1 to 31
    """

    stacks = True
    pads = "hidden_size"
    hyperparameters: ClassVar[dict[str, Domain]] = {
        "hidden_size": Integer(1, 2048),
        "num_layers": Integer(1, 4),
        "activation": ACTIVATION,
        "dropout": Real(0.0, 0.9),
        "kernel_size": Integer(1, 31),
    }

    def __init__(
        self,
        embedding: WordVectors,
        num_classes: int,
        *,
        hidden_size: int = 64,
        num_layers: int = 1,
        activation: str = "relu",
        dropout: float = 0.0,
        kernel_size: int = 3,
    ) -> None:
        super().__init__(embedding)
        sizes = [embedding.size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(
            Convolution(size, hidden_size, kernel_size, activation, reads=activation if number > 0 else "none")
            for number, size in enumerate(sizes)
        )
        self.dropout = Dropout(dropout)
        self.output = linear(hidden_size, num_classes, reads=activation)

    @property
    def windows(self) -> list[Window]:
        """The input windows of the steps in order: convolution, pooling, convolution, ..."""
        return [window for layer in self._convolutions for window in layer.windows]

    @property
    def _convolutions(self) -> list["Convolution"]:
        return [layer for layer in self.layers if isinstance(layer, Convolution)]

    def word_scores(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The class scores (B, T, C) of each word, zero at padding. Their sum over a text, divided by its length, is
        the text's logits.

        The scores of positions are exact: a linear layer can be applied before the mean (class activation maps, Zhou et
        al. 2016). `Convolution.origins` divides them among words.
        """
        positions_BTD = self.embedding(tokens_BT)
        origins_BPT = torch.eye(tokens_BT.shape[1], device=tokens_BT.device).expand(len(tokens_BT), -1, -1)
        num_positions_B = lengths_B
        for layer in self._convolutions:
            origins_BPT = layer.origins(positions_BTD, num_positions_B) @ origins_BPT.to(positions_BTD)
            positions_BTD = layer(positions_BTD, num_positions_B)
            num_positions_B = num_pooled(num_positions_B)
        scores_BPC = self.output(positions_BTD) * real_words(num_positions_B, positions_BTD.shape[1]).unsqueeze(2)
        scores_BTC: Tensor = origins_BPT.transpose(1, 2) @ scores_BPC
        return scores_BTC * lengths_B.view(-1, 1, 1) / num_positions_B.view(-1, 1, 1)

    def position_scores(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The class scores (B, P, C) of each position after the last pooling."""
        scores_BPC: Tensor = self.output(self.positions(self.embedding(tokens_BT), lengths_B)[0])
        return scores_BPC

    def positions(self, words_BTE: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """The features after the last pooling (B, P, H), zero at padding, and the positions of each text (B)."""
        positions_BTD = words_BTE
        for number, layer in enumerate(self.layers):
            positions_BTD = layer(self.dropout(positions_BTD) if number > 0 else positions_BTD, lengths_B)
            lengths_B = num_pooled(lengths_B)
        return positions_BTD, lengths_B

    def classify(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        positions_BPH, num_positions_B = self.positions(words_BTE, lengths_B)
        text_BH = pool(positions_BPH.transpose(0, 1), num_positions_B, "mean")
        logits_BC: Tensor = self.output(self.dropout(text_BH))
        return logits_BC


class Convolution(nn.Module):
    """Maps inputs (B, T, D), outputs of the activation `reads`, to half as many positions (B, P, H): a convolution,
    max-pooling of every two positions, and the activation.

    Activations are monotonic, so applying them after max-pooling is equivalent and halves the work. The inputs are kept
    as an image of one row with channels last: torch's convolution and pooling then take a third to two thirds of the
    time that they take in the layout of `conv1d`, and the adjacent layers need no copy.
    """

    def __init__(self, size_in: int, hidden_size: int, kernel_size: int, activation: str, *, reads: str) -> None:
        super().__init__()
        self.activation = activation
        all_at_once = linear(kernel_size * size_in, hidden_size, reads=reads, feeds=activation)
        self.W_HDK = nn.Parameter(all_at_once.weight.detach().view(hidden_size, kernel_size, size_in).transpose(1, 2))
        self.b_H = all_at_once.bias

    @property
    def windows(self) -> tuple[Window, Window]:
        kernel_size = self.W_HDK.shape[2]
        return Window(kernel_size, padding=(kernel_size - 1) // 2), Window(POOL, stride=POOL)

    def forward(self, inputs_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        pooled_BH1P = F.max_pool2d(self._convolve(inputs_BTD, lengths_B), (1, POOL), ceil_mode=True)
        outputs_BPH = ACTIVATIONS[self.activation](pooled_BH1P).squeeze(2).transpose(1, 2)
        real_BP = real_words(num_pooled(lengths_B), outputs_BPH.shape[1])
        return outputs_BPH.masked_fill(~real_BP.unsqueeze(2), 0)

    def _convolve(self, inputs_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """(B, H, 1, T); -inf after the last position of a text, so that it never wins the maximum."""
        real_BT = real_words(lengths_B, inputs_BTD.shape[1])
        kernel_size = self.W_HDK.shape[2]
        inputs_BTD = inputs_BTD.masked_fill(~real_BT.unsqueeze(2), 0)
        inputs_BTD = F.pad(inputs_BTD, (0, 0, (kernel_size - 1) // 2, kernel_size // 2))
        convolved_BH1T = F.conv2d(inputs_BTD.transpose(1, 2).unsqueeze(2), self.W_HDK.unsqueeze(2), self.b_H)
        if stacking.active():  # torch.vmap cannot assign to indices that are the same for all networks
            after_BT = torch.arange(real_BT.shape[1], device=lengths_B.device) == lengths_B.unsqueeze(1)
            return convolved_BH1T.masked_fill(after_BT[:, None, None], -torch.inf)
        # A text of full width has no position after its last one: the value there is kept.
        text_B, after_B = torch.arange(len(lengths_B), device=lengths_B.device), lengths_B.long()
        last_B = after_B.clamp(max=real_BT.shape[1] - 1)
        whole_B11 = (after_B > last_B).view(-1, 1, 1)
        convolved_BH1T[text_B, :, :, last_B] = convolved_BH1T[text_B, :, :, last_B].where(whole_B11, -torch.inf)
        return convolved_BH1T

    @torch.no_grad()
    def origins(self, inputs_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """The shares of inputs in each output (B, P, T); rows sum to one and are zero at padding.

        Max-pooling divides an output between its two positions in proportion to the number of features that each of
        them won. A convolution divides evenly among the real inputs in its window.
        """
        convolved_BH1T = self._convolve(inputs_BTD, lengths_B)
        num_words = inputs_BTD.shape[1]
        real_BT = real_words(lengths_B, num_words)
        winner_BHP = F.max_pool2d(convolved_BH1T, (1, POOL), ceil_mode=True, return_indices=True)[1].squeeze(2)
        won_BPT = F.one_hot(winner_BHP, num_words).to(inputs_BTD).mean(1)
        position_T = torch.arange(num_words, device=real_BT.device)
        offset_TT = position_T - position_T.unsqueeze(1)
        kernel_size = self.W_HDK.shape[2]
        near_TT = (offset_TT >= -((kernel_size - 1) // 2)) & (offset_TT <= kernel_size // 2)
        read_BTT = (near_TT & real_BT.unsqueeze(1)).to(inputs_BTD)
        origins_BPT = won_BPT @ (read_BTT / read_BTT.sum(2, keepdim=True).clamp(min=1))
        real_BP = real_words(num_pooled(lengths_B), origins_BPT.shape[1])
        return origins_BPT * real_BP.unsqueeze(2)


def num_pooled(lengths_B: Tensor) -> Tensor:
    """The number of positions of each text after a pooling; a last position without a neighbour is kept."""
    return (lengths_B + POOL - 1) // POOL
