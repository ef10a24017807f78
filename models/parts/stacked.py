"""Several networks of one form, computed as one with stacked weights.

Shapes: P networks, B batch, T words, C classes.
"""

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from models.native import masks
from models.parts.layers import Architecture, Dropout, WordVectors, dropouts

#: Attributes of modules in which the networks of a stack may differ.
VARIES: dict[type[nn.Module], tuple[str, ...]] = {Dropout: ("share", "num_masks")}


def form(model: Architecture) -> Hashable | None:
    """Equal for networks that can be stacked: all that decides what `forward` does but the numbers in the parameters
    and the shares of dropout. None for a network that cannot be stacked with any."""
    embeddings = [each for each in model.modules() if isinstance(each, WordVectors)]
    trained = any(each.vectors_VE.requires_grad or each.pairs is not None for each in embeddings)
    if not model.stacks or trained:  # the gradients of word vectors are sparse, or as large as all vectors
        return None
    parameters = tuple((name, each.shape, each.device) for name, each in model.named_parameters())
    shared = tuple((name, each.shape, each.data_ptr()) for name, each in model.named_buffers())
    return type(model), parameters, shared, tuple(_settings(*each) for each in model.named_modules())


def _settings(name: str, module: nn.Module) -> Hashable:
    """A module's plain attributes, such as the name of an activation, and which functions it replaces."""
    varies = ("training", *VARIES.get(type(module), ()))
    public = ((k, v) for k, v in vars(module).items() if not k.startswith("_") and k not in varies)
    plain = tuple((k, v if isinstance(v, str | int | float | None) else type(v)) for k, v in public)
    return name, type(module), plain


class Stack:
    """Networks of one `form`, whose parameters become views of one tensor (P, ...) for each name.

    A network can still be saved, clipped, updated and computed by itself as before.
    """

    def __init__(self, models: Sequence[Architecture]) -> None:
        self._places = {id(model): place for place, model in enumerate(models)}
        self._models = list(models)  # as long as they are alive, no other object has one of these ids
        self._parameters = [list(model.parameters()) for model in models]
        self._dropouts = [dropouts(model) for model in models]
        self._weights = stacked_parameters(models)
        for place, parameters in enumerate(self._parameters):
            for parameter, weight in zip(parameters, self._weights.values(), strict=True):
                parameter.data = weight[place]

    def __contains__(self, model: Architecture) -> bool:
        return id(model) in self._places

    def _places_of(self, models: Sequence[Architecture]) -> list[int]:
        return [self._places[id(model)] for model in models]

    def weights(self, models: Sequence[Architecture]) -> dict[str, Tensor]:
        """The stacked parameters of some of these networks; those that a network has for the moment, such as averages,
        take the place of its own."""
        places = self._places_of(models)
        first = next(iter(self._weights.values()))
        if not all(self._parameters[i][0].data_ptr() == first[i].data_ptr() for i in places):
            return stacked_parameters(models)
        if places == list(range(len(self._models))):
            return dict(self._weights)
        places_P = torch.tensor(places).to(first.device, non_blocking=True)
        return {name: weight[places_P] for name, weight in self._weights.items()}

    def set_gradients(self, models: Sequence[Architecture], gradients: Sequence[Tensor | None]) -> None:
        """Give each of these networks its part of the gradients (P, ...), which are in the order of the parameters."""
        parameters = zip(*(self._parameters[i] for i in self._places_of(models)), strict=True)
        for same, gradient in zip(parameters, gradients, strict=True):
            # The fused Adam reads gradients in the order in which they lie in memory.
            parts = [None] * len(models) if gradient is None else gradient.contiguous().unbind()
            for parameter, part in zip(same, parts, strict=True):
                parameter.grad = part

    def mask_settings(
        self, models: Sequence[Architecture], seeds: Sequence[int], device: torch.device
    ) -> dict[str, Tensor]:
        """The buffers (P, 2) of the dropout layers that decide on the masks, for layers that drop anything in any of
        these networks. seeds: as for `layers.masked`."""
        settings: dict[str, Tensor] = {}
        layers = zip(*(self._dropouts[i] for i in self._places_of(models)), strict=True)
        for number, same in enumerate(layers, start=1):
            if any(dropout.share for _, dropout in same):
                name, first = same[0]
                first.num_masks = 0
                rows = [masks.settings(seed, number, each.share) for seed, (_, each) in zip(seeds, same, strict=True)]
                settings[f"{name}.mask_settings"] = torch.tensor(rows).to(device, non_blocking=True)
        return settings


def logits(model: Architecture, stacked: Mapping[str, Tensor], tokens: Tensor, lengths: Tensor) -> Tensor:
    """(P, B, C) of networks of the form of this one.

    stacked: their parameters, and buffers in which they differ. tokens, lengths: (P, B, T) and (P, B) or, if all
    networks read the same texts, (B, T) and (B).
    """

    def compute(own: dict[str, Tensor], tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        logits_BC: Tensor = functional_call(model, own, (tokens_BT, lengths_B))
        return logits_BC

    texts = 0 if tokens.ndim == 3 else None
    logits_PBC: Tensor = torch.vmap(compute, in_dims=(0, texts, texts))(dict(stacked), tokens, lengths)
    return logits_PBC


def stacked_parameters(models: Sequence[Architecture]) -> dict[str, Tensor]:
    names = [name for name, _ in models[0].named_parameters()]
    by_name = zip(*(model.parameters() for model in models), strict=True)
    return {name: torch.stack([each.detach() for each in same]) for name, same in zip(names, by_name, strict=True)}
