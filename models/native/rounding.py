"""Excludes functions from torch's autocast that must be computed in float32."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function, computed in float32 even under autocast."""

    @wraps(function)
    def exact(first: Tensor, *rest: Any) -> Tensor:
        if not torch.is_autocast_enabled(first.device.type):
            return function(first, *rest)
        taken = (
            argument.float() if isinstance(argument, Tensor) and argument.is_floating_point() else argument
            for argument in rest
        )
        with torch.autocast(first.device.type, enabled=False):
            return function(first.float(), *taken)

    return exact
