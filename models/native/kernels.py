"""The compiled time loops and windowed attention: kernels.cpp, built once for a machine, called through ctypes.

`python -m models` (in `make setup`) and every search, before its workers start, compile them into the cache folder.
Without a compiler, with BAKEOFF_KERNELS=0, for other precisions and on GPUs, torch implementations are used instead,
equal within the rounding of float32 and slower. BAKEOFF_KERNELS=sanitize selects a library that ends the process at the
first access outside an array; `make sanitize` tests it.

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
from models.native import stacking
from models.native.signatures import KERNELS, LANES, arguments

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-march=native", "-fopenmp", "-fPIC", "-shared")
SANITIZED = ("-O1", "-g", "-D_GLIBCXX_ASSERTIONS", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
ACTIVATIONS = ("none", "relu", "tanh", "sigmoid")  # in the order of kernels.cpp
TORCH = "torch"  # the name of the fallback


def name() -> str:
    """The implementation used in this process: the name of the compiled library, or `torch`."""
    return TORCH if _library() is None else path().stem


def usable(tensor: Tensor) -> bool:
    """Whether the kernels are available and support tensors like this one."""
    fits = tensor.dtype == torch.float32 and tensor.device.type == "cpu"
    return fits and _library() is not None and not stacking.active()


def path() -> Path:
    """The path of the library for this source, compiler call and processor."""
    key = hashlib.sha256("\n".join((SOURCE.read_text(encoding="utf-8"), *_flags(), _processor())).encode())
    return default_cache() / f"kernels-{key.hexdigest()[:12]}.so"


def build() -> None:
    """Compile the library unless it exists. Safe in several processes at once: the file is written atomically.

    Raises OSError or subprocess.CalledProcessError, with the output of the compiler, on failure.
    """
    if path().exists():
        return
    path().parent.mkdir(parents=True, exist_ok=True)
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    with write_whole(path()) as file:
        subprocess.run([*compiler, *_flags(), str(SOURCE), "-o", file.name], check=True, capture_output=True, text=True)
    _library.cache_clear()


def product(a_NK: Tensor, b_KM: Tensor, bias_M: Tensor | None = None, activation: str = "none") -> Tensor:
    """s(a b + bias), (N, M). Twice as fast as torch's on AMD processors, whose wide registers MKL does not use."""
    if not usable(a_NK) or not a_NK.numel():
        assert activation == "none"
        return a_NK @ b_KM if bias_M is None else torch.addmm(bias_M, a_NK, b_KM)
    num_columns = b_KM.shape[1]
    if num_columns < LANES:
        b_KM, bias_M = _pad(b_KM), None if bias_M is None else _pad(bias_M)
    out_NM = a_NK.new_empty(a_NK.shape[0], b_KM.shape[1])
    _call("product", (out_NM, a_NK, b_KM, bias_M), activation)
    return out_NM if num_columns >= LANES else out_NM[:, :num_columns].contiguous()


def activation_backward(grad_NM: Tensor, outputs_NM: Tensor, activation: str) -> Tensor:
    """The gradient of the argument of an activation, from its outputs and their gradient."""
    if activation == "none":
        return grad_NM.contiguous()
    delta_NM = outputs_NM.new_empty(outputs_NM.shape)
    _call("activation_backward", (delta_NM.view(-1), grad_NM.reshape(-1), outputs_NM.reshape(-1)), activation)
    return delta_NM


def elman_forward(
    inputs_TBD: Tensor, W_HD: Tensor, U_HH: Tensor, b_H: Tensor, activation: str, padding_TB: Tensor | None
) -> Tensor:
    """The states, zero at padding."""
    hidden_TBH = inputs_TBD.new_empty(*inputs_TBD.shape[:2], len(b_H))
    tensors = (hidden_TBH, inputs_TBD, W_HD.t(), b_H, U_HH.t(), padding_TB)
    _call("elman_forward", tensors, activation)
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
    """The gradients of inputs (None unless `of_inputs`), W, U and b, from that of the states."""
    grad_inputs_TBD = _empty(inputs_TBD) if of_inputs else None
    gradients = grad_inputs_TBD, _empty(W_HD), _empty(U_HH), U_HH.new_empty(len(U_HH))
    _call("elman_backward", (*gradients, grad_TBH, hidden_TBH, inputs_TBD, W_HD, U_HH, padding_TB), activation)
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
    """The states (T + 1, B, H), the first one zero, and with `keep_gates` candidate, update and reset gates (T, B,
    3H)."""
    (num_words, num_texts, _), num_hidden = inputs_TBD.shape, U_3HH.shape[1]
    states_SBH = inputs_TBD.new_empty(num_words + 1, num_texts, num_hidden)
    states_SBH[0] = 0
    gates_TB3H = inputs_TBD.new_empty(num_words, num_texts, 3 * num_hidden) if keep_gates else None
    weights = W_3HD.t(), b_3H, *(U.t() for U in U_3HH.split((num_hidden, 2 * num_hidden)))
    _call("gru_forward", (states_SBH, gates_TB3H, inputs_TBD, *weights, padding_TB), activation, gate_activation)
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
    """The gradients of inputs (None unless `of_inputs`), W, U and b, from that of the states."""
    parts = U_3HH.shape[1], 2 * U_3HH.shape[1]
    grad_inputs_TBD = _empty(inputs_TBD) if of_inputs else None
    grad_W_3HD, grad_U_3HH, grad_b_3H = _empty(W_3HD), _empty(U_3HH), U_3HH.new_empty(len(U_3HH))
    tensors = (
        grad_inputs_TBD,
        grad_W_3HD,
        *grad_U_3HH.split(parts),
        grad_b_3H,
        grad_TBH,
        gates_TB3H,
        states_SBH,
        inputs_TBD,
        W_3HD,
        *U_3HH.split(parts),
        padding_TB,
    )
    _call("gru_backward", tensors, activation, gate_activation)
    return grad_inputs_TBD, grad_W_3HD, grad_U_3HH, grad_b_3H


