"""Parts shared by the architectures: base class, word vectors, activations, pooling.

Shapes: B batch, T words of the longest text, V vocabulary, E embedding, H hidden or features, C classes.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.native import kernels, masks
from models.native.dense import dense
from models.native.padding import real_words
from models.native.rows import look_up
from models.parts.hyperparameters import Choice, Domain, Input, Integer
from models.parts.pairs import PairVectors


def tanh(x: Tensor) -> Tensor:
    """tanh as 2 sigmoid(2x) - 1: torch's sigmoid takes a fifth of the time of its tanh on CPUs."""
    return torch.tanh(x) if x.is_cuda else torch.sigmoid(2 * x) * 2 - 1


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": torch.relu,
    "tanh": tanh,
    "sigmoid": torch.sigmoid,
}


ACTIVATION = Choice(tuple(ACTIVATIONS))


POOLING = Choice(("last", "mean"))


CLASSIFICATION = "classification"  # the task of most architectures


TAPERED_SIZES = {2: (48, 24), 3: (48, 24, 12), 4: (48, 24, 12, 8), 5: (48, 24, 12, 10, 8)}


class Activation(nn.Module):
    """One of ACTIVATIONS as a layer."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)

    def extra_repr(self) -> str:
        return self.name


class Layers(nn.Sequential):
    """Layers in sequence; with compiled kernels, a linear layer and its activation are one step."""

    def forward(self, x: Tensor) -> Tensor:
        if not kernels.usable(x):
            for module in self:
                x = module(x)
            return x
        before = None
        for module, after in zip_longest(self, list(self)[1:]):
            if isinstance(module, nn.Linear):
                activation = after.name if isinstance(after, Activation) else "none"
                x = dense(x, module.weight, module.bias, activation)
            elif not (isinstance(module, Activation) and isinstance(before, nn.Linear)):
                x = module(x)
            before = module
        return x


class Dropout(nn.Module):
    """In training, each feature is zero with probability `share` and the others are scaled up (Srivastava et al. 2014).

    On CPUs it draws 16 random bits per feature, in a quarter of the time of torch's layer, which would be slower than
    any layer of `mlp`. The share is therefore rounded to a multiple of 1/65536.

    mask_settings: while set, masks are computed from these instead of drawn (see `masks.settings` and `masked`).
    num_masks: the number of masks computed from them so far.
    """

    mask_settings: Tensor | None

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("mask_settings", None, persistent=False)
        self.num_masks = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        if self.mask_settings is not None:
            self.num_masks += 1
            kept = masks.kept(self.mask_settings, x.shape, self.num_masks)
            return x * (kept / (1 - self.mask_settings[1] / 2**32))
        if self.share == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.share)
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: x.numel()].view(x.shape)
        num_dropped = round(self.share * 2**16)
        return x * ((bits >= num_dropped - 2**15) / (1 - num_dropped / 2**16))

    def extra_repr(self) -> str:
        return f"{self.share:g}"


@contextmanager
def masked(model: nn.Module, seed: int) -> Iterator[None]:
    """Context in which the dropout masks of the model are computed from this seed."""
    device = next(model.parameters()).device
    for number, (_, dropout) in enumerate(dropouts(model), start=1):
        if dropout.share:
            dropout.num_masks = 0
            settings_2 = torch.tensor(masks.settings(seed, number, dropout.share))
            dropout.mask_settings = settings_2.to(device, non_blocking=True)
    try:
        yield
    finally:
        for _, dropout in dropouts(model):
            dropout.mask_settings = None


def dropouts(model: nn.Module) -> list[tuple[str, Dropout]]:
    """The dropout layers by name, in a fixed order."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, Dropout)]


class WordVectors(nn.Module):
    """Looks up the vectors (V, E) of word ids. Row 0 is the padding and is always zero.

    Frozen vectors (the default) are neither trained nor copied nor saved with the weights; `trainable=True` starts
    from a copy of them; `WordVectors.learned(V, E)` starts from normal noise. Raises ValueError if row 0 is not zero.

    sparse: whether the gradient of trained vectors is a sparse tensor of the rows that were looked up.
    pairs: vectors of word pairs, which are added to those of words (see `reading`), or None.
    """

    sparse: bool = False

    def __init__(self, vectors_VE: Tensor, *, trainable: bool = False, pairs: PairVectors | None = None) -> None:
        super().__init__()
        if vectors_VE.ndim != 2 or vectors_VE[0].any():
            raise ValueError(f"word vectors must be a matrix with zeros in row 0, got {tuple(vectors_VE.shape)}")
        self.vectors_VE: Tensor
        if trainable:
            self.vectors_VE = nn.Parameter(vectors_VE.clone())
        elif isinstance(vectors_VE, nn.Parameter):  # shared with another module
            self.vectors_VE = vectors_VE
        else:
            self.register_buffer("vectors_VE", vectors_VE, persistent=False)
        self.pairs = pairs

    @classmethod
    def learned(cls, num_words: int, size: int) -> "WordVectors":
        """Trainable vectors (num_words, size), drawn from the standard normal distribution."""
        vectors_VE = torch.randn(num_words, size)
        vectors_VE[0] = 0
        return cls(vectors_VE, trainable=True)

    def reading(self, *, ngrams: int = 1) -> "WordVectors":
        """The same vectors, not copied, with the given inputs (see INPUTS)."""
        return self if ngrams == 1 else WordVectors(self.vectors_VE, pairs=PairVectors(self.size))

    @property
    def size(self) -> int:
        """E."""
        return self.vectors_VE.shape[1]

    def forward(self, tokens_BT: Tensor) -> Tensor:
        words_BTE = self.words(tokens_BT)
        return words_BTE if self.pairs is None else words_BTE + self.pairs(tokens_BT)

    def words(self, tokens_BT: Tensor) -> Tensor:
        """The vectors of the words alone."""
        if self.sparse:
            return look_up(self.vectors_VE, tokens_BT)
        return F.embedding(tokens_BT, self.vectors_VE, padding_idx=0)  # padding_idx: row 0 gets no gradient


