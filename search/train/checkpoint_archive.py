"""The file format of checkpoints: a zip archive, whose checksums reveal a truncated file.

`model.safetensors` holds the weights of the last epoch and `best_weights.safetensors` those of the best one; after
`unzip`, any tool for safetensors can read them. `rest.pt` holds everything else as written by `torch.save`: plain
tensors, numbers and containers, read with `weights_only=True`. The states of the optimizer and of the generators are
among these because safetensors cannot represent them.
"""

import io
import zipfile
from typing import Any, BinaryIO

import torch
from torch import Tensor

from models.parts import weights

STATE = "state"
WEIGHTS = {"model": "model.safetensors", "best_weights": "best_weights.safetensors"}  # parts of the state
REST = "rest.pt"


def write(content: dict[str, Any], file: BinaryIO) -> None:
    """Write the archive to a file. Entries of a state dict that are not tensors go into `rest.pt`."""
    state = dict(content.get(STATE, {}))
    with zipfile.ZipFile(file, "w") as archive:
        for part in WEIGHTS.keys() & state.keys():
            tensors = {name: each for name, each in state[part].items() if isinstance(each, Tensor)}
            archive.writestr(WEIGHTS[part], weights.to_bytes(tensors))
            state[part] = {name: each for name, each in state[part].items() if name not in tensors}
        with archive.open(REST, "w", force_zip64=True) as rest:
            torch.save(content | ({STATE: state} if STATE in content else {}), rest)


def unpack(content: bytes) -> dict[str, Any]:
    """The content that was written, on the CPU. Older files were written by one `torch.save`, also a zip archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = set(archive.namelist())
        whole = archive.read(REST) if REST in names else content
        packed: dict[str, Any] = torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
        for part, name in WEIGHTS.items():
            if name in names:
                packed[STATE][part] |= weights.from_bytes(archive.read(name))
    return packed


def is_whole(content: bytes) -> bool:
    """Whether the checksums are right. Can raise any exception if the headers of the archive are damaged."""
    return zipfile.ZipFile(io.BytesIO(content)).testzip() is None
