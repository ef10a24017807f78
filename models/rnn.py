"""The Elman network.

Shapes: B batch, T words, E embedding, D input of a layer, H hidden, C classes.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from models.native.padding import padding
from models.native.recurrence import elman
from models.parts import jacobians
from models.parts.hyperparameters import Choice, Domain, Integer, Real
from models.parts.layers import ACTIVATION, ACTIVATIONS, POOLING, Architecture, Dropout, WordVectors, linear, pool


class RNN(Architecture):
    """Stacked Elman networks (Elman 1990), h_t = s(W x_t + U h_{t-1} + b), then a linear layer.

    - hidden_size: H, 1 to 2048
    - num_layers: networks stacked, each reading the states of the one below, 1 to 4
    - activation: s, one of none, relu, tanh, sigmoid
    - dropout: share of the states dropped between layers and before the linear layer, 0 to 0.9
    - pooling: input of the linear layer: the state after the `last` real word or the `mean` over real words
    - output_activation: applied to the class scores, none or sigmoid
    """

    recurrent = True
    stacks = True
    pads = "hidden_size"
    hyperparameters: ClassVar[dict[str, Domain]] = {
        "hidden_size": Integer(1, 2048),
        "num_layers": Integer(1, 4),
        "activation": ACTIVATION,
        "dropout": Real(0.0, 0.9),
        "pooling": POOLING,
        "output_activation": Choice(("none", "sigmoid")),
    }

    def __init__(
        self,
        embedding: WordVectors,
        num_classes: int,
        *,
        hidden_size: int = 64,
        num_layers: int = 1,
        activation: str = "tanh",
        dropout: float = 0.0,
        pooling: str = "last",
        output_activation: str = "none",
    ) -> None:
        super().__init__(embedding)
        self.pooling, self.output_activation = pooling, output_activation
        sizes = [embedding.size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(
            ElmanLayer(size, hidden_size, activation, reads=activation if number > 0 else "none")
            for number, size in enumerate(sizes)
        )
        self.dropout = Dropout(dropout)
        self.output = linear(hidden_size, num_classes, reads=activation)

    def classify(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        states_TBH = words_BTE.transpose(0, 1)
        padding_TB = padding(lengths_B, len(states_TBH))
        for number, layer in enumerate(self.layers):
            states_TBH = layer(self.dropout(states_TBH) if number > 0 else states_TBH, padding_TB)
        text_BH = pool(states_TBH, lengths_B, self.pooling)
        return ACTIVATIONS[self.output_activation](self.output(self.dropout(text_BH)))


class ElmanLayer(nn.Module):
    """Maps inputs (T, B, D) to states (T, B, H). reads: the activation that produced the inputs.

    Initially U is the identity and W is small, so that the state is a sum over all words, or with relu its positive
    part (Le, Jaitly and Hinton 2015). With random weights, even orthogonal ones, the first words of a text are
    forgotten, and few settings learn anything from a hundred words.
    """

    def __init__(self, size_in: int, hidden_size: int, activation: str, *, reads: str) -> None:
        super().__init__()
        self.activation = activation
        W = linear(size_in, hidden_size, reads=reads, feeds=activation, gain=0.1)
        U_HH = torch.eye(hidden_size)
        if activation == "sigmoid":
            U_HH *= 4  # both doublings and the bias of layers.linear
            W.bias.data -= U_HH.sum(1) / 2
        self.W_HD, self.U_HH, self.b_H = W.weight, nn.Parameter(U_HH), W.bias

    def forward(self, inputs_TBD: Tensor, padding_TB: Tensor | None = None) -> Tensor:
        return elman(inputs_TBD, self.W_HD, self.U_HH, self.b_H, self.activation, padding_TB)

    def step(self, inputs_ND: Tensor, states_NH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The states after one input, and their Jacobians (see `jacobians.elman_step`)."""
        return jacobians.elman_step(inputs_ND, states_NH, self.W_HD, self.U_HH, self.b_H, self.activation)