#: Hyperparameters of the inputs of a network that reads word vectors.
INPUTS: Mapping[str, Input] = {
    "ngrams": Input(
        Integer(1, 2),
        1,
        "2: a learned vector of the pair of the previous word and this word is added to the vector of a word",
    )
}


class Architecture(nn.Module):
    """The base class of networks, which map a batch of texts to class scores.

    A subclass defines `classify` and declares `hyperparameters`, one domain for each keyword argument of its
    constructor, `(embedding, num_classes, *, <hyperparameters with defaults>)`. A subclass with another task defines
    `forward` instead. Hyperparameters of `inputs` are not arguments: they configure the embedding (see `models.build`).

    Optional methods for the analysis, of tokens_BT and lengths_B: `word_scores` (B, T, C), `position_scores` (B, P, C)
    if there are fewer positions than words, and `attention_weights`. Optional attributes: `windows`, the input windows
    of its steps; `recurrent`, if its `layers` have states that `layer.step` advances by one word.
    """

    task: ClassVar[str] = CLASSIFICATION
    learner: ClassVar[str] = "network"  # how it learns (see `search.train.config.LEARNERS`)
    recurrent: ClassVar[bool] = False
    #: Whether several networks can be computed at once by `torch.vmap` (see `models.parts.stacked`). The control flow
    #: of `forward` must then not depend on values in tensors, and only `Dropout` may draw random numbers.
    stacks: ClassVar[bool] = False
    #: The hyperparameter, a width, in which networks that are computed at once may differ, or None. The narrower ones
    #: are padded: `forward` must take every size from the shapes of tensors, and units whose weights are all zero must
    #: change nothing. What depends on the width itself reads `own_width`, which is None where nothing is padded.
    pads: ClassVar[str | None] = None
    hyperparameters: ClassVar[dict[str, Domain]]
    inputs: ClassVar[Mapping[str, Input]] = INPUTS

    #: Weight of each class in the training loss, or None; set before `start_from`.
    class_weights_C: Tensor | None = None

    #: Its hyperparameters and number of outputs, if `models.build` has built it.
    built_with: Mapping[str, Any] = MappingProxyType({})

    own_width: Tensor | None

    def __init__(self, embedding: WordVectors) -> None:
        super().__init__()
        self.embedding = embedding
        self.register_buffer("own_width", None, persistent=False)

    def forward(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C) of texts given as word ids, padded on the right with 0; lengths from 1 to T."""
        return self.classify(self.embedding(tokens_BT), lengths_B)

    def classify(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C) of texts given as word vectors; padding has no effect."""
        raise NotImplementedError

    def start_from(self, texts: Iterable[tuple[Tensor, ...]]) -> None:
        """Initialise the network from the training split; by default, do nothing.

        texts: batches of tokens_BT, lengths_B and targets, which for a classifier are labels or, if a text can have
        several classes, ones and zeros (B, C). Can be iterated more than once.
        """


@torch.no_grad()
def linear(
    size_in: int, size_out: int, *, reads: str = "none", feeds: str = "none", gain: float = 1.0, bias: bool = True
) -> nn.Linear:
    """A linear layer, initialised for the activation before it (`reads`) and after it (`feeds`).

    Xavier uniform with zero bias (Glorot and Bengio 2010), times `gain`, times sqrt(2) before a relu (He et al. 2015).
    Weights before and after a sigmoid are doubled, and a bias after it removes its offset, so that a network starts
    like one with tanh: sigmoid(2x) = (1 + tanh(x)) / 2. Otherwise it would start with slopes of a quarter and offsets
    that drown the inputs.
    """
    layer = nn.Linear(size_in, size_out, bias=bias)
    gain *= {"relu": math.sqrt(2), "sigmoid": 2.0}.get(feeds, 1.0)
    nn.init.xavier_uniform_(layer.weight, 2 * gain if reads == "sigmoid" else gain)
    if bias:
        layer.bias.copy_(-layer.weight.sum(1) / 2 if reads == "sigmoid" else torch.zeros(size_out))
    return layer


def pool(states_TBH: Tensor, lengths_B: Tensor, pooling: str) -> Tensor:
    """One vector (B, H) for each text: its state after the `last` real word or the `mean` over its real words."""
    if pooling == "last":
        return states_TBH[lengths_B - 1, torch.arange(len(lengths_B), device=lengths_B.device)]
    real_TB1 = real_words(lengths_B, len(states_TBH)).t().unsqueeze(2)
    return (states_TBH * real_TB1).sum(0) / lengths_B.unsqueeze(1)


def tapered_layers(
    size_in: int, num_layers: int, activation: str, dropout: float, num_classes: int, *, reads: str
) -> Layers:
    """The layers from a word's features to its class scores: `num_layers` (2 to 5) of decreasing width, each followed
    by the activation, with dropout after the second; then the output layer. `reads` is the activation before them."""
    layers: list[nn.Module] = []
    for number, size in enumerate(TAPERED_SIZES[num_layers], start=1):
        layers += [linear(size_in, size, reads=reads, feeds=activation), Activation(activation)]
        size_in, reads = size, activation
        if number == 2:
            layers.append(Dropout(dropout))
    return Layers(*layers, linear(size_in, num_classes, reads=activation))


def num_parameters(model: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
