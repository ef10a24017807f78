"""Where a trial's network is trained and in which arithmetic: chosen once, before it is built.

Shapes: B batch, T words, C classes.
"""

import os
import warnings
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor, nn

#: How the numbers of products are rounded on a GPU: as all others, to the 10 bits of TensorFloat-32, or to bfloat16,
#: with weights and what is summed up in float32 (Micikevicius et al. 2018). Nothing else is; time loops and
#: restricted attention never are.
PRECISIONS = ("float32", "tf32", "bf16")


def device_of(gpu: bool) -> torch.device:
    """A card where trials are given a share of one and the machine has one, else the processor."""
    return torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")


def prepare(device: torch.device, precision: str) -> None:
    """Set this process up for a trial there: a replay on the same card gives the same numbers."""
    if device.type == "cpu":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else its products may differ from run to run
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


#: What the trials of this process share on a card, by the place of the array in host memory.
_resident: WeakValueDictionary[tuple[object, ...], Tensor] = WeakValueDictionary()


def on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """The array there, to be read only. On a processor it is not copied; on a card all trials of this process have one
    copy, for as long as one of them uses it."""
    with warnings.catch_warnings():
        # The object store's memory is read-only, and nothing here writes to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        in_host = torch.from_numpy(array)
    if device.type == "cpu":
        return in_host
    key = (in_host.data_ptr(), in_host.shape, in_host.stride(), in_host.dtype, device)
    copy = _resident.get(key)
    if copy is None:
        copy = in_host.to(device)
        copy.copy_of = in_host  # type: ignore[attr-defined]  # no other array can take its place meanwhile
        _resident[key] = copy
    return copy


def round_products(model: nn.Module) -> None:
    """Have the model compute its products in bfloat16, and its logits (B, C) in float32 all the same."""
    forward = model.forward

    def rounded(tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        with torch.autocast(tokens_BT.device.type, torch.bfloat16):
            logits_BC: Tensor = forward(tokens_BT, lengths_B)
        return logits_BC.float()

    model.forward = rounded
