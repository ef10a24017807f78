"""State dicts as safetensors: names, shapes and numbers, without executable content."""

from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from data.base.errors import UserError


def to_bytes(weights: Mapping[str, Any]) -> bytes:
    """Raises UserError if the state dict contains anything but tensors."""
    for name, weight in weights.items():
        if not isinstance(weight, Tensor):
            raise UserError(f"state dict: {name} is of type {type(weight).__name__}; keep only tensors in it")
    # Copied because safetensors rejects views and tensors that share memory, such as tied weights.
    return bytes(save({name: weight.clone(memory_format=torch.contiguous_format) for name, weight in weights.items()}))


def from_bytes(content: bytes) -> dict[str, Tensor]:
    return dict(load(content))
