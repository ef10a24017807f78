"""Restricted self-attention: every word with its neighbours.

Shapes: B batch, T words, E embedding, H hidden, C classes, K window on either side; N blocks of S words, whose keys are
M = S + 2K words.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.hyperparameters import Integer, Real
from models.layers import ACTIVATION, Activation, Architecture, WordVectors, real_words, tapered_layers


class Attention(Architecture):
    """As the multilayer perceptron, but after the first layer each word's vector is replaced by what it attends to
    among itself and its neighbours, by scaled dot products (Vaswani et al. 2017). Padding is never attended to.

    hidden_size: width of the first layer and of queries, keys and values, 1 to 2048
    num_layers: tapered layers after the attention, 2 to 5
    activation: after each layer but the attention and the output, one of none, relu, tanh, sigmoid
    dropout: share of the features dropped after the second tapered layer, 0 to 0.9
    window: how many words on either side a word attends to, 1 to 100
    """

    hyperparameters = {
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
        self.first = nn.Sequential(nn.Linear(embedding.size, hidden_size), Activation(activation))
        self.query, self.key, self.value = (nn.Linear(hidden_size, hidden_size) for _ in range(3))
        self.tapered = tapered_layers(hidden_size, num_layers, activation, dropout, num_classes)

    def word_scores(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The class scores (B, T, C) of each word, zero at padding; their sum over a text, divided by its length, is its
        logits."""
        return self._score(self.embedding(tokens_BT), lengths_B)

    def attention_weights(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """How much each word attends to each word of its window, (B, T, 2K+1), itself in the middle; each word's weights
        sum to one. Those at padding mean nothing."""
        hidden_BTH = self.first(self.embedding(tokens_BT))
        weights_BNSM = window_weights(self.query(hidden_BTH), self.key(hidden_BTH), lengths_B, self.window)
        size_S, size_M = weights_BNSM.shape[2:]
        band_SJ = torch.arange(size_S, device=weights_BNSM.device).unsqueeze(1) + torch.arange(
            size_M - size_S + 1, device=weights_BNSM.device
        )
        weights_BNSJ = weights_BNSM.gather(3, band_SJ.expand(*weights_BNSM.shape[:2], -1, -1))
        return weights_BNSJ.flatten(1, 2)[:, : tokens_BT.shape[1]]

    def classify(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        return self._score(words_BTE, lengths_B).sum(1) / lengths_B.unsqueeze(1)

    def _score(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        hidden_BTH = self.first(words_BTE)
        weights_BNSM = window_weights(self.query(hidden_BTH), self.key(hidden_BTH), lengths_B, self.window)
        attended_BTH = window_attend(weights_BNSM, self.value(hidden_BTH), self.window)
        scores_BTC = self.tapered(attended_BTH)
        return scores_BTC * real_words(lengths_B, scores_BTC.shape[1]).unsqueeze(2)


def window_weights(queries_BTH: Tensor, keys_BTH: Tensor, lengths_B: Tensor, window: int) -> Tensor:
    """The attention weights (B, N, S, M) of queries in blocks of S words: memory is linear in words times window.

    Word s of block n is word n*S + s of the text, and key m of block n is word n*S + m - K; weights are zero outside
    the window and at padding.
    """
    num_words = queries_BTH.shape[1]
    size = 2 * window  # S: then the keys of a block are those of two blocks
    blocks_of_queries = F.pad(queries_BTH, (0, 0, 0, -num_words % size)).unflatten(1, (-1, size))
    keys_BNMH = _neighbours(keys_BTH, window)
    device = lengths_B.device
    offset_SM = torch.arange(2 * size, device=device) - torch.arange(size, device=device).unsqueeze(1)
    near_SM = (offset_SM >= 0) & (offset_SM <= 2 * window)
    real_BN1M = _neighbours(real_words(lengths_B, num_words).unsqueeze(2), window).transpose(2, 3)
    scores_BNSM = blocks_of_queries @ keys_BNMH.transpose(2, 3) / math.sqrt(queries_BTH.shape[2])
    # The lowest finite number, not -inf: a padded query may have no key at all, and must not become NaN.
    return scores_BNSM.masked_fill(~(near_SM & real_BN1M), torch.finfo(scores_BNSM.dtype).min).softmax(3)


def window_attend(weights_BNSM: Tensor, values_BTH: Tensor, window: int) -> Tensor:
    """The weighted sums (B, T, H) of values, by weights from `window_weights`."""
    return (weights_BNSM @ _neighbours(values_BTH, window)).flatten(1, 2)[:, : values_BTH.shape[1]]


def _neighbours(x_BTH: Tensor, window: int) -> Tensor:
    """The words that each block of 2K words may attend to, (B, N, 4K, H), from K words before it to K after it."""
    size = 2 * window
    padded = F.pad(x_BTH, (0, 0, window, -x_BTH.shape[1] % size + window))  # K + N * 2K + K words: N + 1 blocks
    blocks = padded.unflatten(1, (-1, size))
    return torch.cat((blocks[:, :-1], blocks[:, 1:]), 2)
