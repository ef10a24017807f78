"""The device and the arithmetic of a trial, chosen once, before its network is built.

Shapes: B batch, T words, C classes.
"""

import os
import warnings
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor, nn

#: How factors of matrix products are rounded on a GPU: not at all, to the 10 bits of TensorFloat-32, or to bfloat16,
#: with weights and sums in float32 (Micikevicius et al. 2018). Only products are rounded, and never those of time loops
#: and restricted attention.
PRECISIONS = ("float32", "tf32", "bf16")


def device_of(gpu: bool) -> torch.device:
    """A GPU if trials have a share of one and the machine has one, else the CPU."""
    return torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")


def prepare(device: torch.device, precision: str) -> None:
    """Set this process up for a trial on the device, so that a replay on the same card gives the same numbers."""
    if device.type == "cpu":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # otherwise products may differ from run to run
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


#: Tensors on a card that the trials of this process share, by the address of the array in host memory.
_resident: WeakValueDictionary[tuple[object, ...], Tensor] = WeakValueDictionary()


def on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor on the device; do not write to it. On the CPU it is not copied. On a card all trials of
    this process share one copy, which is freed with the last trial that uses it."""
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
        copy.copy_of = in_host  # type: ignore[attr-defined]  # keeps the address from being reused
        _resident[key] = copy
    return copy


def round_products(model: nn.Module) -> None:
    """Make the model compute products in bfloat16 and return logits (B, C) in float32."""
    forward = model.forward

    def rounded(tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        with torch.autocast(tokens_BT.device.type, torch.bfloat16):
            logits_BC: Tensor = forward(tokens_BT, lengths_B)
        return logits_BC.float()

    model.forward = rounded
