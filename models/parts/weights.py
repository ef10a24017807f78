"""A state dict as safetensors: names, shapes and numbers, which nothing but numbers can be read from."""

from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from data.base.errors import UserError


def to_bytes(weights: Mapping[str, Any]) -> bytes:
    """Raises UserError where the state dict holds something else than tensors."""
    for name, each in weights.items():
        if not isinstance(each, Tensor):
            raise UserError(f"state dict: {name} is of type {type(each).__name__}; keep tensors only in it")
    # Copies, because tensors may share their memory, as tied weights do, or be views, and a file of neither is written.
    return bytes(save({name: each.clone(memory_format=torch.contiguous_format) for name, each in weights.items()}))


def from_bytes(content: bytes) -> dict[str, Tensor]:
    return dict(load(content))
