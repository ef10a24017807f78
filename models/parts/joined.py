"""The parameters of one name of several networks as one tensor, and the gradients back.

Shapes: P of the networks, those at the given places; N numbers of their parameters, M of the stacked tensor.
"""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.native import rows

MOST_KNOWN = 8  # choices of networks whose indices are kept: they take as much memory as the parameters, four times


class Views:
    """Parameters of one shape. kept: they become views of one tensor, which can then be read without a copy."""

    def __init__(self, parameters: Sequence[nn.Parameter], *, kept: bool) -> None:
        self._parameters = parameters
        self._whole = torch.stack([each.detach() for each in parameters]) if kept else None
        if self._whole is not None:
            for parameter, weight in zip(parameters, self._whole, strict=True):
                parameter.data = weight
        self._addresses = [each.data_ptr() if kept else None for each in parameters]

    def weights(self, places: tuple[int, ...]) -> Tensor:
        """(P, ...)."""
        moved = any(self._parameters[i].data_ptr() != self._addresses[i] for i in places)
        if self._whole is None or moved:
            return torch.stack([self._parameters[i].detach() for i in places])
        if places == tuple(range(len(self._parameters))):
            return self._whole
        return self._whole[_index(places, self._whole.device)]

    def set_gradients(self, places: tuple[int, ...], gradient: Tensor | None) -> None:
        """gradient: (P, ...), or None where there is none."""
        # The fused Adam reads gradients in the order in which they lie in memory.
        parts: Sequence[Tensor | None] = [None] * len(places)
        if gradient is not None:
            parts = rows.split(gradient) if gradient.is_sparse else gradient.contiguous().unbind()
        for i, part in zip(places, parts, strict=True):
            self._parameters[i].grad = part


@functools.lru_cache(MOST_KNOWN)
def _index(places: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(places).to(device, non_blocking=True)


class Padded:
    """Parameters whose shapes differ by the widths of their networks: each is padded with zeros to the shape that it
    would have in the widest.

    A dimension that differs consists of blocks of a network's width, such as the three gates of a GRU. Every block is
    padded at its end. Numbers are moved by index both ways, a few launches on a card for all networks; a parameter and
    its gradient keep their own shape.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], widths: Sequence[int], widest: int) -> None:
        self._parameters = parameters
        sizes = list(zip(*(each.shape for each in parameters), strict=True))
        blocks = [0 if len(set(each)) == 1 else each[0] // widths[0] for each in sizes]  # 0: this one is not padded
        self._shape = [num * widest or each[0] for num, each in zip(blocks, sizes, strict=True)]
        places = torch.arange(math.prod(self._shape), device=parameters[0].device).view(self._shape)
        self._own: list[Tensor] = []  # the places of each parameter's numbers
        for parameter, width in zip(parameters, widths, strict=True):
            own = places
            for dim, num in enumerate(blocks):
                if num:
                    own = own.unflatten(dim, (num, widest)).narrow(dim + 1, 0, width).flatten(dim, dim + 1)
            if own.shape != parameter.shape:
                raise ValueError(f"width {width} makes a shape {tuple(own.shape)}, got {tuple(parameter.shape)}")
            self._own.append(own.flatten())
        self._known: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def _indices(self, places: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The place (N) of each number in the stacked tensor, and the number (M) at each place, N for padding."""
        if places not in self._known:
            size = math.prod(self._shape)
            places_N = torch.cat([self._own[i] + row * size for row, i in enumerate(places)])
            numbers_M = places_N.new_full((len(places) * size,), len(places_N))
            numbers_M[places_N] = torch.arange(len(places_N), device=places_N.device)
            if len(self._known) == MOST_KNOWN:
                self._known.pop(next(iter(self._known)))
            self._known[places] = places_N, numbers_M
        return self._known[places]

    def weights(self, places: tuple[int, ...]) -> Tensor:
        """(P, ...)."""
        parameters = [self._parameters[i].detach().flatten() for i in places]
        numbers = torch.cat([*parameters, parameters[0].new_zeros(1)])
        return numbers.index_select(0, self._indices(places)[1]).view(-1, *self._shape)

    def set_gradients(self, places: tuple[int, ...], gradient: Tensor | None) -> None:
        """gradient: (P, ...), or None where there is none."""
        parameters = [self._parameters[i] for i in places]
        if gradient is None:
            for parameter in parameters:
                parameter.grad = None
            return
        numbers_N = gradient.flatten().index_select(0, self._indices(places)[0])
        for parameter, own in zip(parameters, numbers_N.split([each.numel() for each in parameters]), strict=True):
            own = own.view(parameter.shape)
            # See `Views`: in the same order as the parameter.
            parameter.grad = own if parameter.is_contiguous() else torch.empty_like(parameter).copy_(own)
