"""Several networks of one form, computed as one with stacked weights.

Shapes: P networks, B batch, T words, C classes.
"""

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from models.native import masks
from models.parts.hyperparameters import Real
from models.parts.joined import Padded, Views
from models.parts.layers import Architecture, Dropout, WordVectors, dropouts

#: Networks of different widths are stacked if these round up to the same multiple of this number, to which all are
#: padded.
BUCKET = 32

#: Attributes of modules in which the networks of a stack may differ. Those of `nn.Linear` repeat its weight's shape.
VARIES: dict[type[nn.Module], tuple[str, ...]] = {
    Dropout: ("share", "num_masks"),
    nn.Linear: ("in_features", "out_features"),
}


def form(model: Architecture) -> Hashable | None:
    """Equal for networks that can be stacked: all that decides what `forward` does but the numbers in the parameters,
    the shares of dropout and, within a bucket, the width. None for a network that cannot be stacked with any."""
    trained = any(isinstance(each, WordVectors) and each.vectors_VE.requires_grad for each in model.modules())
    if not model.stacks or trained:  # the gradients of word vectors may be as large as all vectors
        return None
    sizes = _sizes(model)
    parameters = tuple((name, sizes or each.shape, each.device) for name, each in model.named_parameters())
    shared = tuple((name, each.shape, each.data_ptr()) for name, each in model.named_buffers())
    return type(model), parameters, shared, tuple(_settings(*each) for each in model.named_modules())


def _sizes(model: Architecture) -> Hashable | None:
    """What decides the shapes of a network that may be padded; None for another."""
    if (width := _width(model)) is None:
        return None
    domains = model.hyperparameters
    others = (each for each in model.built_with.items() if each[0] != model.pads)
    return -(-width // BUCKET), *(each for each in others if not isinstance(domains.get(each[0]), Real))


def _width(model: Architecture) -> int | None:
    """Its width if it may be padded, else None."""
    return None if model.pads is None else model.built_with.get(model.pads)


def _settings(name: str, module: nn.Module) -> Hashable:
    """A module's plain attributes, such as the name of an activation, and which functions it replaces."""
    varies = ("training", *VARIES.get(type(module), ()))
    public = ((k, v) for k, v in vars(module).items() if not k.startswith("_") and k not in varies)
    plain = tuple((k, v if isinstance(v, str | int | float | None) else type(v)) for k, v in public)
    return name, type(module), plain


class Stack:
    """Networks of one `form`. Parameters of equal shapes become views of one tensor (P, ...) for each name; those of
    different widths are copied to one, padded with zeros, whenever the weights are read.

    A network can still be saved, clipped, updated and computed by itself as before. views: False leaves all parameters
    where they are.
    """

    def __init__(self, models: Sequence[Architecture], *, views: bool = True) -> None:
        self._places = {id(model): place for place, model in enumerate(models)}
        self._models = list(models)  # as long as they are alive, no other object has one of these ids
        self._dropouts = [dropouts(model) for model in models]
        self._widths = [_width(model) or 0 for model in models]
        names = [name for name, _ in models[0].named_parameters()]
        self._parameters: dict[str, Views | Padded] = {}
        for name, *same in zip(names, *(model.parameters() for model in models), strict=True):
            if len({each.shape for each in same}) == 1:
                self._parameters[name] = Views(same, kept=views)
            else:
                widest = -(-max(self._widths) // BUCKET) * BUCKET
                self._parameters[name] = Padded(same, self._widths, widest)

    def __contains__(self, model: Architecture) -> bool:
        return id(model) in self._places

    def _places_of(self, models: Sequence[Architecture]) -> tuple[int, ...]:
        return tuple(self._places[id(model)] for model in models)

    def weights(self, models: Sequence[Architecture]) -> dict[str, Tensor]:
        """The stacked parameters of some of these networks; those that a network has for the moment, such as averages,
        take the place of its own."""
        places = self._places_of(models)
        return {name: each.weights(places) for name, each in self._parameters.items()}

    def set_gradients(self, models: Sequence[Architecture], gradients: Sequence[Tensor | None]) -> None:
        """Give each of these networks its part of the gradients (P, ...), which are in the order of the parameters."""
        places = self._places_of(models)
        for each, gradient in zip(self._parameters.values(), gradients, strict=True):
            each.set_gradients(places, gradient)

    def buffers(self, models: Sequence[Architecture], seeds: Sequence[int], device: torch.device) -> dict[str, Tensor]:
        """The buffers in which these networks differ: in training, those of the dropout layers that decide on the masks
        (P, 2), for layers that drop anything in any of the networks, and where they are padded, their widths (P).

        seeds: as for `layers.masked`; empty in evaluation.
        """
        places = self._places_of(models)
        found: dict[str, Tensor] = {}
        if any(isinstance(each, Padded) for each in self._parameters.values()):
            dtype = next(models[0].parameters()).dtype
            widths_P = torch.tensor([self._widths[i] for i in places], dtype=dtype)
            found["own_width"] = widths_P.to(device, non_blocking=True)
        layers = zip(*(self._dropouts[i] for i in places), strict=True) if seeds else ()
        for number, same in enumerate(layers, start=1):
            if any(dropout.share for _, dropout in same):
                name, first = same[0]
                first.num_masks = 0
                rows = [masks.settings(seed, number, each.share) for seed, (_, each) in zip(seeds, same, strict=True)]
                found[f"{name}.mask_settings"] = torch.tensor(rows).to(device, non_blocking=True)
        return found


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
