"""The compiled time loops and windowed attention: kernels.cpp, built once for a machine, called through ctypes.

`python -m models` (in `make setup`) and a search, before its workers start, compile them into the cache folder. Without
a compiler, with BAKEOFF_KERNELS=0, in other precisions and on GPUs, the torch implementations beside
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

import torch
from torch import Tensor

from data.base.files import default_cache, write_whole

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-march=native", "-fopenmp", "-fPIC", "-shared")
LANES = 16  # hidden sizes of the time loops are multiples of this one: whole vectors on any processor
ACTIVATIONS = ("none", "relu", "tanh", "sigmoid")  # in the order of kernels.cpp
TORCH = "torch"  # does their work where they are not

_POINTERS_SIZES_INTS = {
    "product": (4, 5, 2),
    "activation_backward": (3, 1, 2),
    "bag_forward": (4, 3, 1),
    "bag_backward": (7, 3, 1),
    "elman_forward": (6, 4, 2),
    "elman_backward": (10, 4, 2),
    "gru_forward": (8, 4, 3),
    "gru_backward": (13, 4, 3),
    "window_forward": (5, 5, 1),
    "window_backward": (7, 5, 1),
    "sum_rows": (6, 3, 1),
    "adam_rows": (6, 2, 1),
    "move_rows": (4, 2, 1),
}


def name() -> str:
    """What does the work in this process: the compiled library's name, or `torch`."""
    return TORCH if _library() is None else path().stem


def usable(tensor: Tensor) -> bool:
    """Whether the kernels are there, and for tensors like this one."""
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu" and _library() is not None


def path() -> Path:
    """Where the library of this source, compiler call and processor is kept."""
    key = hashlib.sha256("\n".join((SOURCE.read_text(encoding="utf-8"), *FLAGS, _processor())).encode())
    return default_cache() / f"kernels-{key.hexdigest()[:12]}.so"


def build() -> None:
    """Compile the library unless it is there. Processes may do so at the same time: it appears whole or not at all.

    Raises OSError or subprocess.CalledProcessError, with what the compiler said, if it cannot be done.
    """
    if path().exists():
        return
    path().parent.mkdir(parents=True, exist_ok=True)
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    with write_whole(path()) as file:
        subprocess.run([*compiler, *FLAGS, str(SOURCE), "-o", file.name], check=True, capture_output=True, text=True)
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


def elman_forward(
    inputs_TBD: Tensor, W_HD: Tensor, U_HH: Tensor, b_H: Tensor, activation: str, padding_TB: Tensor | None
) -> Tensor:
    """The states, zero at padding."""
    hidden_TBH = inputs_TBD.new_empty(*inputs_TBD.shape[:2], len(b_H))
    tensors = (hidden_TBH, inputs_TBD, W_HD.t().contiguous(), b_H, U_HH.t().contiguous(), padding_TB)
    _call("elman_forward", tensors, (*inputs_TBD.shape, len(b_H)), activation)
    return hidden_TBH


def elman_backward(
    grad_TBH: Tensor,
    hidden_TBH: Tensor,
    inputs_TBD: Tensor,
    W_HD: Tensor,
    U_HH: Tensor,
    activation: str,
    padding_TB: Tensor | None,
    *,
    of_inputs: bool,
) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
    """The gradients of inputs (None unless asked for), W, U and b, from that of the states."""
    grad_inputs_TBD = torch.empty_like(inputs_TBD) if of_inputs else None
    gradients = grad_inputs_TBD, torch.empty_like(W_HD), torch.empty_like(U_HH), U_HH.new_empty(len(U_HH))
    tensors = (*gradients, grad_TBH.contiguous(), hidden_TBH, inputs_TBD, W_HD, U_HH, padding_TB)
    _call("elman_backward", tensors, (*inputs_TBD.shape, len(U_HH)), activation)
    return gradients


def gru_forward(
    inputs_TBD: Tensor,
    W_3HD: Tensor,
    U_3HH: Tensor,
    b_3H: Tensor,
    activation: str,
    gate_activation: str,
    padding_TB: Tensor | None,
    *,
    keep_gates: bool,
) -> tuple[Tensor, Tensor | None]:
    """The states (T + 1, B, H), the first of zeros, and candidate, update and reset gates (T, B, 3H) if to be kept."""
    (num_words, num_texts, size), num_hidden = inputs_TBD.shape, U_3HH.shape[1]
    states_SBH = inputs_TBD.new_empty(num_words + 1, num_texts, num_hidden)
    states_SBH[0] = 0
    gates_TB3H = inputs_TBD.new_empty(num_words, num_texts, 3 * num_hidden) if keep_gates else None
    Ut_candidate_HH, Ut_gates_H2H = (U.t().contiguous() for U in U_3HH.split((num_hidden, 2 * num_hidden)))
    weights = W_3HD.t().contiguous(), b_3H, Ut_candidate_HH, Ut_gates_H2H
    sizes = (num_words, num_texts, size, num_hidden)
    tensors = (states_SBH, gates_TB3H, inputs_TBD, *weights, padding_TB)
    _call("gru_forward", tensors, sizes, activation, gate_activation)
    return states_SBH, gates_TB3H


