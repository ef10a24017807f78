"""The multilayer perceptron, applied to every word separately.

Shapes: B batch, T words, E embedding, C classes.
"""

from typing import ClassVar

from torch import Tensor

from models.native.padding import real_words
from models.parts.hyperparameters import Domain, Integer, Real
from models.parts.layers import ACTIVATION, Activation, Architecture, Layers, WordVectors, linear, tapered_layers


class MLP(Architecture):
    """Scores each word by a multilayer perceptron; the logits of a text are the mean scores of its words.

    - hidden_size: width of the first layer, 1 to 2048
    - num_layers: tapered layers after the first, 2 to 5: 48 and 24 units, further ones down to 8
    - activation: after every layer except the output, one of none, relu, tanh, sigmoid
    - dropout: share of the features dropped after the second tapered layer, 0 to 0.9
    """

    stacks = True
    pads = "hidden_size"
    hyperparameters: ClassVar[dict[str, Domain]] = {
        "hidden_size": Integer(1, 2048),
        "num_layers": Integer(2, 5),
        "activation": ACTIVATION,
        "dropout": Real(0.0, 0.9),
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
    ) -> None:
        super().__init__(embedding)
        self.first = Layers(linear(embedding.size, hidden_size, feeds=activation), Activation(activation))
        self.tapered = tapered_layers(hidden_size, num_layers, activation, dropout, num_classes, reads=activation)

    def word_scores(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The class scores (B, T, C) of each word, zero at padding. Their sum over a text, divided by its length, is
        the text's logits."""
        return self._score(self.embedding(tokens_BT), lengths_B)

    def classify(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        return self._score(words_BTE, lengths_B).sum(1) / lengths_B.unsqueeze(1)

    def _score(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        scores_BTC: Tensor = self.tapered(self.first(words_BTE))
        return scores_BTC * real_words(lengths_B, scores_BTC.shape[1]).unsqueeze(2)
