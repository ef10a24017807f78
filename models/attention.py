"""Self-attention restricted to neighbouring words.

Shapes: B batch, T words, E embedding, H hidden, F features of the first tapered layer, P = H + F,
C classes.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.native.dense import dense
from models.native.padding import real_words
from models.native.window import window_attention, window_weights
from models.parts.hyperparameters import Domain, Integer, Real
from models.parts.layers import ACTIVATION, Activation, Architecture, Layers, WordVectors, linear, tapered_layers


class Attention(Architecture):
    """Like the multilayer perceptron, but after the first layer each word attends to itself and its neighbours by
    scaled dot products (Vaswani et al. 2017). Padding is never attended to.

    - hidden_size: width of the first layer and of queries, keys and values, 1 to 2048
    - num_layers: tapered layers after the attention, 2 to 5: 48 and 24 units, further ones down to 8
    - activation: after every layer except the attention and the output, one of none, relu, tanh, sigmoid
    - dropout: share of the features dropped after the second tapered layer, 0 to 0.9
    - window: how many words on either side a word attends to, 1 to 100
    """

    stacks = True
    pads = "hidden_size"
    hyperparameters: ClassVar[dict[str, Domain]] = {
        "hidden_size": Integer(1, 2048),
        "num_layers": Integer(2, 5),
        "activation": ACTIVATION,
        "dropout": Real(0.0, 0.9),
        "window": Integer(1, 100),
    }

    def __init__(
        self,
        embedding: WordVectors,
        num_classes: int,
        *,
        hidden_size: int = 64,
        num_layers: int = 2,
        activation: str = "relu",
        dropout: float = 0.0,
        window: int = 5,
    ) -> None:
        super().__init__(embedding)
        self.window = window
        self.first = Layers(linear(embedding.size, hidden_size, feeds=activation), Activation(activation))
        self.query = linear(hidden_size, hidden_size, reads=activation)
        self.key = linear(hidden_size, hidden_size, reads=activation, bias=False)  # a bias would have no effect
        self.value = linear(hidden_size, hidden_size, reads=activation)
        self.tapered = tapered_layers(hidden_size, num_layers, activation, dropout, num_classes, reads="none")

    def word_scores(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The class scores (B, T, C) of each word, zero at padding. Their sum over a text, divided by its length, is
        the text's logits."""
        return self._score(self.embedding(tokens_BT), lengths_B)

    def attention_weights(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The attention of each word to the words in its window, (B, T, 2 window + 1), itself in the middle. The
        weights of a word sum to one; those of padding are meaningless."""
        hidden_BTH = self.first(self.embedding(tokens_BT))
        return window_weights(dense(hidden_BTH, *self._queries()), hidden_BTH, lengths_B, self.window)

    def classify(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        return self._score(words_BTE, lengths_B).sum(1) / lengths_B.unsqueeze(1)

    def _score(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        hidden_BTH = self.first(words_BTE)
        (of_queries_HH, queries_H), (of_values_FH, values_F) = self._queries(), self._values()
        weight_PH, bias_P = torch.cat((of_queries_HH, of_values_FH)), torch.cat((queries_H, values_F))
        attended_BTF = window_attention(dense(hidden_BTH, weight_PH, bias_P), hidden_BTH, lengths_B, self.window)
        scores_BTC: Tensor = self.tapered[1:](attended_BTF)
        return scores_BTC * real_words(lengths_B, scores_BTC.shape[1]).unsqueeze(2)

    # Multiplying the small weight matrices first saves two products with the hidden vectors of all words; the remaining
    # two are computed as one.

    def _queries(self) -> tuple[Tensor, Tensor]:
        """Weight (H, H) and bias: (W_q x + b_q) . (W_k y) / sqrt(H) = (W_k' (W_q x + b_q) / sqrt(H)) . y: so y itself
        serves as the key."""
        root = math.sqrt(len(self.key.weight)) if self.own_width is None else self.own_width.sqrt()
        key_HH = self.key.weight.t() / root
        return key_HH @ self.query.weight, key_HH @ self.query.bias

    def _values(self) -> tuple[Tensor, Tensor]:
        """Weight (F, H) and bias of the first tapered layer applied to the values: it is linear, so it can be applied
        before the weighted mean."""
        narrow = self.tapered[0]
        assert isinstance(narrow, nn.Linear)
        return narrow.weight @ self.value.weight, narrow.weight @ self.value.bias + narrow.bias
