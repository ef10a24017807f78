"""Where a trial's network is trained and in which arithmetic: chosen once, before it is built.

Shapes: B batch, T words, C classes.
"""

import os

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


def round_products(model: nn.Module) -> None:
    """Have the model compute its products in bfloat16, and its logits (B, C) in float32 all the same."""
    forward = model.forward

    def rounded(tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        with torch.autocast(tokens_BT.device.type, torch.bfloat16):
            logits_BC: Tensor = forward(tokens_BT, lengths_B)
        return logits_BC.float()

    model.forward = rounded