def bag_forward(table_RH: Tensor, rows_BS: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (B, H) over the rows of each text except row 0, and their number (B,)."""
    means_BH, num_B = table_RH.new_empty(len(rows_BS), table_RH.shape[1]), rows_BS.new_empty(len(rows_BS))
    _call("bag_forward", (means_BH, num_B, table_RH, rows_BS))
    return means_BH, num_B


def bag_backward(grad_BH: Tensor, rows_BS: Tensor, num_B: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
    """The distinct rows (U,) of the texts, in a table of `num_rows`, and their gradients (U, H)."""
    size = grad_BH.shape[1]
    most = min(int(rows_BS.count_nonzero()), num_rows)
    rows_U, grad_UH, num = rows_BS.new_empty(most), grad_BH.new_empty(most, size), rows_BS.new_empty(())
    places_R = torch.empty(num_rows, dtype=torch.int32)
    _call("bag_backward", (num, rows_U, grad_UH, places_R, rows_BS, num_B, grad_BH))
    return rows_U[: int(num)], grad_UH[: int(num)]


def window_forward(
    queries_values_BTP: Tensor, keys_BTH: Tensor, lengths_B: Tensor, window: int
) -> tuple[Tensor, Tensor]:
    """Weights (B, T, 2 window + 1) and attended values (B, T, F); both zero at padding. P = H + F."""
    num_features = queries_values_BTP.shape[2] - keys_BTH.shape[2]
    weights_BTJ = keys_BTH.new_empty(*keys_BTH.shape[:2], 2 * window + 1)
    attended_BTF = keys_BTH.new_empty(*keys_BTH.shape[:2], num_features)
    _call("window_forward", (weights_BTJ, attended_BTF, queries_values_BTP, keys_BTH, lengths_B))
    return weights_BTJ, attended_BTF


def window_backward(
    grad_BTF: Tensor, queries_values_BTP: Tensor, keys_BTH: Tensor, weights_BTJ: Tensor, lengths_B: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of queries and values, and of keys."""
    gradients = _empty(queries_values_BTP), _empty(keys_BTH)
    _call("window_backward", (*gradients, grad_BTF, queries_values_BTP, keys_BTH, weights_BTJ, lengths_B))
    return gradients


def sum_rows(ids_N: Tensor, values_NE: Tensor, num_ids: int, skipped: int = -1) -> tuple[Tensor, Tensor]:
    """The distinct ids (R,) except `skipped`, in order of first occurrence, and the sums (R, E) of their rows."""
    most = min(len(ids_N), num_ids)
    num_rows, rows_R, sums_RE = (
        ids_N.new_empty(()),
        ids_N.new_empty(most),
        values_NE.new_empty(most, values_NE.shape[1]),
    )
    places_V = torch.empty(num_ids, dtype=torch.int32)
    _call("sum_rows", (num_rows, rows_R, sums_RE, places_V, ids_N, values_NE), numbers=(skipped,))
    return rows_R[: int(num_rows)], sums_RE[: int(num_rows)]


def adam_rows(
    values_VE: Tensor, means_VE: Tensor, squares_VE: Tensor, rows_R: Tensor, gradients_RE: Tensor, numbers: list[float]
) -> None:
    """See `models.native.rows.adam`."""
    _call("adam_rows", (values_VE, means_VE, squares_VE, rows_R, gradients_RE, torch.tensor(numbers)))


def move_rows(from_VE: Tensor, to_VE: Tensor, rows_R: Tensor, shares_R: Tensor) -> None:
    """See `models.native.rows.move`."""
    _call("move_rows", (from_VE, to_VE, rows_R, shares_R))


def _pad(x: Tensor) -> Tensor:
    return torch.nn.functional.pad(x, (0, LANES - x.shape[-1]))


def _empty(like: Tensor) -> Tensor:
    """A contiguous, uninitialised tensor of the same shape."""
    return like.new_empty(like.shape)


def _call(function: str, tensors: tuple[Tensor | None, ...], *activations: str, numbers: tuple[int, ...] = ()) -> None:
    taken, sizes = arguments(function, tensors)  # kept alive until the call returns, as some are copies
    pointers = (None if tensor is None else tensor.data_ptr() for tensor in taken)
    places = (ACTIVATIONS.index(activation) for activation in activations)
    getattr(_library(), function)(*pointers, *sizes, *numbers, *places, torch.get_num_threads())


@cache
def _library() -> ctypes.CDLL | None:
    if os.environ.get("BAKEOFF_KERNELS") == "0" or not SOURCE.exists():
        return None
    try:
        library = ctypes.CDLL(str(path()))
    except OSError:
        return None
    for name, kernel in KERNELS.items():
        pointers = [ctypes.c_void_p] * (len(kernel.outputs) + len(kernel.inputs))
        integers = [ctypes.c_int64] * kernel.num_integers + [ctypes.c_int] * (kernel.activations + 1)
        function = getattr(library, name)
        function.argtypes, function.restype = pointers + integers, None
    return library


def _flags() -> tuple[str, ...]:
    return FLAGS + (SANITIZED if os.environ.get("BAKEOFF_KERNELS") == "sanitize" else ())


def _processor() -> str:
    """What -march=native depends on: different machines may share a home directory."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
    lines = text.split("\n\n")[0].splitlines()
    return "\n".join([platform.machine(), *(line for line in lines if line.split("\t")[0].strip() in wanted)])
