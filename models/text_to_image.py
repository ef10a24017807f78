"""From a sentence to an image: a recurrent encoder, attention from the image's quadrants to the words, a decoder.

Shapes: B batch, T words, E embedding, H hidden, M heads, D features of a head, L features of a latent (M times D),
Q quadrants (top left, top right, bottom left, bottom right), Y rows, X columns.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.gru import GRULayer
from models.native.padding import padding, real_words
from models.parts.hyperparameters import Domain, Integer, Real
from models.parts.layers import ACTIVATION, Activation, Architecture, Dropout, WordVectors, linear, pool

QUADRANTS = 4
CHANNELS = 16  # of the convolutions in the decoder


class TextToImage(Architecture):
    """Gated recurrent units read the words. Four learned latents, one per quadrant, are the queries of a multi-head
    attention (Vaswani et al. 2017) whose keys and values are computed from the states; a shared convolutional decoder
    turns the result of each into its quadrant. Without heads there is no attention: the last state is a single latent,
    from which the decoder generates the whole image.

    - hidden_size: H, 1 to 2048
    - num_layers: recurrent units stacked, 1 to 4
    - activation: of the recurrent units and the decoder, one of none, relu, tanh, sigmoid
    - dropout: share of the states dropped between layers and after the last, 0 to 0.9
    - heads: M, each of H / M features, rounded up, 1 to 16; or 0, a single latent
    """

    task = "text_to_image"
    hyperparameters: ClassVar[dict[str, Domain]] = {
        "hidden_size": Integer(1, 2048),
        "num_layers": Integer(1, 4),
        "activation": ACTIVATION,
        "dropout": Real(0.0, 0.9),
        "heads": Integer(0, 16),
    }

    def __init__(
        self,
        embedding: WordVectors,
        image_size: int,
        *,
        hidden_size: int = 64,
        num_layers: int = 1,
        activation: str = "tanh",
        dropout: float = 0.0,
        heads: int = 4,
    ) -> None:
        """image_size: rows, and columns, of the images, a multiple of four."""
        super().__init__(embedding)
        self.heads = heads
        sizes = [embedding.size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(
            GRULayer(size, hidden_size, activation, "sigmoid", reads=activation if number > 0 else "none")
            for number, size in enumerate(sizes)
        )
        self.dropout = Dropout(dropout)
        if heads:
            size_head = -(-hidden_size // heads)
            self.latents_QMD = nn.Parameter(torch.randn(QUADRANTS, heads, size_head))
            size_latent = heads * size_head
            self.key = linear(hidden_size, size_latent, reads=activation, bias=False)  # a bias would have no effect
            self.value = linear(hidden_size, size_latent, reads=activation)
            self.decoder = Decoder(size_latent, image_size // 2, activation, reads="none")
        else:
            self.decoder = Decoder(hidden_size, image_size, activation, reads=activation)

    def forward(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The logits (B, Y, X) of the ink of each pixel."""
        return self.draw(self.embedding(tokens_BT), lengths_B)

    def draw(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        """Like `forward`, for texts given as word vectors; padding has no effect."""
        states_TBH = self._states(words_BTE, lengths_B)
        if not self.heads:
            image_BYX: Tensor = self.decoder(pool(states_TBH, lengths_B, "last"))
            return image_BYX
        values_BMTD = self._split_heads(self.value(states_TBH))
        gathered_BMQD = self._weights(states_TBH, lengths_B) @ values_BMTD
        quadrants_BQYX = self.decoder(gathered_BMQD.permute(0, 2, 1, 3).flatten(2))
        return join_quadrants(quadrants_BQYX)

    def attention_weights(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The attention of each quadrant to each word, (B, M, Q, T); weights of a quadrant sum to one and are zero at
        padding."""
        if not self.heads:
            return torch.empty(len(tokens_BT), 0, QUADRANTS, tokens_BT.shape[1])
        return self._weights(self._states(self.embedding(tokens_BT), lengths_B), lengths_B)

    def _states(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        states_TBH = words_BTE.transpose(0, 1)
        padding_TB = padding(lengths_B, len(states_TBH))
        for number, layer in enumerate(self.layers):
            states_TBH = layer(self.dropout(states_TBH) if number > 0 else states_TBH, padding_TB)
        outputs_TBH: Tensor = self.dropout(states_TBH)
        return outputs_TBH

    def _weights(self, states_TBH: Tensor, lengths_B: Tensor) -> Tensor:
        keys_BMTD = self._split_heads(self.key(states_TBH))
        queries_MQD = self.latents_QMD.transpose(0, 1) / math.sqrt(keys_BMTD.shape[3])
        scores_BMQT = queries_MQD @ keys_BMTD.transpose(2, 3)
        real_BT = real_words(lengths_B, len(states_TBH))
        return scores_BMQT.masked_fill(~real_BT[:, None, None], -torch.inf).softmax(3)

    def _split_heads(self, features_TBL: Tensor) -> Tensor:
        """(B, M, T, D)."""
        heads_TBMD: Tensor = features_TBL.unflatten(2, (self.heads, -1))
        return heads_TBMD.permute(1, 2, 0, 3)


class Decoder(nn.Module):
    """Maps latents (..., L), outputs of the activation `reads`, to the logits of images (..., Y, X): a linear layer to
    a small image of several channels, a transposed convolution that doubles its size, and a convolution to one
    channel."""

    def __init__(self, size_in: int, image_size: int, activation: str, *, reads: str) -> None:
        super().__init__()
        self.image_size = image_size
        small = image_size // 2
        self.layers = nn.Sequential(
            linear(size_in, CHANNELS * small**2, reads=reads, feeds=activation),
            Activation(activation),
            nn.Unflatten(1, (CHANNELS, small, small)),
            nn.ConvTranspose2d(CHANNELS, CHANNELS, kernel_size=4, stride=2, padding=1),
            Activation(activation),
            nn.Conv2d(CHANNELS, 1, kernel_size=3, padding=1),
        )

    def forward(self, latents_L: Tensor) -> Tensor:
        images_N1YX: Tensor = self.layers(latents_L.reshape(-1, latents_L.shape[-1]))
        return images_N1YX.view(*latents_L.shape[:-1], self.image_size, self.image_size)


def join_quadrants(quadrants_BQYX: Tensor) -> Tensor:
    """Images (B, 2Y, 2X) of four quadrants."""
    rows_B22YX: Tensor = quadrants_BQYX.unflatten(1, (2, 2))
    return rows_B22YX.transpose(2, 3).flatten(3, 4).flatten(1, 2)
