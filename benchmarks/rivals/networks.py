"""The five architectures in plain torch: nn.RNN and nn.GRU if they support the activation, else a loop over the words.

Shapes: B batch, T words, P pairs of words, S words and pairs, E embedding, H hidden, C classes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

BUCKETS = 2**20  # rows that pairs of words share
WINDOW = 5
MULTIPLIER = -0x61C8864680B583EB  # of the hash of a pair: odd, 2**64 divided by the golden ratio
WIDTHS = {2: (48, 24), 3: (48, 24, 12), 4: (48, 24, 12, 8), 5: (48, 24, 12, 10, 8)}
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def build(vectors_VE: Tensor, config: dict[str, Any]) -> nn.Module:
    """The untrained network of a configuration: architecture and its `hyperparameters`."""
    kind = config["architecture"]
    shape = hyperparameters(config)
    if kind == "ngram":
        return Ngram(len(vectors_VE), **shape)
    return Recurrent(vectors_VE, kind, **shape) if kind in ("rnn", "gru") else PerWord(vectors_VE, kind, **shape)


def hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    """Those of a configuration that its network takes."""
    deep = () if config["architecture"] == "ngram" else ("num_layers", "activation")
    return {name: config[name] for name in ("hidden_size", "dropout", *deep)}


class Recurrent(nn.Module):
    def __init__(
        self,
        vectors_VE: Tensor,
        kind: str,
        *,
        hidden_size: int,
        num_layers: int,
        activation: str,
        dropout: float,
        num_classes: int = 2,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(vectors_VE, padding_idx=0)
        size = vectors_VE.shape[1]
        shape: dict[str, Any] = {"num_layers": num_layers, "batch_first": True}
        if num_layers > 1:
            shape["dropout"] = dropout
        self.layers: nn.Module
        if kind == "rnn" and activation in ("tanh", "relu"):
            self.layers = nn.RNN(size, hidden_size, nonlinearity=activation, **shape)
        elif kind == "gru" and activation == "tanh":
            self.layers = nn.GRU(size, hidden_size, **shape)
        else:
            self.layers = Loops(kind, size, hidden_size, num_layers, activation, dropout)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, num_classes)

    def forward(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        states_BTH, _ = self.layers(self.embedding(tokens_BT))
        last_BH = states_BTH[torch.arange(len(lengths_B)), lengths_B - 1]
        return self.output(self.dropout(last_BH))


class Loops(nn.Module):
    """Recurrent layers with any activation, which torch does not have."""

    def __init__(
        self, kind: str, size: int, hidden_size: int, num_layers: int, activation: str, dropout: float
    ) -> None:
        super().__init__()
        loop = ElmanLoop if kind == "rnn" else GRULoop
        sizes = [size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(loop(each, hidden_size, ACTIVATIONS[activation]()) for each in sizes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs_BTE: Tensor) -> tuple[Tensor, None]:
        states_BTH = self.layers[0](inputs_BTE)
        for layer in self.layers[1:]:
            states_BTH = layer(self.dropout(states_BTH))
        return states_BTH, None


class ElmanLoop(nn.Module):
    def __init__(self, size: int, hidden_size: int, activation: nn.Module) -> None:
        super().__init__()
        self.input = nn.Linear(size, hidden_size)
        self.hidden = nn.Linear(hidden_size, hidden_size, bias=False)
        self.activation = activation

    def forward(self, inputs_BTE: Tensor) -> Tensor:
        inputs_BTH = self.input(inputs_BTE)  # all words at once
        state_BH = torch.zeros_like(inputs_BTH[:, 0])
        states = []
        for input_BH in inputs_BTH.unbind(1):
            state_BH = self.activation(input_BH + self.hidden(state_BH))
            states.append(state_BH)
        return torch.stack(states, 1)


class GRULoop(nn.Module):
    def __init__(self, size: int, hidden_size: int, activation: nn.Module) -> None:
        super().__init__()
        self.input = nn.Linear(size, 3 * hidden_size)  # for the candidate and the gates z and r
        self.gates = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        self.candidate = nn.Linear(hidden_size, hidden_size, bias=False)
        self.activation = activation

    def forward(self, inputs_BTE: Tensor) -> Tensor:
        hidden_size = self.candidate.in_features
        state_BH = inputs_BTE.new_zeros(len(inputs_BTE), hidden_size)
        states = []
        for input_B3H in self.input(inputs_BTE).unbind(1):
            c, gates_B2H = input_B3H.split((hidden_size, 2 * hidden_size), 1)
            z, r = torch.sigmoid(gates_B2H + self.gates(state_BH)).chunk(2, 1)
            c = self.activation(c + self.candidate(r * state_BH))
            state_BH = (1 - z) * state_BH + z * c
            states.append(state_BH)
        return torch.stack(states, 1)


class PerWord(nn.Module):
    """A perceptron per word, with or without attention to neighbouring words; the logits are the mean of the words'
    scores."""

    def __init__(
        self,
        vectors_VE: Tensor,
        kind: str,
        *,
        hidden_size: int,
        num_layers: int,
        activation: str,
        dropout: float,
        num_classes: int = 2,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(vectors_VE, padding_idx=0)
        s = ACTIVATIONS[activation]
        self.first = nn.Sequential(nn.Linear(vectors_VE.shape[1], hidden_size), s())
        self.attention = NeighbourAttention(hidden_size) if kind == "attention" else None
        layers: list[nn.Module] = []
        size = hidden_size
        for number, width in enumerate(WIDTHS[num_layers], start=1):
            layers += [nn.Linear(size, width), s()]
            if number == 2:
                layers.append(nn.Dropout(dropout))
            size = width
        self.tapered = nn.Sequential(*layers, nn.Linear(size, num_classes))

    def forward(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        real_BT = torch.arange(tokens_BT.shape[1]) < lengths_B.unsqueeze(1)
        hidden_BTH = self.first(self.embedding(tokens_BT))
        if self.attention is not None:
            hidden_BTH = self.attention(hidden_BTH, real_BT)
        scores_BTC = self.tapered(hidden_BTH)
        return (scores_BTC * real_BT.unsqueeze(2)).sum(1) / lengths_B.unsqueeze(1)


class NeighbourAttention(nn.Module):
    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size, bias=False)
        self.value = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden_BTH: Tensor, real_BT: Tensor) -> Tensor:
        position_T = torch.arange(hidden_BTH.shape[1])
        near_TT = (position_T - position_T.unsqueeze(1)).abs() <= WINDOW
        itself_TT = torch.eye(len(position_T), dtype=torch.bool)  # padding must have something to attend to
        mask_BTT = near_TT & real_BT.unsqueeze(1) | itself_TT
        return scaled_dot_product_attention(
            self.query(hidden_BTH), self.key(hidden_BTH), self.value(hidden_BTH), attn_mask=mask_BTT
        )


class Ngram(nn.Module):
    """The mean of the vectors of a text's words and hashed pairs of words, then a linear layer, as in fastText."""

    def __init__(
        self, num_words: int, *, hidden_size: int, dropout: float, buckets: int = BUCKETS, num_classes: int = 2
    ) -> None:
        super().__init__()
        self.num_words, self.buckets, self.dropout = num_words, buckets, dropout
        self.bag = nn.EmbeddingBag(num_words + buckets, hidden_size, mode="mean", padding_idx=0, sparse=True)
        self.output = nn.Linear(hidden_size, num_classes)

    def forward(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        first_BP, second_BP = tokens_BT[:, :-1], tokens_BT[:, 1:]
        hash_BP = (first_BP + 1) * MULTIPLIER + second_BP
        hash_BP = (hash_BP ^ (hash_BP >> 29)) * MULTIPLIER
        bucket_BP = ((hash_BP >> 32) & 0xFFFFFFFF) * self.buckets >> 32
        pairs_BP = (self.num_words + bucket_BP) * (second_BP != 0)
        rows_BS = torch.cat((tokens_BT, pairs_BP), 1)
        if self.training:
            rows_BS = rows_BS * (torch.rand(rows_BS.shape) >= self.dropout)
        return self.output(self.bag(rows_BS))


@torch.no_grad()
def start_equal(network: nn.Module, ours: nn.Module) -> None:
    """Copy the initial weights of our model with the same configuration into the network.

    torch's recurrent layers have a second, redundant bias, which stays zero and untrained.
    """
    if isinstance(network, Recurrent):
        for number, layer in enumerate(ours.layers):  # type: ignore[arg-type]
            W, U, b = (next(value for name, value in layer.named_parameters() if name[0] == each) for each in "WUb")
            _start_layer(network.layers, number, W, U, b)
        network.output.load_state_dict(ours.output.state_dict())  # type: ignore[union-attr]
    elif isinstance(network, Ngram):
        network.bag.weight.copy_(ours.bag.rows_RH)  # type: ignore[union-attr, arg-type]
        network.output.load_state_dict(ours.output.state_dict())  # type: ignore[union-attr]
    else:
        linear = [[each for each in module.modules() if isinstance(each, nn.Linear)] for module in (network, ours)]
        for mine, theirs in zip(*linear, strict=True):
            mine.load_state_dict(theirs.state_dict())


def _start_layer(layers: nn.Module, number: int, W: Tensor, U: Tensor, b: Tensor) -> None:
    if isinstance(layers, nn.RNNBase):
        if isinstance(layers, nn.GRU):  # torch's gates are r and 1 - z, before the candidate
            W, U, b = (torch.cat((r, -z, c)) for c, z, r in (each.chunk(3) for each in (W, U, b)))
        for name, value in (("weight_ih", W), ("weight_hh", U), ("bias_ih", b), ("bias_hh", torch.zeros_like(b))):
            getattr(layers, f"{name}_l{number}").copy_(value)
        getattr(layers, f"bias_hh_l{number}").requires_grad_(False)
        return
    layer: Any = layers.layers[number]  # type: ignore[index]
    layer.input.weight.copy_(W)
    layer.input.bias.copy_(b)
    if isinstance(layer, ElmanLoop):
        layer.hidden.weight.copy_(U)
    else:
        layer.candidate.weight.copy_(U[: len(U) // 3])
        layer.gates.weight.copy_(U[len(U) // 3 :])
