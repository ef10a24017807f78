"""The compiled time loops and windowed attention: kernels.cpp, built once for a machine, called through ctypes.

`python -m models` compiles them into the cache folder (`make setup` does); nothing else ever compiles. Without a
compiler, without that call, with BAKEOFF_KERNELS=0, in other precisions and on GPUs, the torch implementations beside
each use do the same work: equal within float32's rounding, and slower.

Shapes as in kernels.cpp.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared")
LANES = 16  # hidden sizes of the time loops are multiples of this one: whole vectors on any processor
ACTIVATIONS = ("none", "relu", "tanh", "sigmoid")  # in the order of kernels.cpp

_POINTERS_SIZES_INTS = {
    "product": (4, 5, 2),
    "activation_backward": (3, 1, 2),
    "elman_forward": (3, 3, 2),
    "elman_backward": (5, 3, 2),
    "gru_forward": (5, 3, 3),
    "gru_backward": (8, 3, 3),
    "window_forward": (6, 5, 1),
    "window_backward": (9, 5, 1),
}


def name() -> str:
    """What does the work in this process: the compiled library's name, or `torch`."""
    return "torch" if _library() is None else path().stem


def usable(tensor: Tensor) -> bool:
    """Whether the kernels are there, and for tensors like this one."""
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu" and _library() is not None


def path() -> Path:
    """Where the library of this source, compiler call and processor is kept."""
    folder = os.environ.get("BAKEOFF_CACHE")
    if folder is None:
        folder = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "bakeoff")
    key = hashlib.sha256("\n".join((SOURCE.read_text(encoding="utf-8"), *FLAGS, _processor())).encode())
    return Path(folder, f"kernels-{key.hexdigest()[:12]}.so")


def build() -> None:
    """Compile the library unless it is there. Processes may do so at the same time: it appears whole or not at all.

    Raises OSError or subprocess.CalledProcessError, with what the compiler said, if it cannot be done.
    """
    if path().exists():
        return
    path().parent.mkdir(parents=True, exist_ok=True)
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    with TemporaryDirectory(dir=path().parent) as folder:
        partial = Path(folder, path().name)
        subprocess.run([*compiler, *FLAGS, str(SOURCE), "-o", str(partial)], check=True, capture_output=True, text=True)
        partial.replace(path())
    _library.cache_clear()


def product(a_NK: Tensor, b_KM: Tensor, bias_M: Tensor | None = None, activation: str = "none") -> Tensor:
    """s(a b + bias), (N, M). Twice as fast as torch's on AMD processors, whose wide registers MKL leaves alone."""
    if not usable(a_NK) or not a_NK.numel():
        assert activation == "none"
        return a_NK @ b_KM if bias_M is None else torch.addmm(bias_M, a_NK, b_KM)
    num_columns = b_KM.shape[1]
    if num_columns < LANES:
        b_KM, bias_M = _pad(b_KM), None if bias_M is None else _pad(bias_M)
    out_NM = a_NK.new_empty(a_NK.shape[0], b_KM.shape[1])
    sizes = *out_NM.shape, a_NK.shape[1], *a_NK.stride()
    _call("product", (out_NM, a_NK, b_KM.contiguous(), bias_M), sizes, activation)
    return out_NM if num_columns >= LANES else out_NM[:, :num_columns].contiguous()


def activation_backward(grad_NM: Tensor, outputs_NM: Tensor, activation: str) -> Tensor:
    """The gradient of what an activation is taken of, from its outputs and their gradient."""
    if activation == "none":
        return grad_NM.contiguous()
    delta_NM = torch.empty_like(outputs_NM)
    tensors = delta_NM, grad_NM.contiguous(), outputs_NM
    _call("activation_backward", tensors, (outputs_NM.numel(),), activation)
    return delta_NM


def elman_forward(hidden_TBH: Tensor, U_HH: Tensor, activation: str, padding_TB: Tensor | None) -> None:
    """hidden: W x + b, becomes the states, zero at padding."""
    _call("elman_forward", (hidden_TBH, U_HH.t().contiguous(), padding_TB), hidden_TBH.shape, activation)


def elman_backward(
    grad_TBH: Tensor, hidden_TBH: Tensor, U_HH: Tensor, activation: str, padding_TB: Tensor | None
) -> Tensor:
    """The gradient of what the activation is taken of, from that of the states."""
    delta_TBH = torch.empty_like(hidden_TBH)
    tensors = (delta_TBH, grad_TBH.contiguous(), hidden_TBH, U_HH.contiguous(), padding_TB)
    _call("elman_backward", tensors, hidden_TBH.shape, activation)
    return delta_TBH


