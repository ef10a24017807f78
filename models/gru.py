"""The gated recurrent unit.

Shapes: B batch, T words, E embedding, D input of a layer, H hidden, C classes.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from models.native.padding import padding
from models.native.recurrence import gru
from models.parts import jacobians
from models.parts.hyperparameters import Choice, Domain, Integer, Real
from models.parts.layers import ACTIVATION, ACTIVATIONS, POOLING, Architecture, Dropout, WordVectors, linear, pool


class GRU(Architecture):
    """A stack of gated recurrent units (Cho et al. 2014), then a linear layer. Every product below has separate weights
    W, U and b:

        z, r = g(W x_t + U h_{t-1} + b)
        c = s(W x_t + U (r * h_{t-1}) + b)
        h_t = (1 - z) * h_{t-1} + z * c

    - hidden_size: H, 1 to 2048
    - num_layers: units stacked, each reading the states of the one below, 1 to 4
    - activation: s, one of none, relu, tanh, sigmoid
    - gate_activation: g, sigmoid or relu
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
        "gate_activation": Choice(("sigmoid", "relu")),
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
        gate_activation: str = "sigmoid",
        dropout: float = 0.0,
        pooling: str = "last",
        output_activation: str = "none",
    ) -> None:
        super().__init__(embedding)
        self.pooling, self.output_activation = pooling, output_activation
        sizes = [embedding.size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(
            GRULayer(size, hidden_size, activation, gate_activation, reads=activation if number > 0 else "none")
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


class GRULayer(nn.Module):
    """Maps inputs (T, B, D) to states (T, B, H). reads: the activation that produced the inputs.

    Initially every U is orthogonal (Saxe, McClelland and Ganguli 2014). A relu gate is not limited to [0, 1], and large
    values make states explode, so relu gates start almost constant: the reset gate at 1, the update gate at 0.1.
    """

    def __init__(self, size_in: int, hidden_size: int, activation: str, gate_activation: str, *, reads: str) -> None:
        super().__init__()
        self.activation, self.gate_activation = activation, gate_activation
        gate_gain = 0.1 if gate_activation == "relu" else 1.0
        candidate = linear(size_in, hidden_size, reads=reads, feeds=activation)
        update, reset = (linear(size_in, hidden_size, reads=reads, gain=gate_gain) for _ in range(2))
        U_candidate, U_update, U_reset = (
            nn.init.orthogonal_(torch.empty(hidden_size, hidden_size), gain) for gain in (1.0, gate_gain, gate_gain)
        )
        if activation == "sigmoid":
            U_candidate *= 4  # both doublings of layers.linear; its bias is halved, as the reset gate starts at 1/2
            candidate.bias.data -= U_candidate.sum(1) / 4
        if gate_activation == "relu":
            update.bias.data += 0.1
            reset.bias.data += 1
        parts = (candidate, update, reset)
        self.W_3HD = nn.Parameter(torch.cat([part.weight.detach() for part in parts]))
        self.U_3HH = nn.Parameter(torch.cat((U_candidate, U_update, U_reset)))
        self.b_3H = nn.Parameter(torch.cat([part.bias.detach() for part in parts]))

    def forward(self, inputs_TBD: Tensor, padding_TB: Tensor | None = None) -> Tensor:
        return gru(inputs_TBD, self.W_3HD, self.U_3HH, self.b_3H, self.activation, self.gate_activation, padding_TB)

    def step(self, inputs_ND: Tensor, states_NH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The states after one input, and their Jacobians (see `jacobians.gru_step`)."""
        weights = self.W_3HD, self.U_3HH, self.b_3H
        return jacobians.gru_step(inputs_ND, states_NH, *weights, self.activation, self.gate_activation)