def gru_backward(
    grad_TBH: Tensor,
    gates_TB3H: Tensor,
    states_SBH: Tensor,
    inputs_TBD: Tensor,
    W_3HD: Tensor,
    U_3HH: Tensor,
    activation: str,
    gate_activation: str,
    padding_TB: Tensor | None,
    *,
    of_inputs: bool,
) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
    """The gradients of inputs (None unless asked for), W, U and b, from that of the states."""
    num_hidden = U_3HH.shape[1]
    parts = num_hidden, 2 * num_hidden
    grad_inputs_TBD = torch.empty_like(inputs_TBD) if of_inputs else None
    grad_W_3HD, grad_U_3HH, grad_b_3H = torch.empty_like(W_3HD), torch.empty_like(U_3HH), U_3HH.new_empty(len(U_3HH))
    tensors = (
        grad_inputs_TBD,
        grad_W_3HD,
        *grad_U_3HH.split(parts),
        grad_b_3H,
        grad_TBH.contiguous(),
        gates_TB3H,
        states_SBH,
        inputs_TBD,
        W_3HD,
        *U_3HH.split(parts),
        padding_TB,
    )
    _call("gru_backward", tensors, (*inputs_TBD.shape, num_hidden), activation, gate_activation)
    return grad_inputs_TBD, grad_W_3HD, grad_U_3HH, grad_b_3H


def bag_forward(table_RH: Tensor, rows_BS: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (B, H) of the rows of each text that are not row 0, and how many they are."""
    means_BH, num_B = table_RH.new_empty(len(rows_BS), table_RH.shape[1]), rows_BS.new_empty(len(rows_BS))
    tensors = means_BH, num_B, table_RH, rows_BS
    _call("bag_forward", tensors, (*rows_BS.shape, table_RH.shape[1]))
    return means_BH, num_B


def bag_backward(grad_BH: Tensor, rows_BS: Tensor, num_B: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
    """The rows of the table of `num_rows` that any text has, each once, and their gradients (U, H)."""
    size = grad_BH.shape[1]
    most = min(int(num_B.sum()), num_rows)
    rows_U, grad_UH, num = rows_BS.new_empty(most), grad_BH.new_empty(most, size), rows_BS.new_empty(())
    place_R = torch.empty(num_rows, dtype=torch.int32)
    tensors = num, rows_U, grad_UH, place_R, rows_BS, num_B, grad_BH.contiguous()
    _call("bag_backward", tensors, (*rows_BS.shape, size))
    return rows_U[: int(num)], grad_UH[: int(num)]


def window_forward(
    queries_values_BTP: Tensor, keys_BTH: Tensor, lengths_B: Tensor, window: int
) -> tuple[Tensor, Tensor]:
    """Weights (B, T, 2 window + 1) and what is attended to (B, T, F); both zero at padding. P = H + F."""
    num_features = queries_values_BTP.shape[2] - keys_BTH.shape[2]
    weights_BTJ = keys_BTH.new_empty(*keys_BTH.shape[:2], 2 * window + 1)
    attended_BTF = keys_BTH.new_empty(*keys_BTH.shape[:2], num_features)
    tensors = (queries_values_BTP, keys_BTH, lengths_B, weights_BTJ, attended_BTF)
    _call("window_forward", tensors, (*keys_BTH.shape, num_features, window))
    return weights_BTJ, attended_BTF


def window_backward(
    grad_BTF: Tensor, queries_values_BTP: Tensor, keys_BTH: Tensor, weights_BTJ: Tensor, lengths_B: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of queries and values, and of keys."""
    gradients = torch.empty_like(queries_values_BTP), torch.empty_like(keys_BTH)
    tensors = (*gradients, grad_BTF, queries_values_BTP, keys_BTH, weights_BTJ, lengths_B)
    _call("window_backward", tensors, (*keys_BTH.shape, grad_BTF.shape[2], weights_BTJ.shape[2] // 2))
    return gradients


def sum_rows(ids_N: Tensor, values_NE: Tensor, num_ids: int, skipped: int = -1) -> tuple[Tensor, Tensor]:
    """The ids that there are but for the skipped one, each once, in the order in which they first come, and the sums
    (R, E) of their rows."""
    ids_N, values_NE = ids_N.contiguous(), values_NE.contiguous()
    most = min(len(ids_N), num_ids)
    num_rows, rows_R, sums_RE = (
        ids_N.new_empty(()),
        ids_N.new_empty(most),
        values_NE.new_empty(most, values_NE.shape[1]),
    )
    places_V = torch.empty(num_ids, dtype=torch.int32)
    _call("sum_rows", (num_rows, rows_R, sums_RE, places_V, ids_N, values_NE), (*values_NE.shape, skipped))
    return rows_R[: int(num_rows)], sums_RE[: int(num_rows)]


def adam_rows(
    values_VE: Tensor, means_VE: Tensor, squares_VE: Tensor, rows_R: Tensor, gradients_RE: Tensor, numbers: list[float]
) -> None:
    """See `models.native.rows.adam`."""
    tensors = values_VE, means_VE, squares_VE, rows_R, gradients_RE, torch.tensor(numbers)
    _call("adam_rows", tensors, gradients_RE.shape)


def move_rows(from_VE: Tensor, to_VE: Tensor, rows_R: Tensor, shares_R: Tensor) -> None:
    """See `models.native.rows.move`."""
    _call("move_rows", (from_VE, to_VE, rows_R, shares_R), (len(rows_R), from_VE.shape[1]))


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