def gru_forward(
    gates_TB3H: Tensor,
    states_SBH: Tensor,
    U_3HH: Tensor,
    activation: str,
    gate_activation: str,
    padding_TB: Tensor | None,
) -> None:
    """gates: W x + b, becomes candidate, update and reset gate; states: h_0, then room for the states of all words."""
    sizes = gates_TB3H.shape[0], *states_SBH.shape[1:]
    Ut_candidate_HH, Ut_gates_H2H = (U.t().contiguous() for U in U_3HH.split((sizes[2], 2 * sizes[2])))
    tensors = (gates_TB3H, states_SBH, Ut_candidate_HH, Ut_gates_H2H, padding_TB)
    _call("gru_forward", tensors, sizes, activation, gate_activation)


def gru_backward(
    grad_TBH: Tensor,
    gates_TB3H: Tensor,
    states_SBH: Tensor,
    U_3HH: Tensor,
    activation: str,
    gate_activation: str,
    padding_TB: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The gradients of what the activations are taken of (T, B, 3H), and r * h_{t-1} (T, B, H)."""
    num_hidden = grad_TBH.shape[2]
    delta_TB3H, reset_state_TBH = torch.empty_like(gates_TB3H), torch.empty_like(states_SBH[1:])
    U_candidate_HH, U_gates_2HH = U_3HH.contiguous().split((num_hidden, 2 * num_hidden))
    tensors = (
        delta_TB3H,
        reset_state_TBH,
        grad_TBH.contiguous(),
        gates_TB3H,
        states_SBH,
        U_candidate_HH,
        U_gates_2HH,
        padding_TB,
    )
    _call("gru_backward", tensors, grad_TBH.shape, activation, gate_activation)
    return delta_TB3H, reset_state_TBH


def window_forward(
    queries_BTH: Tensor, keys_BTH: Tensor, values_BTF: Tensor, lengths_B: Tensor, window: int
) -> tuple[Tensor, Tensor]:
    """Weights (B, T, 2 window + 1) and what is attended to (B, T, F); both zero at padding."""
    weights_BTJ = queries_BTH.new_empty(*queries_BTH.shape[:2], 2 * window + 1)
    attended_BTF = torch.empty_like(values_BTF)
    tensors = (queries_BTH, keys_BTH, values_BTF, lengths_B, weights_BTJ, attended_BTF)
    _call("window_forward", tensors, (*queries_BTH.shape, values_BTF.shape[2], window))
    return weights_BTJ, attended_BTF


def window_backward(
    grad_BTF: Tensor,
    queries_BTH: Tensor,
    keys_BTH: Tensor,
    values_BTF: Tensor,
    weights_BTJ: Tensor,
    lengths_B: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of queries, keys and values."""
    gradients = torch.zeros_like(queries_BTH), torch.zeros_like(keys_BTH), torch.zeros_like(values_BTF)
    tensors = (grad_BTF, queries_BTH, keys_BTH, values_BTF, weights_BTJ, lengths_B, *gradients)
    _call("window_backward", tensors, (*queries_BTH.shape, values_BTF.shape[2], weights_BTJ.shape[2] // 2))
    return gradients


def _pad(x: Tensor) -> Tensor:
    return torch.nn.functional.pad(x, (0, LANES - x.shape[-1]))


def _call(
    function: str, tensors: tuple[Tensor | None, ...], sizes: tuple[int, ...] | torch.Size, *activations: str
) -> None:
    pointers = (None if tensor is None else tensor.data_ptr() for tensor in tensors)
    numbers = (ACTIVATIONS.index(activation) for activation in activations)
    getattr(_library(), function)(*pointers, *sizes, *numbers, torch.get_num_threads())


@cache
def _library() -> ctypes.CDLL | None:
    if os.environ.get("BAKEOFF_KERNELS") == "0" or not SOURCE.exists():
        return None
    try:
        library = ctypes.CDLL(str(path()))
    except OSError:
        return None
    for function, (num_pointers, num_sizes, num_ints) in _POINTERS_SIZES_INTS.items():
        pointers, sizes, ints = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
        getattr(library, function).argtypes = [pointers] * num_pointers + [sizes] * num_sizes + [ints] * num_ints
        getattr(library, function).restype = None
    return library


def _processor() -> str:
    """What -march=native looks at: a home directory may be shared by different machines."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
    lines = text.split("\n\n")[0].splitlines()
    return "\n".join([platform.machine(), *(line for line in lines if line.split("\t")[0].strip() in wanted)])
