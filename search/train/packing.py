"""What is in the file of a checkpoint: a zip archive, whose checksums tell a torn file from a whole one.

`model.safetensors` holds the weights of the last epoch and `best_weights.safetensors` those of the best one: any tool
that reads safetensors reads them, after `unzip`. `rest.pt` is what `torch.save` writes of all else, plain tensors,
numbers and containers, read with `weights_only=True`: the state of the optimizer, of which the keys are numbers and the
groups lists of settings, and those of the generators have no form of their own in safetensors.
"""

import io
import zipfile
from typing import Any

import torch
from torch import Tensor

from models.parts import weights

STATE = "state"
WEIGHTS = {"model": "model.safetensors", "best_weights": "best_weights.safetensors"}  # parts of the state
REST = "rest.pt"


def pack(content: dict[str, Any]) -> bytes:
    """The file's content. What a state dict holds besides tensors goes with the rest."""
    state = dict(content.get(STATE, {}))
    buffer, rest = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for part in WEIGHTS.keys() & state.keys():
            tensors = {name: each for name, each in state[part].items() if isinstance(each, Tensor)}
            archive.writestr(WEIGHTS[part], weights.to_bytes(tensors))
            state[part] = {name: each for name, each in state[part].items() if name not in tensors}
        torch.save(content | ({STATE: state} if STATE in content else {}), rest)
        archive.writestr(REST, rest.getvalue())
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, Any]:
    """What was packed, on the CPU. Older files are what `torch.save` wrote of all of it, a zip archive too."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = set(archive.namelist())
        whole = archive.read(REST) if REST in names else content
        packed: dict[str, Any] = torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
        for part, name in WEIGHTS.items():
            if name in names:
                packed[STATE][part] |= weights.from_bytes(archive.read(name))
    return packed


def is_whole(content: bytes) -> bool:
    """Whether the checksums are right. Raises nearly anything where the archive's own headers are damaged."""
    return zipfile.ZipFile(io.BytesIO(content)).testzip() is None
